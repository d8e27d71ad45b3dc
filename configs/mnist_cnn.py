"""Digits by a small CNN: 5,000 images of MNIST, shifted by up to two pixels.

Run: python experiments/towers/fetch.py mnist_5k
     slimjax train --config=mnist_cnn --workdir=runs/mnist_cnn

or with the four files of MNIST: ``--config.data.source=idx:mnist``. The head reads the
maximum over all places of the last stage; there is no attention. The model is dense.

The perceptron of mnist_mlp.py with shifts reads the same images:

    slimjax train --config=mnist_cnn --workdir=runs/mnist_shifted_mlp \
        --config.model.kind=mlp --config.model.stem='' --config.model.mlp=relu \
        --config.model.width=256
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "image_classification"
    config.data = dict(source="idx:data/mnist_5k", channels=1, batch_size=64)
    config.data.normalize = (0.5, 0.5)  # Pixels in [-1, 1].
    config.augment = dict(shift=2)
    config.model = dict(kind="encoder", stem="convolution", width=64, num_layers=0)
    config.model.update(filters=(16, 32, 64), pools=(2, 2, 1), image_norm="group")
    config.model.update(pool="max", dropout=0.2, dtype="float32")
    config.objective = dict(strategy="none")
    config.optim = dict(learning_rate=2e-3, warmup_steps=50, weight_decay=0.05)
    config.train = dict(num_steps=1_500, eval_every_steps=150, eval_rows=0)
    config.train.label_smoothing = 0.05
    return config
