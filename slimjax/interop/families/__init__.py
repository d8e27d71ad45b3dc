"""Families of pretrained models: their settings and names, in ours and back.

Each file has ``describe`` (from a ``config.json`` to a block ``config.model``),
``links`` (which tensor is which weight), ``PREFIX`` (what names of tensors begin with
where a head stands beside the model), ``TIED`` (tensors that are copies of others;
those of ``UNTIED`` may differ) and ``LEFT_OUT`` (patterns of tensors that are not
kept).
"""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from slimjax.errors import DataError

FAMILIES = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "llama",
    "bert": "bert",
    "distilbert": "bert",
    "roberta": "bert",
    "gpt2": "gpt2",
    "t5": "t5",
}
"""Files of this folder by ``model_type``."""


def family_of(config: Mapping[str, Any]) -> ModuleType:
    """Returns the file of a model's family.

    Raises:
        DataError: If the ``model_type`` is not supported.
    """
    name = config.get("model_type")
    if not isinstance(name, str) or name not in FAMILIES:
        raise DataError(
            f"config.json: model_type={name!r:.80} is not supported. Known: "
            f"{', '.join(FAMILIES)}."
        )
    return importlib.import_module(f"{__name__}.{FAMILIES[name]}")
