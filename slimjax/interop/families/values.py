"""Settings of a ``config.json``, each checked as it is read."""

import math
from collections.abc import Mapping
from typing import Any

from slimjax.errors import DataError

MOST = 1 << 24
"""Largest size that is read: of a vocabulary, a width, a number of layers."""

MOST_LAYERS = 4096

ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
    "relu2": "relu2",
    "tanh": "tanh",
}
"""Our names of the activations of other software."""


class Values:
    """The settings of a ``config.json``.

    Attributes:
        config: What the file holds.
    """

    def __init__(self, config: Mapping[str, Any]):
        """Takes what the file holds."""
        self.config = config

    def has(self, name: str) -> bool:
        """Whether a setting is there, and is not null."""
        return self.config.get(name) is not None

    def integer(self, name: str, default: int | None = None, *, least: int = 1) -> int:
        """Returns a size.

        Raises:
            DataError: If it is missing without a default, or is not a size.
        """
        value = self._get(name, default)
        if type(value) is not int or not least <= value <= MOST:
            raise DataError(
                f"config.json: {name}={value!r:.80} must be an integer in "
                f"[{least}, {MOST}]."
            )
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """Returns a number above 0.

        Raises:
            DataError: If it is missing without a default, or is not one.
        """
        value = self._get(name, default)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or value <= 0:
            raise DataError(f"config.json: {name}={value!r:.80} must be above 0.")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """Returns a choice of true or false.

        Raises:
            DataError: If it is something else.
        """
        value = self._get(name, default)
        if not isinstance(value, bool):
            raise DataError(f"config.json: {name}={value!r:.80} must be true or false.")
        return value

    def text(self, name: str, default: str | None = None) -> str:
        """Returns a text.

        Raises:
            DataError: If it is missing without a default, or is not a text.
        """
        value = self._get(name, default)
        if not isinstance(value, str):
            raise DataError(f"config.json: {name}={value!r:.80} must be a text.")
        return value

    def activation(self, name: str, default: str) -> str:
        """Returns our name of an activation.

        Raises:
            DataError: If we have none of this kind.
        """
        value = self.text(name, default)
        if value not in ACTIVATIONS:
            raise DataError(
                f"config.json: {name}={value!r:.80} is not supported. Known: "
                f"{', '.join(ACTIVATIONS)}."
            )
        return ACTIVATIONS[value]

    def refuse(self, name: str, *accepted: Any) -> None:
        """Refuses a setting that would be ignored.

        Args:
            name: The setting.
            *accepted: Values that say nothing, beside null.

        Raises:
            DataError: If it has another value.
        """
        value = self.config.get(name)
        if value is not None and value not in accepted:
            raise DataError(f"config.json: {name}={value!r:.80} is not supported.")

    def layers(self, num_layers: int) -> list[Mapping[str, Any]]:
        """Returns what each layer has of its own, of ``per_layer_config``.

        Raises:
            DataError: If that is no object of objects by numbers of layers.
        """
        own = self.config.get("per_layer_config") or {}
        if isinstance(own, list):
            own = {str(number): entry for number, entry in enumerate(own)}
        known = {str(number) for number in range(num_layers)}
        if not isinstance(own, Mapping) or not {str(key) for key in own} <= known:
            raise DataError(
                "config.json: per_layer_config must have numbers of layers below "
                f"{num_layers}."
            )
        found = {str(key): entry for key, entry in own.items()}
        entries = [found.get(str(number), {}) for number in range(num_layers)]
        if not all(isinstance(entry, Mapping) for entry in entries):
            raise DataError("config.json: per_layer_config must hold objects.")
        return entries

    def _get(self, name: str, default: Any) -> Any:
        value = self.config.get(name)
        if value is None and default is None:
            raise DataError(f"config.json: {name} is missing.")
        return default if value is None else value


def dropout_of(values: Values, name: str) -> float:
    """Returns a rate of dropout that our models can have."""
    value = values.config.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0.0
    return float(value) if 0 <= value < 1 else 0.0
