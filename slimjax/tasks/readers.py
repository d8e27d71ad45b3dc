"""Examples without targets: which inputs are read, and how they become rows."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np
from jaxtyping import Bool, Int

from slimjax.data.columns import encode_row
from slimjax.data.config import DataConfig
from slimjax.data.dataset import Codec, Field
from slimjax.data.scaling import Scaling
from slimjax.data.tokenizer import Tokenizer
from slimjax.text.examples import Example

Encode = Callable[[Sequence[Example]], "Encoded"]
"""From examples to their rows. Each example has one row or more, in order."""


@dataclasses.dataclass(frozen=True, eq=False)
class Encoded:
    """Rows of some examples.

    Attributes:
        rows: Arrays ``[R *row]``: the fields of a batch, as they are stored, and what
            only answers need, such as the character at which a window begins.
        starts: The rows of example i are ``starts[i]`` to ``starts[i + 1]``, ``[E+1]``.
        is_cut: Whether something of an example is in none of its rows, ``[E]``.
    """

    rows: Mapping[str, np.ndarray]
    starts: Int[np.ndarray, " E1"]
    is_cut: Bool[np.ndarray, " E"]

    @property
    def num_rows(self) -> int:
        """Number of rows, R."""
        return int(self.starts[-1])


@dataclasses.dataclass(frozen=True, eq=False)
class InputReader:
    """How a task reads examples without targets.

    Attributes:
        kinds: Names and kinds of the inputs, such as ``{"text": "text"}``. Targets are
            left out.
        fields: What the arrays of a batch are.
        encode: From examples to rows.
        check: Returns what is wrong with an example's values, or "".
    """

    kinds: Mapping[str, str]
    fields: Mapping[str, Field]
    encode: Encode
    check: Callable[[Example], str] = lambda _: ""


def one_row_each(rows: Mapping[str, np.ndarray], is_cut: np.ndarray) -> Encoded:
    """Returns examples of one row each."""
    return Encoded(rows, np.arange(len(is_cut) + 1), np.asarray(is_cut, bool))


def read_text(
    name: str, config: DataConfig, codecs: Mapping[str, Codec]
) -> InputReader:
    """Returns the reader of one text, whose rows are ``tokens`` ``[T]``."""
    tokenizer, length = cast(Tokenizer, codecs["tokens"]), config.seq_len
    fill = tokenizer.pad_id
    field = Field((length,), "int32", ("positions",), fill=fill)

    def encode(examples: Sequence[Example]) -> Encoded:
        ids = tokenizer.encode_batch([example.values[name] for example in examples])
        rows = np.full((len(ids), length), fill, np.int32)
        for i, each in enumerate(ids):
            rows[i] = encode_row(tokenizer, each, length)
        is_cut = np.array([len(each) + 2 > length for each in ids], bool)
        return one_row_each({"tokens": rows}, is_cut)

    return InputReader({name: "text"}, {"tokens": field}, encode)


def read_features(name: str, codecs: Mapping[str, Codec]) -> InputReader:
    """Returns the reader of a list of numbers, whose rows are ``[F]``."""
    scaling = cast(Scaling, codecs[name])
    scale, shift = scaling.scale, scaling.shift
    field = Field((scaling.size,), "float32", (None,), scale=scale, shift=shift)

    def encode(examples: Sequence[Example]) -> Encoded:
        values = [example.values[name] for example in examples]
        rows = np.array(values, np.float32).reshape(len(values), scaling.size)
        return one_row_each({name: rows}, np.zeros(len(values), bool))

    def check(example: Example) -> str:
        size = len(example.values[name])
        if size == scaling.size:
            return ""
        return f"has {size} numbers; the model reads {scaling.size}."

    return InputReader({name: "features"}, {name: field}, encode, check)
