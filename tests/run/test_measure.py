"""Rows are measured in batches of any size: what is kept of each stays the same."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from slimjax.config import override, read_config
from slimjax.run import measure
from slimjax.run.blueprints import make_blueprint
from slimjax.run.measure import choose_batch_size, measure_rows
from slimjax.tasks.lm import load
from slimjax.train.config import make_run_config
from slimjax.train.stage import Stage, make_stage

OWN, SEQ_LEN = 2, 32


@pytest.fixture(autouse=True)
def _many(monkeypatch):
    """Texts of tests are short."""
    monkeypatch.setattr(measure, "MANY_BATCHES", 256)


@pytest.fixture(scope="module")
def parts(text_folder):
    """Returns a stage of two devices, its weights, and data of many small batches."""
    changes = [("data.source", f"text:{text_folder}/*.txt"), ("mesh.data", "2")]
    changes += [("data.batch_size", str(OWN)), ("data.valid_fraction", "0.3")]
    changes += [("model.num_layers", "1")]
    run = make_run_config(override(read_config("configs/tiny_test.py"), changes))
    data = load(run.data)
    stage = make_stage(make_blueprint(run, data.outline))
    return stage, stage.fresh().variables, data


@pytest.fixture
def sent(monkeypatch):
    """Returns the numbers of rows of the batches that were sent."""
    sizes, put = [], Stage.put

    def count(stage, batch):
        sizes.append(len(batch["tokens"]))
        return put(stage, batch)

    monkeypatch.setattr(Stage, "put", count)
    return sizes


def test_rows_are_worth_the_same_in_larger_batches(parts, sent, monkeypatch):
    stage, variables, data = parts
    numbers = data.evaluation_rows("valid")
    inputs = stage, variables, data, "valid", numbers
    large = measure_rows(*inputs, by_position=True)
    assert {*sent} == {measure.MAX_NUMBERS // SEQ_LEN}
    assert len(sent) == -(-len(numbers) // sent[0])
    assert len(numbers) % sent[0]  # The last one is filled up.
    sent.clear()
    monkeypatch.setattr(measure, "MANY_BATCHES", len(numbers))
    small = measure_rows(*inputs, by_position=True)
    assert {*sent} == {OWN}
    assert large.keys() == small.keys()
    for name, column in large.items():
        np.testing.assert_allclose(column, small[name], rtol=1e-5, atol=1e-5)


def test_some_rows_of_a_split_keep_the_batch_of_training(parts, sent):
    stage, variables, data = parts
    numbers = data.evaluation_rows("valid", 5, seed=0)
    found = measure_rows(stage, variables, data, "valid", numbers)
    assert sent == [OWN, OWN, OWN]
    assert len(found["nats"]) == 5


def test_a_batch_is_sent_before_the_one_before_it_is_read():
    order = []

    def send(batch: Any) -> Any:
        order.append(f"send {batch['i']}")
        return batch

    batches: Any = [{"i": i} for i in range(3)]
    for part in measure._read_in_turn(send, batches):
        order.append(f"read {part['i']}")
    assert order == ["send 0", "send 1", "read 0", "send 2", "read 1", "read 2"]
    assert list(measure._read_in_turn(send, [])) == []


def test_larger_batches_are_bounded(parts):
    stage, _, data = parts
    blueprint = stage.blueprint
    (head,) = blueprint.model.heads

    def size_of(own=OWN, **changes):
        heads = (dataclasses.replace(head, **changes),)
        model = dataclasses.replace(blueprint.model, heads=heads)
        settings = dataclasses.replace(blueprint.run.data, batch_size=own)
        run = dataclasses.replace(blueprint.run, data=settings)
        other = dataclasses.replace(blueprint, model=model, run=run)
        return choose_batch_size(other, data)

    assert size_of() == measure.MAX_NUMBERS // SEQ_LEN
    assert size_of(own=3) == 3 * (measure.MAX_NUMBERS // SEQ_LEN // 3)
    assert size_of(answers=measure.MAX_LOGITS // SEQ_LEN // 5) == 4
    assert size_of(answers=measure.MAX_LOGITS) == OWN
    assert size_of(loss="contrast") == OWN  # Other rows are its wrong answers.
    assert size_of(own=100) == 100  # They are few.
