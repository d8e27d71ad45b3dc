"""Questions about images: a small CNN, a text tower, and attention over both.

Run: python experiments/towers/fetch.py easy_vqa
     slimjax train --config=image_question --workdir=runs/questions

The data are easy-VQA (PyPI ``easy-vqa``): 4,000 images of 64 x 64 pixels, each with one
shape, 38,575 questions and 13 answers; 1,000 further images with 9,673 questions are
the test split. Other data need rows with ``image``, a path relative to the file,
``question`` and ``answer``.

Most of the compute is the CNN's, on all 64 x 64 places of an image. One budget is spent
over both towers: filters, heads of self- and cross-attention, hidden units, sublayers,
layers and bits. A quarter of the bytes is left after four seams. Widths stay, unless
``resize.units`` names ``embed`` too. Images are not mirrored: on the
left and on the right are different answers.

A batch has 64 images, each with four of its questions, and each is read once for them.
With one question for each image, as many steps see a quarter of the questions.

``--config.model.inputs=text`` (or ``image``) is the control that sees one input alone.
``--config.objective.strategy=none`` trains without slimming. The steps are described in
docs/images.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "image_question"
    config.data = dict(source="jsonl:data/easy_vqa/train.jsonl", image_size=64)
    config.data.test_source = "jsonl:data/easy_vqa/test.jsonl"
    config.data.normalize = (0.5, 0.5)  # Pixels in [-1, 1].
    config.data.vocab_size = 512
    config.data.seq_len = 16  # Tokens of a question; the longest has 10 words.
    config.data.update(batch_size=256, rows_per_image=4)  # Questions; 64 images a step.
    config.model = dict(kind="fusion", width=64, num_heads=4, mlp_dim=128, num_layers=1)
    config.model.update(filters=(12, 24, 48), kernels=(3,), pools=(2,))
    config.model.update(image_width=48, text_width=48, text_layers=1, mixing_layers=1)
    config.model.dtype = "float32"
    config.objective = dict(strategy="exchange", size="bytes", budget="25%")
    config.quantize = dict(bits=(16, 8, 6, 4, 3, 2))  # Chosen for each unit.
    config.optim = dict(learning_rate=3e-3, warmup_steps=100, weight_decay=0.01)
    config.resize = dict(first_step=1_200, every_steps=150, max_seams=4)
    config.train = dict(num_steps=2_400, eval_every_steps=200, eval_rows=512)
    return config
