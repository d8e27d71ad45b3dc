"""What a run reads of itself on the way: validations and times of steps."""

import json
import random
import time

import jax
import numpy as np
import pytest
from taught import DENSE, make_train

from slimjax.run.loop import Loop
from slimjax.tasks.lm import load
from slimjax.train.config import make_run_config

STEP_SECONDS = 0.02
EVERY = ("train.log_every_steps", "1"), ("train.save_every_steps", "5")


@pytest.fixture(scope="module")
def unlike_files(tmp_path_factory):
    """Returns a folder of two files: one easy to predict, and one that is not."""
    folder, source = tmp_path_factory.mktemp("unlike"), random.Random(0)
    letters = "".join(map(chr, range(33, 127)))
    for name, signs in (("a", "aaaaaaab"), ("b", letters)):
        documents = ["".join(source.choices(signs, k=200)) for _ in range(120)]
        (folder / f"{name}.txt").write_text("\n\n".join(documents), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(unlike_files, tmp_path_factory):
    """Returns the lines and the report of a run that validates on half of the rows."""
    workdir = tmp_path_factory.mktemp("runs") / "run"
    changes = [*DENSE, *EVERY, ("data.valid_fraction", "0.3")]
    changes += [("train.eval_every_steps", "10"), ("train.eval_rows", "190")]
    compiled_step = Loop._compiled_step

    def slow_step(loop, batch):
        step = compiled_step(loop, batch)

        def run(*inputs):
            outputs = jax.block_until_ready(step(*inputs))
            time.sleep(STEP_SECONDS)
            return outputs

        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "_compiled_step", slow_step)
        report = make_train(unlike_files, num_steps=40)(workdir, *changes)
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines], report | {"workdir": workdir}


def test_validations_on_the_way_are_of_rows_of_all_files(run):
    """Of two files, 0.6 and 6.5 bits a byte; half of the rows are read on the way."""
    lines, report = run
    rows = report["data"]["tokens_valid"] / 32
    assert 1.8 < rows / 190 < 2.2
    # Of each two neighbours one is drawn; documents of a file are alike, to some 5 %.
    for key in ("bits_per_byte", "nats_per_token"):
        found, whole = lines[-1][f"valid_{key}"], report["error"][f"valid_{key}"]
        assert found == pytest.approx(whole, rel=0.03)


def test_bits_per_byte_are_those_of_the_rows_that_were_read(run):
    lines, report = run
    config = json.loads((report["workdir"] / "config.json").read_text())
    data = load(make_run_config(config).data)
    numbers = data.evaluation_rows("valid", 190, seed=0)
    counts = [data.count(what, "valid", numbers) for what in ("targets", "bytes")]
    found = [line for line in lines if "valid_bits_per_byte" in line]
    assert len(found) == 4
    for line in found:
        ratio = line["valid_bits_per_byte"] / line["valid_nats_per_token"]
        assert ratio * np.log(2) == pytest.approx(counts[0] / counts[1], rel=1e-9)


def test_no_step_takes_no_time(run):
    """Also not the one before a save or a validation, which is read at once."""
    seconds = np.array([line["step_time_s"] for line in run[0]])
    assert len(seconds) == 40
    assert seconds.min() > STEP_SECONDS
    assert seconds.sum() == pytest.approx(report_seconds(run[1]))


def report_seconds(report) -> float:
    return sum(s["step_time_s"] * s["num_steps"] for s in report["stages"])
