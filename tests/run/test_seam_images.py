"""Seams measure on rows that stand together by image, and read each image once."""

import jax
import numpy as np
import pytest
from image_files import draw, save, write_questions

from slimjax.run.blueprints import make_blueprint
from slimjax.run.dry_run import load_data
from slimjax.tasks.pixels import share_images
from slimjax.train.config import make_run_config
from slimjax.train.stage import make_stage

BLOCKS = {
    "task": "image_question",
    "model": {"kind": "fusion", "width": 16, "num_heads": 2, "mlp_dim": 16}
    | {"image_width": 8, "num_layers": 1, "filters": [8], "pools": [2]}
    | {"dtype": "float32"},
    "objective": {"strategy": "exchange", "size": "bytes", "budget": "50%"},
    "quantize": {"bits": [4, 16]},
    "resize": {"every_steps": 8, "max_seams": 1},
}
ROWS = {"tokenizer": "bytes", "seq_len": 24, "batch_size": 24, "rows_per_image": 3}


@pytest.fixture
def stage_and_batch(tmp_path, monkeypatch):
    """Returns a stage whose weights are drawn, and a batch that seams measure on."""
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))
    rows = []
    for i in range(30):
        save(tmp_path / f"images/{i}.png", draw(i, 8, 8).astype(np.uint8))
        for word, answer in (("bright", "yes"), ("dark", "no"), ("grey", "no")):
            own = {"question": f"is it {word}?", "answer": answer}
            rows.append({"image": f"images/{i}.png", **own})
    source = f"jsonl:{write_questions(tmp_path / 'q.jsonl', rows)}"
    run = make_run_config({**BLOCKS, "data": {**ROWS, "source": source}})
    data = load_data(run)
    stage = make_stage(make_blueprint(run, data.outline))
    return stage, stage.put(data.measured_batch(7, run.data.batch_size, seed=0))


def test_losses_are_those_of_an_evaluation_that_reads_each_image(stage_and_batch):
    stage, batch = stage_and_batch
    images, once = batch["image"], share_images(batch, 3)["image"]
    np.testing.assert_array_equal(np.repeat(once, 3, axis=0), images)
    assert len(np.unique(np.asarray(once).reshape(len(once), -1), axis=0)) == 8
    variables, programs = stage.unrounded(stage.fresh().params), stage.programs
    shared = jax.tree.leaves(programs.training_outputs(variables, batch))
    whole = jax.tree.leaves(programs.outputs(variables, batch))
    assert [own.shape for own in shared] == [own.shape for own in whole]
    for once, each in zip(shared, whole, strict=True):
        np.testing.assert_allclose(once, each, rtol=1e-5, atol=1e-6)
