"""The names of classes, in the order of their numbers; kept as ``labels.json``."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, SupportsIndex

from slimjax.data.stored import load_stored
from slimjax.errors import ConfigError, DataError, suggest
from slimjax.text.files import show

LABELS_FILE = "labels.json"
MAX_NAMED = 10


class Labels:
    """Class names to numbers and back.

    Attributes:
        names: The name of each class.
        counts: How many examples of the train split each class has.
        field: The field of a batch that holds their numbers.
        is_many: Whether an example may have any number of them.
        fingerprint: Equal for equal names in the same order.
    """

    def __init__(
        self,
        names: Iterable[str],
        counts: Iterable[int],
        *,
        field: str = "label",
        is_many: bool = False,
    ):
        """Takes the classes in the order of their numbers."""
        self.names, self.counts = tuple(names), tuple(counts)
        self.field, self.is_many = field, is_many
        self._number_of = {name: i for i, name in enumerate(self.names)}
        self.fingerprint = hashlib.sha256(json.dumps(self.names).encode()).hexdigest()

    def __len__(self) -> int:
        """Returns the number of classes, C."""
        return len(self.names)

    def __contains__(self, name: str) -> bool:
        """Returns whether a class has this name."""
        return name in self._number_of

    def encode(self, name: str) -> int:
        """Returns the number of a class.

        Raises:
            DataError: If there is none of this name.
        """
        if name not in self._number_of:
            raise DataError(f"{show(name)} is not a label. {self.suggest(name)}")
        return self._number_of[name]

    def decode(self, number: SupportsIndex) -> str:
        """Returns the name of a class."""
        return self.names[int(number)]

    def weigh(self, weights: str | Mapping[str, float], where: str) -> list[float]:
        """Returns the weight of each class; the mean of a train example's is 1.

        Args:
            weights: ``balanced``, or weights by name; 1 for those that are missing.
            where: The setting, for messages.

        Raises:
            ConfigError: If there is no class of a name.

        Examples:
            >>> Labels(["a", "b"], [6, 2]).weigh("balanced", "")
            [0.6666666666666666, 2.0]
        """
        if isinstance(weights, str):
            own = [1 / max(count, 1) for count in self.counts]
        else:
            for name in weights:
                if name not in self:
                    hint = self.suggest(name)
                    raise ConfigError(f"{where}: no class is {show(name)}. {hint}")
            own = [float(weights.get(name, 1.0)) for name in self.names]
        total = sum(w * count for w, count in zip(own, self.counts, strict=True))
        return [w * sum(self.counts) / total for w in own]

    def suggest(self, name: str) -> str:
        """Returns a hint that offers the nearest name, or some of them."""
        more = ["..."] if len(self.names) > MAX_NAMED else []
        close = suggest(name, self.names)
        if close.startswith("Did"):
            return show(close)
        return show(suggest("", [*self.names[:MAX_NAMED], *more]))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes ``labels.json`` into `folder`, which exists."""
        with open(os.path.join(folder, LABELS_FILE), "w", encoding="utf-8") as file:
            json.dump(self.content(), file, indent=1)

    def content(self) -> dict[str, Any]:
        """Returns what ``labels.json`` holds."""
        content = {"version": 1, "labels": self.names, "train_counts": self.counts}
        return content | {"field": self.field, "is_many": self.is_many}


def count_labels(
    counts: Mapping[str, int], *, field: str = "label", is_many: bool = False
) -> Labels:
    """Returns the classes of a train split, numbers in numeric order before words.

    Args:
        counts: How many examples each class has.
        field: The field of a batch that holds their numbers.
        is_many: Whether an example may have any number of them.

    Raises:
        DataError: If there are fewer than two, or none where there may be many.

    Examples:
        >>> count_labels({"10": 3, "2": 5, "other": 1}).names
        ('2', '10', 'other')
    """
    if is_many and not counts:
        raise DataError(
            "No example of the train split has a label. Check config.data.fields."
        )
    if len(counts) < 2 and not is_many:
        name, number = next(iter(counts.items()), ("", 0))
        raise DataError(
            f"All {number:,} examples of the train split have the label {show(name)}; "
            "two different ones are the least. Check config.data.fields."
        )
    names = sorted(counts, key=_order)
    own = [counts[name] for name in names]
    return Labels(names, own, field=field, is_many=is_many)


def make_labels(content: Mapping[str, Any]) -> Labels:
    """Returns the labels that `Labels.content` describes.

    Raises:
        ValueError: If it describes none.
    """
    field, is_many = content.get("field", "label"), content.get("is_many", False)
    if type(field) is not str or type(is_many) is not bool:
        raise ValueError("the field or is_many is of another type")
    counts = [int(count) for count in content["train_counts"]]
    return Labels(content["labels"], counts, field=field, is_many=is_many)


def load_labels(
    folder: str | os.PathLike[str],
    make: Callable[[Mapping[str, Any]], Labels] = make_labels,
) -> Labels:
    """Loads what `Labels.save` wrote into `folder`.

    Args:
        folder: Where ``labels.json`` is.
        make: Makes labels of its content.

    Raises:
        DataError: If there is no such file, or a damaged one.
    """

    def make_checked(content: Any) -> Labels:
        names, counts = content["labels"], content["train_counts"]
        if len(set(names)) != len(counts) or not all(type(n) is str for n in names):
            raise ValueError("names and counts do not fit together")
        return make(content)

    return load_stored(folder, LABELS_FILE, make_checked)


def _order(name: str) -> tuple[bool, float, str]:
    try:
        return (False, float(name), name)
    except ValueError:
        return (True, 0.0, name)
