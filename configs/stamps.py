"""Eight kinds of pictures from 703 stamps: few data, much augmentation.

Run: python experiments/towers/fetch.py stamps
     slimjax train --config=stamps --workdir=runs/stamps

The data are the stamps of Tux Paint (Debian ``tuxpaint-stamps-default``), a folder for
each class: symbols, animals, town, food, seasonal, plants, vehicles, household. A third
of them are symbols, so macro F1 says more than accuracy. Sizes differ, and most stamps
are transparent: they are read on white.

English captions are in ``data/stamps/captions.jsonl``, and the task ``caption`` writes
them:

    slimjax train --config=stamps --workdir=runs/captions --config.task=caption \
        --config.data.source=jsonl:data/stamps/captions.jsonl \
        --config.data.stratify=false --config.augment.mixup=0 \
        --config.model.kind=encoder_decoder --config.model.num_layers=1

Pairs of an English and a Chinese caption of a picture are in
``data/stamps/translations.jsonl``. The task ``image_translation`` writes the second,
given the first and the picture: the same command with
``--config.task=image_translation`` and that file.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "image_classification"
    config.data = dict(source="images:data/stamps/images", image_size=48, batch_size=32)
    config.data.normalize = (0.5, 0.5)  # Pixels in [-1, 1].
    config.data.update(stratify=True, valid_fraction=0.1, test_fraction=0.2)
    config.augment = dict(flip=True, shift=4, crop=0.7, brightness=0.2, mixup=0.2)
    config.model = dict(kind="encoder", stem="convolution", width=64, num_layers=0)
    config.model.update(filters=(16, 32, 64), pools=(2,), image_norm="group")
    config.model.update(num_heads=4, mlp_dim=128, dropout=0.2, dtype="float32")
    config.model.pool = "max"  # Over all places of the last stage.
    config.objective = dict(strategy="none")
    config.optim = dict(learning_rate=2e-3, warmup_steps=50, weight_decay=0.1)
    config.train = dict(num_steps=1_500, eval_every_steps=100, eval_rows=0)
    return config
