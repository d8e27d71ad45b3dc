"""What a step and a run may cost, told without a clock."""

import collections
import json
import logging
import re

import jax
import numpy as np
import pytest
from dots import count_dots
from stages import stage_of

from slimjax import native
from slimjax.config import override, read_config
from slimjax.models.build import build_model
from slimjax.run.progress import Display
from slimjax.run.start import train
from slimjax.train.config import make_run_config
from slimjax.train.stage import Stage
from slimjax.train.state import init_params
from slimjax.train.step import make_train_step

BATCH, LENGTH, VOCAB = 4, 256, 259  # Two blocks of tokens, two of queries.


def make_stage(*changes: tuple[str, str]) -> Stage:
    base = [("mesh.data", "1"), ("model.num_layers", "1"), ("train.num_steps", "99")]
    base += [("data.batch_size", str(BATCH)), ("data.seq_len", str(LENGTH))]
    config = override(read_config("configs/tiny_test.py"), [*base, *changes])
    run = make_run_config(config)
    return stage_of(run, build_model(run.model, VOCAB))


@pytest.fixture(scope="module")
def stage():
    """Returns a stage whose attention is blocked, since 256 tokens are not short."""
    with native.off():
        stage = make_stage(("model.num_kv_heads", "4"))
        assert stage.programs.train_step is not None
        return stage


@pytest.fixture
def batch(stage):
    tokens = np.random.default_rng(0).integers(3, VOCAB, (BATCH, LENGTH))
    return stage.put({"tokens": tokens.astype(np.int32)})


def test_a_step_multiplies_three_times_what_is_counted_and_the_logits_again():
    changes = dict(width=128, head_dim=32, mlp_dim=320, attention_impl="reference")
    with native.off():
        stage = make_stage(*((f"model.{k}", str(v)) for k, v in changes.items()))
        tokens = jax.ShapeDtypeStruct((BATCH, LENGTH), "int32")
        step = make_train_step(stage.programs.error_fn(), stage.tx)
        program = jax.make_jaxpr(step)(stage.abstract_state, {"tokens": tokens})
    once_more = 2 * VOCAB * stage.blueprint.model.width
    expected = BATCH * LENGTH * (3 * stage.blueprint.sizes["flops"] + once_more)
    assert count_dots(program.jaxpr) == pytest.approx(expected, rel=0.02)


def test_a_step_holds_no_square_of_scores_and_no_logits_of_all_tokens(stage):
    text = stage.programs.train_step.as_text()
    shapes = set(re.findall(r"\b[a-z]+\d+\[([\d,]+)\]", text))
    assert f"{VOCAB},512" in shapes  # Logits of one block of tokens.
    squares = [s for s in shapes if re.search(rf"\b{LENGTH},{LENGTH}$", s)]
    logits = [s for s in shapes if num_elements(s) == BATCH * LENGTH * VOCAB]
    assert not squares
    assert not logits


def num_elements(shape: str) -> int:
    return int(np.prod([int(size) for size in shape.split(",")]))


def test_the_state_that_goes_in_is_where_the_next_one_comes_out(stage):
    memory = stage.programs.train_step.memory_analysis()
    state_bytes = sum(
        x.size * x.dtype.itemsize for x in jax.tree.leaves(stage.abstract_state)
    )
    assert memory.alias_size_in_bytes == state_bytes


def test_steps_compile_nothing_and_move_nothing_to_or_from_the_host(
    stage, batch, caplog
):
    state = stage.start(init_params(stage.blueprint.model, seed=0))
    jax.block_until_ready((state, batch))
    caplog.set_level(logging.WARNING)
    with jax.log_compiles(), jax.transfer_guard("disallow"):
        for _ in range(3):
            state, metrics = stage.programs.train_step(state, batch)
        jax.block_until_ready(metrics)
    assert not compiled_programs(caplog)
    assert int(state.step) == 3


def test_a_run_with_one_seam_compiles_each_program_once_a_stage(
    tmp_path, text_folder, caplog
):
    changes = [("data.source", f"text:{text_folder}/*.txt"), ("mesh.data", "1")]
    changes += [("train.num_steps", "6"), ("train.eval_every_steps", "2")]
    changes += [("resize.first_step", "3"), ("resize.max_seams", "1")]
    changes += [("model.num_layers", "1")]
    run = make_run_config(override(read_config("configs/tiny_test.py"), changes))
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        train(run, tmp_path / "run", display=Display(quiet=True))
    assert len(json.loads((tmp_path / "run/report.json").read_text())["stages"]) == 2
    programs = compiled_programs(caplog)
    assert programs["train_step"] == 2 + 1  # The first is timed beside the last.
    assert programs["outputs_fn"] == 2
    assert programs.total() <= 50  # Single operations, outside of steps, included.


def compiled_programs(caplog) -> collections.Counter:
    """Returns how often a program of each name was compiled."""
    found = (
        re.match(r"Compiling (?:jit\()?([\w<>.-]+)\)? with", record.getMessage())
        for record in caplog.records
    )
    return collections.Counter(match.group(1) for match in found if match)
