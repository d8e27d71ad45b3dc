"""Batches in which rows of one image stand together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from image_files import draw, save, write_questions
from shapes import draw_inputs, logits_of, make_variables

from slimjax.augment.config import AugmentConfig
from slimjax.data import DataConfig, load_labelled_dataset
from slimjax.data.rows_of_images import RowsOfImages
from slimjax.errors import ConfigError
from slimjax.models import HeadConfig, LayerConfig, Parts, captioner, fusion
from slimjax.nn.pictures import Picture, Stage
from slimjax.run.augmented import check_together
from slimjax.tasks import get
from slimjax.tasks.pixels import with_pixels
from slimjax.train.config import make_run_config

LAYER = LayerConfig(2, 1, 4, 5)
ACROSS = LayerConfig(0, 0, 4, 5, attention=False, cross_heads=2, cross_kv_heads=1)
BOTH = LayerConfig(2, 1, 4, 5, cross_heads=2, cross_kv_heads=1)
PARTS = Parts(5, (LAYER,), 6, (LAYER,), (ACROSS,), 7, (LAYER,))
PICTURE = Picture(8, 4, 3, (Stage(4, pool=2),))
FUSED = fusion(
    *(11, PARTS),
    heads=(HeadConfig("answer", 3, at="mean"),),
    picture=PICTURE,
    attention_impl="reference",
)
WRITER = captioner(
    *(11, 7, (BOTH,), PARTS), picture=PICTURE, attention_impl="reference"
)


def test_a_batch_has_groups_of_one_image_and_an_epoch_has_each_image():
    images = np.repeat([40, 10, 30, 20], [7, 3, 2, 6])
    images = images[np.random.default_rng(0).permutation(len(images))]
    rows = RowsOfImages(images, per_image=3)
    num_groups = 2 + 1 + 1 + 2
    batches = [rows.choose(step, 6, seed=4) for step in range(num_groups // 2)]
    groups = np.concatenate(batches).reshape(-1, 3)
    own = images[groups]
    assert (own == own[:, :1]).all()
    assert sorted(own[:, 0]) == [10, 20, 20, 30, 40, 40]
    drawn = groups[own[:, 0] == 40]
    assert len(np.unique(drawn)) == 6  # None of its rows comes twice.
    assert len(np.unique(groups[own[:, 0] == 30])) == 2  # It has no more.
    again = RowsOfImages(images, 3)
    np.testing.assert_array_equal(again.choose(2, 6, seed=4), batches[2])
    later = np.concatenate([rows.choose(step, 6, seed=4) for step in range(3, 6)])
    assert not np.array_equal(later, groups.reshape(-1))
    assert not np.array_equal(rows.choose(0, 6, seed=5), batches[0])


@pytest.mark.parametrize("model", [FUSED, WRITER])
def test_an_image_that_is_read_once_gives_the_logits_of_one_read_for_each_row(model):
    variables, _ = make_variables(model)
    inputs = draw_inputs(model, num_rows=6)
    images = inputs["image"][::3]
    whole = {**inputs, "image": jnp.repeat(images, 3, axis=0)}
    once = {**inputs, "image": images}
    for name, expected in logits_of(model, variables, whole).items():
        actual = logits_of(model, variables, once)[name]
        np.testing.assert_allclose(actual, expected, atol=1e-5)


def ask(folder, number=6, questions=4):
    rows = []
    for i in range(number):
        save(folder / f"images/{i}.png", draw(i, 4, 4))
        rows += [
            {
                "image": f"images/{i}.png",
                "question": f"which {j}?",
                "answer": "ab"[j % 2],
            }
            for j in range(questions)
        ]
    return f"jsonl:{write_questions(folder / 'q.jsonl', rows)}"


KINDS = {"image": "image", "question": "text", "answer": "label"}


def test_a_step_reads_each_image_once_and_all_else_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))
    config = DataConfig(
        source=ask(tmp_path), tokenizer="bytes", batch_size=6, rows_per_image=3
    )
    data = load_labelled_dataset(config, KINDS)
    batch = jax.tree.map(jnp.asarray, data.training_batch(0, 6, seed=0))
    task = with_pixels(
        get("image_question").make_task(data.special), (), AugmentConfig(), 3
    )
    assert task.is_random
    still, once = (
        task.inputs(batch, key)["image"] for key in (None, jax.random.key(0))
    )
    assert (len(still), len(once)) == (6, 2)
    np.testing.assert_array_equal(np.repeat(once, 3, axis=0), still)


def test_rows_that_cannot_stand_together_end_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))
    source = ask(tmp_path)
    load = lambda kinds, **options: load_labelled_dataset(
        DataConfig(source=source, tokenizer="bytes", rows_per_image=3, **options), kinds
    )
    with pytest.raises(ConfigError, match=r"batch_size=8 must be a multiple of .*=3"):
        load(KINDS, batch_size=8)
    with pytest.raises(ConfigError, match=r"rows_per_image=3 and .*buckets=\[8\]"):
        load(KINDS, batch_size=6, buckets=(8,))
    with pytest.raises(ConfigError, match=r"rows_per_image=3 is for rows that read"):
        load({"image": "image", "answer": "label"}, batch_size=6)
    with pytest.raises(ConfigError, match="rows_per_image=0 is invalid"):
        DataConfig(rows_per_image=0)
    blocks = {"data": {"rows_per_image": 2}, "optim": {"accumulation_steps": 2}}
    with pytest.raises(ConfigError, match="accumulation_steps=2 deals them out"):
        check_together(make_run_config(blocks))
    blocks = {"data": {"rows_per_image": 2}, "distill": {"teacher": "runs/other"}}
    with pytest.raises(ConfigError, match="without a teacher"):
        check_together(make_run_config(blocks))
