"""README and docs show commands that work."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from documents import (
    ROOT,
    list_blocks,
    list_commands,
    list_inline_commands,
    list_recipe_commands,
    list_shown_commands,
)
from recipe_runs import write_examples, write_start

from slimjax.cli.main import COMMANDS, main
from slimjax.config import override, read_config
from slimjax.recipes import list_recipes
from slimjax.train.config import BLOCKS, RunConfig, make_run_config

SHOWN = [(b.page, c) for b in list_blocks() for c in list_commands(b)]
OURS = [(page, words) for page, words in SHOWN if words[0] == "slimjax"]
OTHERS = [(page, words) for page, words in SHOWN if words[0] != "slimjax"]
WITH_OWN_FILES = [*list_recipe_commands(), *list_shown_commands()]
"""Commands that read files of the user, which are not here."""

NEEDS_A_RUN = ("--config.distill.teacher", "--config.train.continue_from")
NEEDS_A_RUN += ("--config.model.init_from",)

SHORT = {"train.num_steps": 24, "resize.first_step": 8, "resize.every_steps": 8}
LONGER = {"train.num_steps": 48, "resize.first_step": 32, "resize.every_steps": 8}
ALWAYS = {"optim.warmup_steps": 2, "train.eval_every_steps": 0, "train.eval_rows": 16}
ALWAYS |= {"train.num_epochs": 0, "train.patience": 0}
"""Few steps in the place of many; everything else stays as it is shown."""

PYTHON = """
import slimjax
whole = slimjax.fit
def fit(config, workdir, **options):
    blocks = {name: dict(block) for name, block in config.items()}
    blocks["data"] = {"source": "text:docs/*.md", "tokenizer": "bytes", "seq_len": 64}
    for name, value in CHANGES.items():
        block, key = name.split(".")
        blocks.setdefault(block, {})[key] = value
    return whole(blocks, workdir, **options)
slimjax.fit = fit
"""


def words_of(page_and_words: tuple[str, list[str]]) -> str:
    page, words = page_and_words
    return f"{page}: {' '.join(words)}"[:80]


def test_commands_are_found():
    assert len(OURS) > 5
    assert {words[1] for _, words in OURS} >= {"train", "generate"}


@pytest.mark.parametrize(
    "shown", [*OURS, *WITH_OWN_FILES, *list_inline_commands()], ids=words_of
)
def test_every_command_and_flag_exists(shown, capsys):
    _, words = shown
    if words[1].startswith("-") or not re.fullmatch(r"[a-z]+", words[1]):
        assert words[1] in ("--help", "--version", "COMMAND")
        return
    assert words[1] in COMMANDS
    with pytest.raises(SystemExit):
        main([words[1], "--help"])
    known = set(re.findall(r"--[a-z_]+", capsys.readouterr().out))
    own = words[: words.index("--")] if "--" in words else words
    for word in own[2:]:
        name = word.strip("[].,").partition("=")[0]
        if name.startswith("--config."):
            check_setting(name.removeprefix("--config."))
        elif name.startswith("--"):
            assert name in known


def check_setting(name: str) -> None:
    block, _, key = name.partition(".")
    if block in BLOCKS and key:
        assert key in {field.name for field in dataclasses.fields(BLOCKS[block])}
    else:
        assert name in ("seed", "task", *BLOCKS, "a.b")


@pytest.mark.parametrize("shown", OTHERS, ids=words_of)
def test_other_commands_are_those_of_the_makefile(shown):
    _, words = shown
    targets = re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text())
    if words[0] == "make":
        assert set(words[1:]) <= set(targets)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Returns a copy of what the commands read."""
    root = tmp_path_factory.mktemp("docs")
    for name in ("docs", "configs"):
        shutil.copytree(ROOT / name, root / name)
    for page in ROOT.glob("*.md"):
        shutil.copy(page, root)
    for block in list_blocks():
        if block.language == "python" and "slimjax" not in block.text:
            line = [sys.executable, "-c", block.text]  # It makes files to train on.
            subprocess.run(line, cwd=root, check=True)
    return root


