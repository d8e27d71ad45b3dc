"""The textbook's digit classifier: a perceptron, 784-128-10, by SGD with momentum.

MNIST or Fashion-MNIST as IDX files in one folder (``train-images-idx3-ubyte.gz`` ...):

Run: slimjax train --config=mnist_mlp --workdir=runs/mnist \
        --config.data.source=idx:fashion-mnist

or as a table without a header, 784 columns of pixels and one of labels:

    slimjax train --config=mnist_mlp --workdir=runs/mnist \
        --config.data.source='csv:mnist_5k.csv.gz' --config.data.header=false \
        --config.data.fields='{"features": "0:784", "label": 784}'

``--config.model.mlp=relu`` gives the hidden units an activation; as it is printed in
some textbooks the network has none. To slim it, set ``objective.strategy=exchange`` and
a budget, and where the seams stand (``resize.first_step``).
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "classification"
    config.data = dict(source="idx:mnist", batch_size=64)
    config.data.normalize = (0.5, 0.5)  # Pixels in [-1, 1].
    config.model = dict(kind="mlp", width=128, mlp="none", dtype="float32")
    config.objective = dict(strategy="none")
    config.optim = dict(name="momentum", momentum=0.9, learning_rate=1e-3)
    config.optim.warmup_steps = 0
    config.optim.decay = "constant"
    config.optim.weight_decay = 0.0
    config.optim.clip_norm = 0.0
    config.train = dict(num_steps=0, num_epochs=10, eval_every_steps=500, eval_rows=0)
    config.train.log_every_steps = 100
    return config
