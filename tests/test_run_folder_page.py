"""The page about run folders names every file and key that a run writes."""

import json
import pathlib
import re

import pytest

import slimjax
from slimjax.config import override, read_config

PAGE = pathlib.Path("docs/run_folder.md").read_text(encoding="utf-8")
OPEN_KEYS = (
    "codecs",
    "skipped",
    "versions",
    "machine",
    "config",
    "alphas",
    "closed",
    "bits",
)
"""Blocks whose keys are names from elsewhere."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, text_folder) -> pathlib.Path:
    """Returns a finished tiny run."""
    workdir = tmp_path_factory.mktemp("runs") / "tiny"
    changes = [("train.num_steps", "12"), ("resize.first_step", "6")]
    changes += [("data.source", f"text:{text_folder}/*.txt")]
    slimjax.fit(override(read_config("configs/tiny_test.py"), changes), workdir)
    return workdir


def is_named(name: str) -> bool:
    """Whether the page has a name in code, also as one of ``tokens_SPLIT``."""
    general = re.sub(r"_(train|valid|test)$", "_SPLIT", name)
    return f"`{name}`" in PAGE or f"`{general}`" in PAGE


def keys_of(value) -> set[str]:
    """Returns all keys in nested JSON, but those below `OPEN_KEYS`."""
    if isinstance(value, list):
        return set().union(*map(keys_of, value))
    if not isinstance(value, dict):
        return set()
    inside = (keys_of(v) for k, v in value.items() if k not in OPEN_KEYS)
    return set(value).union(*inside)


def test_every_file_is_named(folder):
    names = {f"{p.name}/" if p.is_dir() else p.name for p in folder.iterdir()}
    names = {n for n in names if not n.startswith(".") and not n.endswith(".png")}
    assert not {name for name in names if not is_named(name)}


@pytest.mark.parametrize(
    "name", ["report.json", "architecture.json", "metrics.jsonl", "seams.jsonl"]
)
def test_every_key_is_named(folder, name):
    text = (folder / name).read_text(encoding="utf-8")
    lines = text.splitlines() if name.endswith("jsonl") else [text]
    found = keys_of([json.loads(line) for line in lines])
    assert len(found) > 5
    assert not {key for key in found if not is_named(key)}


def test_every_key_of_a_manifest_is_named(folder):
    newest = max((folder / "checkpoints").iterdir()) / "manifest.json"
    manifest = json.loads(newest.read_text(encoding="utf-8"))
    assert not {key for key in manifest if not is_named(key)}
