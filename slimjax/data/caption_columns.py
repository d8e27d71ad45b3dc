"""Columns of images and of what is written for them."""

import dataclasses

from slimjax.data.encoding import Prepared
from slimjax.data.image_columns import prepare_image
from slimjax.data.material import Material
from slimjax.data.pairs import (
    PAD,
    TARGET,
    first_text,
    prepare_pairs,
    prepare_target,
    target_length,
)


def prepare_captions(material: Material) -> list[Prepared]:
    """Returns the columns of images and targets; of images alone, if that is all."""
    columns = [prepare_image(material)]
    if TARGET not in material.kinds:
        return columns
    tokenizer = material.tokenizer(TARGET)
    length = target_length(material.config)
    first = lambda example: first_text(example.values[TARGET])
    target = dataclasses.replace(
        prepare_target(first, tokenizer, length),
        sizes={"vocab": tokenizer.vocab_size},
        lengths={"": length},
        special=dict(tokenizer.special) | {PAD: tokenizer.pad_id},
        codecs={"tokens": tokenizer},
    )
    return [*columns, target]


def prepare_translations(material: Material) -> list[Prepared]:
    """Returns the columns of images, sources and targets, as far as they are there."""
    return [prepare_image(material), *prepare_pairs(material)]
