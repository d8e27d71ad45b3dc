"""Careless use of ``slimjax compress`` ends in one line, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time

import pytest
from run.folders import make_folder

from slimjax.cli.main import main
from slimjax.store.run_folder import RunFolder

SMALL = ("--config.data.seq_len=20", "--config.data.valid_fraction=0.2")
FEW = ("--rows=12", "--slope_rows=2", "--error_rows=12", "--skip_speed")
LONG = "\n\n".join(f"The old house stood on hill {i}." for i in range(400))
CHINESE = "房子在山上。天黑了。后来天又亮了。孩子们在河边唱歌。" * 12


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    layer = dict(num_heads=4, num_kv_heads=2, head_dim=4, mlp_dim=24)
    layers = [{"width": 12, **layer, "attention": True, "mlp": True}] * 2
    return make_folder(tmp_path_factory.mktemp("model") / "run", layers=layers)


def ask(source, folder, data, *more):
    flags = [f"--model={source}", f"--data={data}", "--size=params", "--budget=90%"]
    flags += [f"--workdir={folder / 'slim'}", *FEW, *SMALL, *more]
    return ["compress", *flags]


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return f"text:{path}"


HEALED = "--heal_steps=9"
WRONG = {
    "an empty file": ("empty.txt", (), "empty.txt"),
    "a file that is not there": ("none.txt", (), "none.txt"),
    "a short file": ("short.txt", (), "documents"),
    "no budget": ("long.txt", ("--budget=",), "--budget needs a size"),
    "a budget above": ("long.txt", ("--budget=300%",), "above"),
    "a budget below": ("long.txt", ("--budget=1%",), "below"),
    "a budget of nothing": ("long.txt", ("--budget=0",), "budget"),
    "an unknown size": ("long.txt", ("--size=weight",), "--size=weight is unknown"),
    "a workdir that is a file": ("long.txt", ("--workdir={}/long.txt",), "long.txt"),
    "a workdir below a file": ("long.txt", ("--workdir={}/long.txt/x",), "long.txt"),
    "a full workdir": ("long.txt", ("--workdir={}",), "not empty"),
    "another text that is missing": ("long.txt", ("--also=text:{}/no.txt",), "no.txt"),
    "another text that is empty": ("long.txt", ("--also=text:{}/empty.txt",), "empty"),
    "the same text twice": ("long.txt", ("--also=text:{}/long.txt",), "--data itself"),
    "a model that is none": ("long.txt", ("--model={}",), "--model="),
    "a source of another kind": ("long.txt", ("--data=csv:{}/long.txt",), "csv"),
    "a setting of training": ("long.txt", ("--config.train.num_steps=3",), "setting"),
    "a setting that is none": ("long.txt", ("--config.resize.depth=3",), "depth"),
    "a setting of seams": ("long.txt", ("--config.resize.every_steps=3",), "alone"),
    "layers alike": ("long.txt", ("--config.resize.uniform=true",), "uniform"),
    "a number of layers": ("long.txt", ("--config.resize.min_layers=2",), "min_layers"),
    "a least width": ("long.txt", ("--config.resize.min_width=9",), "min_width"),
    "blocks of width": ("long.txt", ("--config.resize.width_multiple=2",), "multiple"),
    "a teacher": ("long.txt", ("--config.distill.weight=1",), "distill.weight"),
    "an optimizer": ("long.txt", ("--config.optim.name=lion", HEALED), "optim.name"),
    "a rate of nothing": ("long.txt", ("--config.optim.learning_rate=1",), "heal_step"),
    "a rate of 0": ("long.txt", ("--config.optim.learning_rate=0", HEALED), "above 0"),
    "a long rise": ("long.txt", ("--config.optim.warmup_steps=9", HEALED), "below"),
    "a block that is none": ("long.txt", ("--config.quantize=3",), "must be a block"),
    "a type that is none": ("long.txt", ("--config.model.dtype=int3",), "int3"),
    "a width": ("long.txt", ("--config.model.width=8",), "model.width"),
    "a flag that is none": ("long.txt", ("--seam=3",), "--seam"),
}


@pytest.mark.parametrize("what", WRONG)
def test_each_mistake_is_one_line_and_leaves_nothing(source, tmp_path, what, capsys):
    name, more, word = WRONG[what]
    write(tmp_path / "empty.txt", "")
    write(tmp_path / "short.txt", "A few words are no text.")
    write(tmp_path / "long.txt", LONG)
    before = sorted(path.name for path in tmp_path.iterdir())
    more = [flag.format(tmp_path) for flag in more]
    data = f"text:{tmp_path / name}"
    assert main(ask(source, tmp_path, data, *more)) == 2
    *progress, said = capsys.readouterr().err.strip().splitlines()
    assert all("%" in line for line in progress)
    assert said.startswith("slimjax: ")
    assert word in said
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_chinese_text_is_compressed_on(source, tmp_path, capsys):
    lines = "\n\n".join(f"{CHINESE}{i}" for i in range(20))
    data = write(tmp_path / "novel.txt", lines)
    assert main(ask(source, tmp_path, data)) == 0
    assert "perplexity" in capsys.readouterr().out
    assert RunFolder(tmp_path / "slim").report.is_file()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_killed_is_done_by_the_same_command(source, tmp_path, number):
    lines = "\n\n".join(f"The old house stood on hill {i}. " * 9 for i in range(200))
    data = write(tmp_path / "novel.txt", lines)
    argv = ask(source, tmp_path, data, "--heal_steps=100000")
    command = [sys.executable, "-m", "slimjax", *argv]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    for line in running.stderr:  # Healing is what would take long.
        if "healing" in line:
            break
    time.sleep(0.2)
    os.kill(running.pid, number)
    running.stderr.close()
    assert running.wait(timeout=120) != 0
    assert [path.name for path in tmp_path.iterdir()] == ["novel.txt"]
    assert main(ask(source, tmp_path, data)) == 0
    assert RunFolder(tmp_path / "slim").report.is_file()
