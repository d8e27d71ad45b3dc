"""Classes of images: a folder for each class, and a small CNN.

    photos/cat/1.jpg, photos/cat/2.jpg, ..., photos/dog/1.jpg, ...

Run: slimjax train --config=image_classification --workdir=runs/photos \
        --config.data.source=images:photos

Images are scaled to 64 x 64 pixels, on white where their shape is another one. Rows of
a ``jsonl`` or ``csv`` file with an ``image`` (a path relative to the file) and a
``label`` are read too, and so is ``idx:DIR``. ``slimjax predict --input=images:NEW``
answers the images of a folder.

In training images are mirrored, shifted, cropped and made brighter or darker. Take
``flip`` out where left and right have a meaning, as in letters.

Half of the bytes go at three seams. Filters of the convolution are removed like hidden
units, and what stays gets fewer bits.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "image_classification"
    config.data = dict(source="images:images", image_size=64, batch_size=64)
    config.data.normalize = (0.5, 0.5)  # Pixels in [-1, 1].
    config.augment = dict(flip=True, shift=4, crop=0.7, brightness=0.2)
    config.model = dict(kind="encoder", stem="convolution", width=128, num_layers=1)
    config.model.update(num_heads=4, mlp_dim=256, filters=(16, 32, 64, 128), pools=(2,))
    config.model.dropout = 0.1
    config.objective = dict(strategy="exchange", size="bytes", budget="50%")
    config.quantize = dict(bits=(16, 8, 6, 4, 3, 2))  # Chosen for each unit.
    config.optim = dict(learning_rate=1e-3, warmup_steps=50, weight_decay=0.05)
    config.resize = dict(first_step=600, every_steps=100, max_seams=3)
    config.train = dict(num_steps=1_200, eval_every_steps=100, eval_rows=1_024)
    return config
