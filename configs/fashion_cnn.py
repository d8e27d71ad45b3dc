"""Clothes by a small CNN: the 60,000 images of Fashion-MNIST.

Run: python experiments/towers/fetch.py fashion_mnist
     slimjax train --config=fashion_cnn --workdir=runs/fashion_cnn

The test split is that of the data. Images are shifted and mirrored: a shirt stays a
shirt. After two stages 7 x 7 places are left; the filters of the last stage read all of
them at once, so it is a hidden layer over what the others found, and where. The model
is dense.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "image_classification"
    config.data = dict(source="idx:data/fashion_mnist", channels=1, batch_size=128)
    config.data.normalize = (0.286, 0.353)  # Those of the training split.
    config.augment = dict(shift=1, flip=True)
    config.model = dict(kind="encoder", stem="convolution", width=96, num_layers=0)
    config.model.update(filters=(16, 32, 64, 128), kernels=(3, 3, 3, 7))
    config.model.update(strides=(1, 1, 1, 7), pools=(2, 2, 1, 1), image_norm="group")
    config.model.update(dropout=0.2, dtype="float32")
    config.objective = dict(strategy="none")
    config.optim = dict(learning_rate=4e-3, warmup_steps=100, weight_decay=0.05)
    config.train = dict(num_steps=4_000, eval_every_steps=400, eval_rows=2_048)
    config.train.label_smoothing = 0.05
    return config
