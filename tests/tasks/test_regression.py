"""Regression: values in the unit of the files, whatever the model answers in."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.data.codecs import load_codecs
from slimjax.data.config import DataConfig
from slimjax.data.values import ValueScale, load_values, measure_values
from slimjax.errors import DataError
from slimjax.models.build import build_model
from slimjax.models.settings import ModelSettings
from slimjax.nn.readout import Readout
from slimjax.run.evaluate import evaluate_folder
from slimjax.run.progress import Display
from slimjax.run.start import train
from slimjax.tasks import regression
from slimjax.tasks.answers import Results
from slimjax.tasks.error import losses_of
from slimjax.text.examples import Example
from slimjax.train.config import make_run_config

SOURCE = np.random.default_rng(0)
MEAN, DEVIATION = 500.0, 200.0
SCALE = ValueScale(MEAN, DEVIATION)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def write_reviews(path, values):
    texts = [{"text": f"review number {i}", "value": v} for i, v in enumerate(values)]
    return write_lines(path, texts)


def load(path, **changes):
    options = dict(tokenizer="bytes", seq_len=24, valid_fraction=0.2, test_fraction=0.2)
    return regression.load(DataConfig(source=f"jsonl:{path}", **options | changes))


def test_values_become_deviations_from_the_mean_of_train(tmp_path):
    values = SOURCE.normal(MEAN, DEVIATION, 60).tolist()
    data = load(write_reviews(tmp_path / "a.jsonl", values))
    own = np.float64(data.splits["train"]["value"])
    batch = jax.tree.map(jnp.asarray, data.batch("train", 0, 8, seed=0))
    assert set(batch) == {"tokens", "value", "value_unit"}
    target = regression.targets(batch, None)["value"]
    expected = (batch["value"] - own.mean()) / own.std()
    np.testing.assert_allclose(target.values, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(target.weight, 1.0)
    data.codecs["value"].save(tmp_path)
    assert load_values(tmp_path) == data.codecs["value"]


def test_rows_that_fill_up_a_batch_are_no_targets(tmp_path):
    data = load(write_reviews(tmp_path / "a.jsonl", range(40)))
    batch = list(data.evaluation_batches("valid", np.arange(3), 4))[-1]
    target = regression.targets(jax.tree.map(jnp.asarray, batch), None)["value"]
    np.testing.assert_array_equal(target.weight, [1, 1, 1, 0])
    assert np.isfinite(target.values).all()


def test_large_values_that_are_close_to_each_other_have_their_own_targets(tmp_path):
    values = [1_700_000_000 + i for i in range(100)]
    data = load(write_reviews(tmp_path / "a.jsonl", values))
    splits = data.read_examples()
    for split, examples in splits.items():
        expected = np.array([example.values["value"] for example in examples])
        found = np.float64(data.splits[split]["value"])
        np.testing.assert_allclose(np.diff(found), np.diff(expected), atol=1e-4)
    batch = jax.tree.map(jnp.asarray, data.batch("train", 0, 8, seed=0))
    assert len(set(regression.targets(batch, None)["value"].values.tolist())) == 8


def make_readouts(numbers):
    x = jnp.float32(numbers)[:, None]
    return {"value": Readout(x, jnp.ones((1, 1)))}


def test_the_error_is_a_normal_distribution_of_the_training_variance():
    values, means = jnp.float32([100.0, 640.0]), jnp.float32([300.0, 500.0])
    unit = jnp.tile(jnp.float32([MEAN, DEVIATION]), (2, 1))
    batch = {"value": values, "value_unit": unit}
    readouts = make_readouts((means - MEAN) / DEVIATION)
    head = regression.heads({})
    _, nats = losses_of(head, readouts, regression.targets(batch, None))
    density = np.exp(-((values - means) ** 2) / (2 * DEVIATION**2))
    density /= math.sqrt(2 * math.pi) * DEVIATION
    expected = -np.log(density * DEVIATION)  # Per deviation, not per unit.
    np.testing.assert_allclose(nats["value"], expected, rtol=1e-5)
    found = regression.outputs(readouts, batch)
    np.testing.assert_allclose(found["prediction"], means, rtol=1e-6)
    np.testing.assert_array_equal(found["value"], values)


def test_an_answer_has_the_unit_of_the_files():
    kept = regression.predict(make_readouts([0.5, -1.0]), {})
    kept = {name: np.asarray(array) for name, array in kept.items()}
    examples = [Example({"value": 1.0}, "x.jsonl", line) for line in (1, 2)]
    results = Results(examples, kept, {}, np.arange(3), {"value": SCALE})
    assert regression.answer(results) == [{"prediction": 600.0}, {"prediction": 300.0}]


@pytest.mark.parametrize("value", ["fine", "nan", float("nan"), None, True, [3], ""])
def test_what_is_no_number_is_refused_with_its_line(tmp_path, value):
    path = write_reviews(tmp_path / "a.jsonl", [1, 2, value, 4, 5, 6, 7, 8])
    with pytest.raises(DataError, match=r"a\.jsonl, line 3 field value is .*number"):
        load(path)
    skipped = load(path, on_bad_example="skip")
    assert sum(skipped.counts["skipped"].values()) == 1


def test_values_that_are_all_the_same_are_refused():
    with pytest.raises(DataError, match="two different ones are the least"):
        measure_values(np.full(5, 3.0))
    with pytest.raises(DataError, match="too far for a variance"):
        measure_values(np.array([-1e300, 1e300]))


def test_a_damaged_file_of_values_is_one_line(tmp_path):
    (tmp_path / "values.json").write_text('{"mean": 1.0, "deviation": 0}')
    with pytest.raises(DataError, match="is damaged"):
        load_values(tmp_path)


def test_its_head_pools_as_the_model_says():
    settings = ModelSettings(kind="encoder", width=8, num_heads=2, pool="max")
    model = build_model(settings, {"vocab": 9}, regression.heads({}), {"": 4})
    assert [(head.at, head.loss) for head in model.heads] == [("max", "gaussian")]


def test_a_perceptron_learns_values_and_slims(tmp_path):
    points = SOURCE.normal(size=(240, 4))
    slopes = np.array([3.0, -2.0, 1.0, 0.0])
    rows = [[*point, MEAN + 10 * point @ slopes] for point in points]
    path = tmp_path / "points.csv"
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    data = dict(source=f"csv:{path}", header=False, batch_size=16)
    data |= dict(fields=dict(features="0:4", value=4), valid_fraction=0.2)
    data |= dict(test_fraction=0.2)
    run = make_run_config(
        dict(
            task="regression",
            data=data,
            model=dict(kind="mlp", width=12, mlp="tanh", dtype="float32"),
            objective=dict(strategy="exchange", size="params", budget="80%"),
            optim=dict(learning_rate=3e-2, warmup_steps=5),
            resize=dict(first_step=40, every_steps=20, max_seams=1),
            train=dict(num_steps=80, eval_every_steps=40),
            mesh=dict(data=1),
        )
    )
    with Display(quiet=True) as display:
        report = train(run, tmp_path / "run", display=display)
    metrics = {metric["key"]: metric for metric in report["metrics"]}
    assert next(iter(metrics)) == "pearson"
    assert metrics["pearson"]["test"] > 0.9
    assert metrics["mae"]["test"] < 20.0  # The deviation is 37.
    assert report["size"]["params_fraction"] <= 0.8
    found = evaluate_folder(tmp_path / "run", source=None, split="test")
    assert found["mae"] == pytest.approx(metrics["mae"]["test"], rel=1e-6)
    assert "value" in load_codecs(tmp_path / "run" / "tokenizer")
