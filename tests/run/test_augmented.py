"""Changed examples in a run: what a step reads, and reads again after a kill."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from image_files import draw, make_folder

import slimjax
from slimjax.augment.config import AugmentConfig
from slimjax.data import DataConfig, load_labelled_dataset
from slimjax.data.outline import Field, Outline
from slimjax.errors import ConfigError
from slimjax.models import recipes
from slimjax.models.head import HeadConfig
from slimjax.run import loop
from slimjax.run.augmented import change_texts, check_augment
from slimjax.tasks import get
from slimjax.tasks.error import make_error_fn
from slimjax.tasks.pixels import to_numbers, with_pixels
from slimjax.train.config import make_run_config

TEXTS = ("a good film", "a dull film", "fine work, well done", "nothing to see")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path_factory.mktemp("cache")))


def write_reviews(path, number=60):
    rows = [
        {"text": f"{TEXTS[i % 4]} {i}", "label": "yn"[i % 2]} for i in range(number)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return f"jsonl:{path}"


def load(source, kinds, **changes):
    config = DataConfig(source=source, tokenizer="bytes", seq_len=40, **changes)
    return load_labelled_dataset(config, kinds)


def make_run(**blocks):
    return make_run_config({"seed": 5, "task": "classification", **blocks})


def test_training_reads_changed_texts_and_the_same_ones_again(tmp_path):
    kinds = {"text": "text", "label": "label"}
    data = load(write_reviews(tmp_path / "a.jsonl"), kinds)
    run = make_run(augment={"swap_characters": 0.3, "drop_words": 0.2})
    changed = change_texts(run, data)
    batch = changed.training_batch(3, 8, seed=5)
    plain = data.training_batch(3, 8, seed=5)
    np.testing.assert_array_equal(batch["label"], plain["label"])
    same = (batch["tokens"] == plain["tokens"]).all(1)
    assert same.sum() < 4
    again = change_texts(run, data).training_batch(3, 8, seed=5)
    np.testing.assert_array_equal(batch["tokens"], again["tokens"])
    later = changed.training_batch(4, 8, seed=5)
    assert not np.array_equal(later["tokens"], batch["tokens"])
    text = data.tokenizer.decode(batch["tokens"][~same][0])
    assert text not in {e.values["text"] for e in data.read_examples()["train"]}
    for split in ("valid", "test"):
        rows = np.arange(data.num_rows(split))
        np.testing.assert_array_equal(
            changed.rows(split, rows)["tokens"], data.rows(split, rows)["tokens"]
        )
    assert change_texts(make_run(), data) is data


def test_changes_that_do_not_fit_a_task_are_refused_by_name(tmp_path):
    data = load(write_reviews(tmp_path / "a.jsonl"), {"text": "text", "label": "label"})
    run = make_run(augment={"casing": 0.5})
    with_spans = dataclasses.replace(data, kinds={**data.kinds, "spans": "spans"})
    with pytest.raises(ConfigError, match=r"augment\.casing=0\.5 .* has spans in its"):
        change_texts(run, with_spans)
    for task in ("lm", "mlm", "image_classification", "chat"):
        other = make_run(augment={"casing": 0.5}, task=task)
        match = (
            rf"augment\.casing=0\.5 changes texts, .*{task}.* reads none of labelled"
        )
        with pytest.raises(ConfigError, match=match):
            check_augment(other, data.outline)
    in_buckets = load(
        write_reviews(tmp_path / "a.jsonl"),
        {"text": "text", "label": "label"},
        buckets=(20,),
    )
    with pytest.raises(ConfigError, match=r"config\.data\.buckets="):
        change_texts(run, in_buckets)
    for block in ({"shift": 2}, {"mixup": 0.2}):
        with pytest.raises(ConfigError, match=r"and config\.task=.* reads none"):
            check_augment(make_run(augment=block), data.outline)
    fields = {**data.fields, "image": Field((2, 2, 1), "uint8", (None,) * 3)}
    both = Outline(fields, {}, {}, {})
    check_augment(make_run(augment={"shift": 2}), both)
    with pytest.raises(ConfigError, match=r"mixup=0\.2 mixes images, and the texts of"):
        check_augment(make_run(augment={"mixup": 0.2}), both)
    with pytest.raises(ConfigError, match=r"mixup=0\.2 mixes answers"):
        make_run(augment={"mixup": 0.2}, distill={"teacher": "runs/other"})


def test_images_are_changed_where_there_is_a_key_and_nowhere_else():
    changes = AugmentConfig(noise=0.2, mixup=0.3)
    plain = get("image_classification").make_task({})
    task = with_pixels(plain, (0.5, 0.5), changes)
    assert task.is_random
    assert not with_pixels(plain, ()).is_random
    batch = {"image": jnp.stack([draw(i) for i in range(4)])}
    still = task.inputs(batch, None)["image"]
    np.testing.assert_allclose(still, 2 * to_numbers(batch["image"]) - 1, atol=1e-6)
    key = jax.random.key(0)
    one, other = (task.inputs(batch, key)["image"] for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert float(jnp.abs(one - still).max()) > 0.1


def test_mixed_rows_have_the_mixed_loss_of_both_answers():
    """Of a linear model the gradient is that of the soft label, as in the paper."""
    head = HeadConfig("label", 3, at="first", bias=True)
    model = recipes.mlp(105, 4, heads=(head,), activation="none")
    task = with_pixels(
        get("image_classification").make_task({}), (), AugmentConfig(mixup=0.5)
    )
    variables = jax.tree.map(
        lambda x: x.value if hasattr(x, "value") else x,
        model.module().init(jax.random.key(1), {"features": jnp.zeros((1, 105))}),
        is_leaf=lambda x: hasattr(x, "value"),
    )
    label = jnp.array([0, 2, 1, 0])
    batch = {"image": jnp.stack([draw(i) for i in range(4)]), "label": label}
    key = jax.random.key(7)
    error, _ = make_error_fn(task, model)(variables, batch, key)
    data_key = jax.random.fold_in(key, 0)
    inputs = task.inputs(batch, data_key)
    other, share = task.targets(batch, data_key)["label"].mixed
    np.testing.assert_array_equal(other, label[::-1])
    logits = model.module().apply(variables, inputs)["label"].logits()
    soft = share[:, None] * jax.nn.one_hot(label, 3)
    soft += (1 - share[:, None]) * jax.nn.one_hot(other, 3)
    expected = -jnp.mean(jnp.sum(soft * jax.nn.log_softmax(logits), axis=-1))
    np.testing.assert_allclose(error, expected, rtol=1e-5)
    assert float(share.min()) > 0.02 or float(share.max()) < 0.98
    plain, _ = make_error_fn(task, model)(variables, batch)
    assert abs(float(plain) - float(error)) > 1e-4


CONFIG = {
    "task": "image_classification",
    "data": {"batch_size": 8, "valid_fraction": 0.2, "test_fraction": 0.2},
    "augment": {"shift": 1, "noise": 0.1, "cutout": 0.4, "mixup": 0.2},
    "model": {"kind": "mlp", "width": 4, "dtype": "float32"},
    "objective": {"strategy": "none"},
    "train": {"num_steps": 9, "eval_every_steps": 0, "save_every_steps": 3},
}


def test_a_run_that_was_broken_off_ends_with_the_same_bits(tmp_path, monkeypatch):
    source = f"images:{make_folder(tmp_path / 'a', 30)}"
    config = {**CONFIG, "data": {**CONFIG["data"], "source": source}}
    fit = lambda name: slimjax.fit(config, tmp_path / name, quiet=True)
    whole = fit("whole")["state_hash"]
    passages = []

    def break_off(name):
        passages.append(name)
        if passages.count("step") == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "fault_point", break_off)
        with pytest.raises(KeyboardInterrupt):
            fit("broken")
    assert not (tmp_path / "broken/report.json").exists()
    assert fit("broken")["state_hash"] == whole
    plain = {**config, "augment": {}}
    assert slimjax.fit(plain, tmp_path / "plain", quiet=True)["state_hash"] != whole