@pytest.mark.parametrize(
    "shown",
    [shown for shown in OURS if shown[1][1] == "train"],
    ids=words_of,
)
def test_every_training_that_is_shown_can_be_begun(shown, folder, capsys, monkeypatch):
    _, words = shown
    if any(word.startswith(NEEDS_A_RUN) for word in words):
        pytest.skip("it needs a run that another command makes")
    monkeypatch.chdir(folder)
    code = main([*words[1:], *([] if "--dry_run" in words else ["--dry_run"])])
    assert code == 0, capsys.readouterr().err


def flags_of(words: list[str]) -> dict[str, str]:
    """Returns the values of flags by their names."""
    return {
        name.removeprefix("--"): value
        for name, _, value in (word.partition("=") for word in words)
    }


def is_of_recipe(words: list[str]) -> bool:
    recipe = Path(flags_of(words).get("config", "")).stem
    return words[1] == "train" and recipe in list_recipes()


def make_run(words: list[str]) -> RunConfig:
    """Returns the run that a command means."""
    flags = flags_of(words)
    changes = [(k.removeprefix("config."), v) for k, v in flags.items() if "." in k]
    return make_run_config(override(read_config(Path(flags["config"]).stem), changes))


TRAININGS = [shown for shown in WITH_OWN_FILES if is_of_recipe(shown[1])]
STARTS = {flags_of(words).get("workdir"): words for _, words in reversed(TRAININGS)}


@pytest.mark.parametrize("shown", TRAININGS, ids=words_of)
def test_every_training_with_own_files_fits_the_run_that_it_starts_from(
    shown, tmp_path, monkeypatch, capsys
):
    """It is a run; and it can be begun, with other files of its kind."""
    _, words = shown
    run = make_run(words)
    if not run.model.init_from:
        return
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))
    before = STARTS.get(run.model.init_from, STARTS["runs/mlm"])
    write_start(Path(run.model.init_from), make_run(before))
    changes = ["--config.optim.warmup_steps=2"]  # There are few examples.
    for i, name in enumerate(("source", "valid_source")):
        if getattr(run.data, name):
            source = write_examples(tmp_path / f"{name}.jsonl", run.task, start=90 * i)
            changes.append(f"--config.data.{name}={source}")
    code = main([*words[1:], *changes, "--dry_run"])
    assert code == 0, capsys.readouterr().err


def can_run(words: list[str]) -> bool:
    has_libtpu = find_spec("libtpu") is not None
    return words[0] == "slimjax" and (has_libtpu or words[1] != "plan")


def shorten(words: list[str]) -> list[str]:
    """Returns a command with few steps."""
    if words[1] not in ("train", "sweep", "launch", "tune") or "--dry_run" in words:
        return words
    goes_on = any(word.startswith(NEEDS_A_RUN[1]) for word in words)
    steps = LONGER if goes_on else SHORT
    changes = [f"--config.{name}={value}" for name, value in (steps | ALWAYS).items()]
    few = ["--points=2", "--folds=2", "--cost=20", "--smallest=60%", "--refit=none"]
    more = {"sweep": ["--seeds=1"], "tune": few}
    return [*words, *changes, *more.get(words[1], [])]


def lines_of(block) -> list[list[str]]:
    """Returns what a block has run, with few steps."""
    if block.language == "python":
        prefix = f"CHANGES = {SHORT | ALWAYS!r}\n{PYTHON}"
        return [[sys.executable, "-c", prefix + block.text]]
    commands = [words for words in list_commands(block) if can_run(words)]
    return [
        [sys.executable, "-m", "slimjax", *shorten(words)[1:]] for words in commands
    ]


RUNNABLE = [
    (block.page, lines) for block in list_blocks() if (lines := lines_of(block))
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "lines"), RUNNABLE, ids=[page for page, _ in RUNNABLE]
)
def test_all_that_is_shown_runs_in_its_order(page, lines, folder):
    """In one folder: a command finds what those before it have left."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    environment.pop("JAX_NUM_CPU_DEVICES", None)
    for line in lines:
        done = subprocess.run(
            line, cwd=folder, env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, (page, line, done.stderr[-2000:])
