"""The codecs of a run folder: what its numbers mean, tokens, labels, pixels, ..."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, cast

from slimjax.data.dataset import Codec
from slimjax.data.domains import DOMAINS_FILE, Domains, load_domains
from slimjax.data.image_table import (
    IMAGE,
    IMAGE_FILE,
    ImageShape,
    load_image_shape,
)
from slimjax.data.labels import LABELS_FILE, Labels, load_labels
from slimjax.data.outline import DOMAIN
from slimjax.data.pairs import OWN_VOCAB, PAD, SOURCE
from slimjax.data.reads import INPUTS_FILE, READS, Reads, load_reads
from slimjax.data.scaling import FEATURES_FILE, Scaling, load_scaling
from slimjax.data.tags import make_labels_or_tags
from slimjax.data.tokenizer import Tokenizer, holds_tokenizer, load_tokenizer
from slimjax.data.values import VALUE, VALUES_FILE, ValueScale, load_values
from slimjax.errors import DataError

Codecs = Mapping[str, Codec]
"""Codecs by the field that they are of: ``tokens``, ``label``, ``features``."""


def load_codecs(folder: str | os.PathLike[str]) -> dict[str, Codec]:
    """Returns the codecs that were saved into `folder`; there is at least one.

    Raises:
        DataError: If there is none, or a damaged one.
    """
    has = lambda name: os.path.exists(os.path.join(folder, name))
    codecs: dict[str, Codec] = {}
    if has(IMAGE_FILE):
        codecs[IMAGE] = load_image_shape(folder)
    if has(FEATURES_FILE):
        codecs["features"] = load_scaling(folder)
    elif IMAGE not in codecs or holds_tokenizer(folder):
        codecs["tokens"] = load_tokenizer(folder)
    if has(SOURCE):
        codecs[SOURCE] = load_tokenizer(os.path.join(folder, SOURCE))
    if has(LABELS_FILE):
        labels = load_labels(folder, make_labels_or_tags)
        codecs[labels.field] = labels
    if has(VALUES_FILE):
        codecs[VALUE] = load_values(folder)
    if has(INPUTS_FILE):
        codecs[READS] = load_reads(folder)
    if has(DOMAINS_FILE):
        codecs[DOMAIN] = load_domains(folder)
    return codecs


def with_normalize(codecs: Codecs, config: Mapping[str, Any]) -> dict[str, Codec]:
    """Returns codecs that say how bytes of images are scaled, if there are images.

    Args:
        codecs: Those of a run folder; older ones do not say it.
        config: The content of its ``config.json``, which always does.
    """
    shape = codecs.get(IMAGE)
    if not isinstance(shape, ImageShape) or shape.normalize is not None:
        return dict(codecs)
    normalize = tuple(config.get("data", {}).get("normalize", ()))
    return {**codecs, IMAGE: dataclasses.replace(shape, normalize=normalize)}


def normalize_of(codecs: Codecs) -> tuple[float, ...]:
    """Returns how bytes of images are scaled; ``()`` without images."""
    shape = codecs.get(IMAGE)
    return (isinstance(shape, ImageShape) and shape.normalize) or ()


def sizes_of(codecs: Codecs) -> dict[str, int]:
    """Returns the sizes that a model takes from its codecs, as a dataset has them."""
    sizes = {}
    for name, codec in codecs.items():
        if isinstance(codec, Labels):
            sizes["labels" if codec.is_many else "classes"] = len(codec)
        elif isinstance(codec, Scaling):
            sizes["features"] = codec.size
        elif isinstance(codec, ImageShape):
            sizes |= codec.sizes
        elif not isinstance(codec, Reads | ValueScale | Domains):
            size = OWN_VOCAB if name == SOURCE else "vocab"
            sizes[size] = _tokenizer(codec).vocab_size
    return sizes


def special_of(codecs: Codecs) -> dict[str, int]:
    """Returns the ids with a meaning of their own; none without tokens."""
    if "tokens" not in codecs:
        return {}
    tokens = _tokenizer(codecs["tokens"])
    source = _tokenizer(codecs.get(SOURCE, tokens))
    return dict(tokens.special) | {PAD: source.pad_id}


def fingerprints(codecs: Codecs) -> dict[str, str]:
    """Returns what numbers mean, as fingerprints to compare.

    Where files have their values is left out: it changes no number.
    """
    return {name: c.fingerprint for name, c in codecs.items() if name != READS}


def check_codecs(codecs: Codecs, known: Mapping[str, str], folder: object) -> None:
    """Refuses codecs with which a model's numbers would mean something else.

    Args:
        codecs: Those of a run folder.
        known: Fingerprints of the codecs that the model was trained with.
        folder: Where they are, for the message.

    Raises:
        DataError: If one of them has changed.
    """
    found = fingerprints(codecs)
    for name, fingerprint in known.items():
        if found.get(name) != fingerprint:
            raise DataError(
                f"{folder}: the file of {name} has changed since the model was "
                "trained, so its answers would be wrong. Restore the folder."
            )


def save_codecs(codecs: Codecs, folder: str | os.PathLike[str]) -> None:
    """Writes codecs into `folder`, which exists; see `load_codecs`.

    A tokenizer of its own of sources stands in a folder of its own.
    """
    for name, codec in codecs.items():
        own = os.path.join(folder, SOURCE) if name == SOURCE else folder
        os.makedirs(own, exist_ok=True)
        codec.save(own)


def _tokenizer(codec: Codec) -> Tokenizer:
    return cast(Tokenizer, codec)
