"""Files around the package agree with each other."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def lint_commands() -> list[str]:
    recipe = read("Makefile").partition("\nlint:")[2].partition("\n\n")[0]
    lines = [line.strip() for line in recipe.splitlines()[1:]]
    return [line.replace("$(BIN)", ".venv/bin") for line in lines]


def test_pre_commit_runs_the_commands_of_make_lint():
    entries = re.findall(r"entry: (.+)", read(".pre-commit-config.yaml"))
    assert entries == lint_commands()
    assert len(entries) == 3


def test_continuous_integration_runs_what_everybody_runs():
    commands = re.findall(r"run: (.+)", read(".github/workflows/ci.yml"))
    assert commands == [".ci/run"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100
    assert re.findall(r"(?m)^make .+", read(".ci/run")) == ["make lint", "make test"]


def test_the_page_for_contributors_names_commands_that_exist():
    targets = set(re.findall(r"(?m)^([a-z-]+):", read("Makefile")))
    page = read("CONTRIBUTING.md")
    assert set(re.findall(r"`?make ([a-z-]+)", page)) <= targets
    for name in re.findall(r"(?:tests|experiments|docs)/[\w/]+\.(?:py|md)", page):
        assert (ROOT / name).is_file(), name
