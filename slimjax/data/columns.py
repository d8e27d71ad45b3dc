"""How labels and numbers of an example become arrays of a batch."""

import numpy as np

from slimjax.data.dataset import Field
from slimjax.data.encoding import Encoded, Prepared
from slimjax.data.labels import Labels
from slimjax.data.scaling import Scaling, fits_bytes
from slimjax.data.values import ValueScale
from slimjax.text.examples import Example
from slimjax.text.reading import BadDocument

NO_LABEL = -1
"""Number of the class of rows that only fill up a batch."""


def prepare_label(name: str, labels: Labels) -> Prepared:
    """Returns the column of a label, whose array is an int32 number of a class."""

    def encode(examples: list[Example]) -> Encoded:
        numbers = [labels.encode(example.values[name]) for example in examples]
        return Encoded({name: np.array(numbers, np.int32)})

    return Prepared(
        name,
        {name: Field((), "int32", (), fill=NO_LABEL)},
        encode,
        labels.fingerprint,
        sizes={"classes": len(labels)},
        codecs={name: labels},
    )


def prepare_labels(name: str, labels: Labels) -> Prepared:
    """Returns the column of lists of labels, whose array is float32 ``[C]``, 0 or 1."""

    def encode(examples: list[Example]) -> Encoded:
        rows = np.zeros((len(examples), len(labels)), np.int8)
        for row, example in zip(rows, examples, strict=True):
            row[[labels.encode(label) for label in example.values[name]]] = 1
        return Encoded({name: rows})

    return Prepared(
        name,
        {name: Field((len(labels),), "float32", (None,), fill=NO_LABEL)},
        encode,
        ["labels", labels.fingerprint],
        sizes={"labels": len(labels)},
        codecs={name: labels},
    )


def prepare_value(name: str, scale: ValueScale) -> Prepared:
    """Returns the columns of a value: a float32 number, and mean and deviation of all.

    The number is the distance from the mean of the training values, in their unit: it
    is taken in float64, so that large values that are close to each other differ. The
    second array, ``[2]``, is the same for all rows: the mean of these distances, 0, and
    their deviation.
    """
    unit = unit_name(name)

    def encode(examples: list[Example]) -> Encoded:
        values = np.array([example.values[name] for example in examples], np.float64)
        units = np.tile(np.array([0.0, scale.deviation], np.float32), (len(values), 1))
        return Encoded({name: (values - scale.mean).astype(np.float32), unit: units})

    fields = {
        name: Field((), "float32", (), fill=float("nan")),
        unit: Field((2,), "float32", (None,), fill=1.0),
    }
    known = ["distances", scale.fingerprint]
    return Prepared(name, fields, encode, known, codecs={name: scale})


def unit_name(name: str) -> str:
    """Returns the name of the array of mean and deviation of a value."""
    return f"{name}_unit"


def prepare_features(
    name: str, examples: list[Example], scaling: Scaling, note: str = ""
) -> Prepared:
    """Returns the column of numbers, whose array is float32 ``[F]``.

    Whole numbers from 0 to 255 are stored as bytes.

    Args:
        name: The task's name of the numbers.
        examples: All examples that are there already; numbers of those to come are
            stored as float32 if there are none.
        scaling: How many numbers each must have, and how they are scaled.
        note: What a user should know of the scaling, or "".
    """
    are_bytes = bool(examples) and all(fits_bytes(e.values[name]) for e in examples)
    stored = np.uint8 if are_bytes else np.float32

    def check(example: Example) -> BadDocument | None:
        if (size := len(example.values[name])) == scaling.size:
            return None
        problem = f"has {size} numbers; the first example has {scaling.size}."
        return example.bad("wrong_columns", problem)

    def encode(examples: list[Example]) -> Encoded:
        rows = [example.values[name] for example in examples]
        return Encoded({name: np.array(rows, stored).reshape(len(rows), scaling.size)})

    shape, (scale, shift) = (scaling.size,), (scaling.scale, scaling.shift)
    return Prepared(
        name,
        {name: Field(shape, "float32", (None,), scale=scale, shift=shift)},
        encode,
        [are_bytes, scaling.fingerprint],
        check=check,
        sizes={"features": scaling.size},
        codecs={name: scaling},
        note=note,
    )
