"""The wheel, installed somewhere else, runs a recipe by its name."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "slimjax", "configs")

pytestmark = pytest.mark.slow


def run(*argv: object, **options) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [str(word) for word in argv],
        capture_output=True,
        check=False,
        text=True,
        **options,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Builds the wheel from a copy of the sources, so that no old file gets in."""
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, copy)
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, copy)
    (found,) = folder.glob("slimjax-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """Installs it into a fresh environment; returns the folder of its commands.

    What it depends on is read from the environment of these tests: a path at the end,
    so that the package itself can only be that of the wheel.
    """
    root = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", root)
    python = root / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel)
    (site,) = (root / "lib").glob("python3*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return root / "bin"


def test_the_wheel_holds_recipes_and_kernels_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for recipe in (ROOT / "configs").glob("*.py"):
        assert f"slimjax/configs/{recipe.name}" in names
    for source in (ROOT / "slimjax" / "native").glob("*.[hc]*"):
        assert f"slimjax/native/{source.name}" in names
    assert not [name for name in names if "test" in name and "tiny_test" not in name]


@pytest.mark.parametrize("has_compiler", [True, False])
def test_a_recipe_runs_by_its_name(installed, tmp_path, text_folder, has_compiler):
    known = {"HOME": str(tmp_path), "LANG": "C.UTF-8", "JAX_PLATFORMS": "cpu"}
    path = os.environ["PATH"] if has_compiler else str(installed)
    environment = known | {"PATH": path, "SLIMJAX_CACHE": str(tmp_path / "cache")}
    work = tmp_path / "elsewhere"
    work.mkdir()
    where = run(
        *(installed / "python", "-c", "import slimjax; print(slimjax.__file__)"),
        cwd=work,
        env=environment,
    )
    assert str(installed.parent) in where.stdout
    train = [installed / "slimjax", "train", "--config=tiny_test", "--workdir=run"]
    train += [f"--config.data.source=text:{text_folder}/*.txt", "--json"]
    done = run(*train, cwd=work, env=environment)
    assert json.loads(done.stdout.splitlines()[-1])["train"]["steps"] == 24
    assert (work / "run" / "report.html").is_file()
    compiled = list((tmp_path / "cache" / "compiled").glob("*.so"))
    assert bool(compiled) == (has_compiler and shutil.which("g++") is not None)
    run(installed / "slimjax", "inspect", "run", cwd=work, env=environment)
