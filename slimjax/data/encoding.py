"""From examples to rows: what a column makes of them, and all columns together."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

from slimjax.data.dataset import Codec, Field
from slimjax.errors import DataError
from slimjax.text.examples import Example
from slimjax.text.reading import BadDocument

Counts = dict[str, int]


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Rows of examples.

    Attributes:
        arrays: ``[R *row]`` by the names of fields, as they are stored. What answers
            need of rows, and no batch holds, stands beside them: the character at which
            a window begins, say.
        counts: Totals for the report, such as ``tokens`` and ``cut``.
        examples: The example of each row, ``[R]``, ascending from 0; None where each
            example has one row. A long text may have several, its windows.
        targets: Targets of each row, ``[R]``; None where each has one.
        is_cut: Whether something of an example is in none of its rows, ``[E]``; None
            if nothing is cut.
    """

    arrays: Mapping[str, np.ndarray]
    counts: Counts = dataclasses.field(default_factory=dict)
    examples: Int64[np.ndarray, " R"] | None = None
    targets: Int64[np.ndarray, " R"] | None = None
    is_cut: Bool[np.ndarray, " E"] | None = None


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A column, or several that belong together, ready to be encoded.

    Attributes:
        name: Its name, for the fingerprint.
        fields: Shapes and types of its arrays in a batch.
        encode: From examples to rows.
        fingerprint: Changes with everything that changes what `encode` returns.
        check: What is wrong with an example that cannot be encoded, or None.
        sizes: What the column adds to a dataset's sizes.
        lengths: What it adds to the lengths.
        special: What it adds to the special ids.
        codecs: Turn numbers back into what people read, by field.
        tables: By field, the arrays whose rows the numbers of the field mean.
        numbering: Changes with what the numbers of `tables` mean. It is no part of a
            dataset's fingerprint, since batches hold what is behind the numbers.
        note: What a user should know of it, or "".
    """

    name: str
    fields: Mapping[str, Field]
    encode: Callable[[list[Example]], Encoded]
    fingerprint: Any
    check: Callable[[Example], BadDocument | None] = lambda _: None
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    lengths: Mapping[str, int] = dataclasses.field(default_factory=dict)
    special: Mapping[str, int] = dataclasses.field(default_factory=dict)
    codecs: Mapping[str, Codec] = dataclasses.field(default_factory=dict)
    tables: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    numbering: str = ""
    note: str = ""


def find_problem(columns: Sequence[Prepared], example: Example) -> BadDocument | None:
    """Returns what is wrong with an example for one of the columns, or None."""
    found = (column.check(example) for column in columns)
    return next((bad for bad in found if bad is not None), None)


def find_unencodable(
    columns: Sequence[Prepared], examples: Sequence[Example]
) -> dict[int, BadDocument]:
    """Returns what is wrong with examples that no row can be made of, by number.

    It encodes them one by one, which is slow: only an error is a reason to ask.
    """
    found: dict[int, BadDocument] = {}
    for number, example in enumerate(examples):
        try:
            encode_examples(columns, [example])
        except DataError as error:
            found[number] = example.bad("not_encoded", f"cannot be encoded: {error}")
    return found


def encode_examples(columns: Sequence[Prepared], examples: list[Example]) -> Encoded:
    """Returns the rows of examples in all columns.

    Where one column has several rows for an example, such as windows, the others repeat
    theirs. `examples`, `targets` and `is_cut` of the result are never None.
    """
    parts = [column.encode(examples) for column in columns]
    each = np.arange(len(examples), dtype=np.int64)
    owners = next((p.examples for p in parts if p.examples is not None), each)
    arrays: dict[str, np.ndarray] = {}
    targets, counts = np.ones(len(owners), np.int64), {}
    is_cut = np.zeros(len(examples), bool)
    for part in parts:
        taken = slice(None) if part.examples is not None else owners
        if owners is each:
            taken = slice(None)
        arrays |= {name: array[taken] for name, array in part.arrays.items()}
        counts |= part.counts
        if part.targets is not None:
            targets = part.targets[taken]
        if part.is_cut is not None:
            is_cut |= part.is_cut
    return Encoded(arrays, counts, owners, targets, is_cut)
