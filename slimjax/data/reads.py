"""Which of the optional values a model was trained on; kept as ``inputs.json``."""

import dataclasses
import json
import os
from typing import Any

from slimjax.data.cache import hash_json
from slimjax.data.stored import load_stored

READS = "inputs"
"""Name of this codec among those of a dataset."""
INPUTS_FILE = "inputs.json"


@dataclasses.dataclass(frozen=True)
class Reads:
    """Names of optional values that every example must have, such as ``text_pair``."""

    names: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """Equal for equal names."""
        return hash_json(self.names)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes ``inputs.json`` into `folder`, which exists."""
        with open(os.path.join(folder, INPUTS_FILE), "w", encoding="utf-8") as file:
            json.dump({"version": 1, "optional": self.names}, file, indent=1)


def load_reads(folder: str | os.PathLike[str]) -> Reads:
    """Loads what `Reads.save` wrote into `folder`.

    Raises:
        DataError: If there is no such file, or a damaged one.
    """

    def make(content: Any) -> Reads:
        names = content["optional"]
        if not isinstance(names, list) or not all(type(n) is str for n in names):
            raise ValueError("it lists no names")
        return Reads(tuple(names))

    return load_stored(folder, INPUTS_FILE, make)
