"""Globs: what a shell would match, each real file once, and always an end."""

import glob
import os
import random

import pytest

from slimjax.text.files import find_files
from slimjax.text.globs import expand

PATTERNS = ["**/*.txt", "*/*.md", "**", "a*/**/*.md", "**/bx/**/*.txt", "./**/f1*"]
PATTERNS += ["*/../*.txt", "a[xy]/*", "**/**/*.txt", "f[0-9].md", "**/.d?/*", "x/*"]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Returns a folder with 150 files at random depths; it is the current one."""
    source = random.Random(0)
    monkeypatch.chdir(tmp_path)
    for i in range(150):
        parts = [source.choice("abc.d") + source.choice("xy") for _ in range(3)]
        folder = "/".join(parts[: source.randint(0, 3)]) or "."
        os.makedirs(folder, exist_ok=True)
        name = f"{folder}/f{i}.{source.choice(['txt', 'md'])}"
        with open(name, "w", encoding="utf-8") as file:
            file.write("x")
    return tmp_path


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_tree_without_links_is_matched_as_by_glob(tree, pattern):
    for start in ("", f"{tree}/"):
        first = {}
        for path in sorted(glob.glob(start + pattern, recursive=True)):
            if os.path.isfile(path):
                first.setdefault(os.path.realpath(path), path)
        assert expand(start + pattern) == list(first.values())


@pytest.mark.parametrize("target", [".", "ax", "loop2", "ax/../ax"])
def test_links_to_folders_end_and_the_shortest_path_is_kept(tree, target):
    expected = expand("**/*.txt")
    os.makedirs("ax", exist_ok=True)
    for name in ("loop", "loop2", "ax/loop", "ax/loop2", "ax/zz"):
        os.symlink(target, name)
    os.symlink("missing.txt", "broken.txt")
    os.symlink("circle.txt", "circle.txt")
    assert expand("**/*.txt") == expected
    assert expand(f"{tree}/**/*.txt") == [f"{tree}/{path}" for path in expected]


def test_a_link_beside_a_deeper_folder_is_the_shorter_path(tmp_path):
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "deep/er/a.txt").write_text("x", encoding="utf-8")
    (tmp_path / "short").symlink_to(tmp_path / "deep/er")
    assert find_files(f"{tmp_path}/**/*.txt") == [f"{tmp_path}/short/a.txt"]
