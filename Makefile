# Two commands do all the set-up on a fresh machine: make demo, make test.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-all lint format docs clean

demo: $(READY)
	$(BIN)/slimjax train --config=configs/quickstart.py --workdir=runs/demo

test: $(READY)
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow and not gpu and not network"

test-all: $(READY)
	SLIMJAX_FULL_EFFORT=1 $(BIN)/pytest -n 2 --dist loadfile -m "not gpu and not network" \
		--jaxtyping-packages=slimjax,typechecker.check

lint: $(READY)
	$(BIN)/ruff format --check slimjax configs docs tests experiments
	$(BIN)/ruff check slimjax configs docs tests experiments
	$(BIN)/basedpyright --level error

format: $(READY)
	$(BIN)/ruff format slimjax configs docs tests experiments
	$(BIN)/ruff check --fix slimjax configs docs tests experiments

docs: $(READY)
	$(BIN)/python docs/make_settings.py

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) runs build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
