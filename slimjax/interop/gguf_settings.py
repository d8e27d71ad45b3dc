"""Settings of a GGUF file: which each architecture has, and of which kind.

A setting that is not known here may change what a model computes, so it is refused by
name, and so is one whose name is a slip of the pen away from one that is missing.
"""

from typing import Any

import numpy as np

from slimjax.interop.gguf_header import Header

ARCHITECTURES = ("llama", "qwen2", "deci", "gpt2", "bert")

_COUNT, _COUNTS, _REAL, _TEXT, _FLAG = "count", "counts", "real", "text", "flag"
_SHARED = {
    "block_count": _COUNT,
    "context_length": _COUNT,
    "embedding_length": _COUNT,
    "feed_forward_length": _COUNTS,
    "attention.head_count": _COUNTS,
}
_OPTIONAL = {
    "attention.head_count_kv": _COUNTS,
    "attention.key_length": _COUNT,
    "attention.value_length": _COUNT,
    "vocab_size": _COUNT,
    "attention.sliding_window": _COUNT,
    "attention.causal": _FLAG,
    "pooling_type": _COUNT,
    "tensor_data_layout": _TEXT,
    "use_parallel_residual": _FLAG,
    "expert_count": _COUNT,
    "expert_used_count": _COUNT,
}
_ROPE = {
    "rope.freq_base": _REAL,
    "rope.dimension_count": _COUNT,
    "rope.scaling.type": _TEXT,
    "rope.scaling.factor": _REAL,
    "rope.scaling.original_context_length": _COUNT,
    "rope.scaling.finetuned": _FLAG,
    "rope.scaling.attn_factor": _REAL,
    "rope.scale_linear": _REAL,
}
_RMS = {"attention.layer_norm_rms_epsilon": _REAL}
_LAYER_NORM = {"attention.layer_norm_epsilon": _REAL}
_NORMS = {"llama": _RMS, "qwen2": _RMS, "deci": _RMS}
OFF = {
    "expert_count": 0,
    "expert_used_count": 0,
    "use_parallel_residual": False,
    "rope.scaling.attn_factor": 1.0,
}
"""Settings that are taken with this value alone."""

_TOKENIZER = (
    *("model", "pre", "tokens", "token_type", "token_type_count", "scores", "merges"),
    *("bos_token_id", "eos_token_id", "eot_token_id", "eom_token_id"),
    *("unknown_token_id", "seperator_token_id", "padding_token_id", "cls_token_id"),
    *("mask_token_id", "add_bos_token", "add_eos_token", "add_sep_token"),
    *("add_space_prefix", "remove_extra_whitespaces", "normalizer.lowercase"),
    *("normalizer.strip_accents", "precompiled_charsmap", "suppress_tokens"),
)
_GENERAL = (
    *("general.architecture", "general.alignment", "general.file_type"),
    *("general.type", "split.count", "tokenizer.chat_template"),
    *(f"tokenizer.ggml.{name}" for name in _TOKENIZER),
)


def own_settings(header: Header) -> tuple[str, dict[str, Any]]:
    """Returns the architecture, and its settings without the architecture's name.

    Raises:
        DataError: If the architecture is not one of `ARCHITECTURES`, or a setting is
            missing, unknown, or of another kind.
    """
    kind = header.settings.get("general.type", "model")
    if kind != "model":
        raise header.refuse(f"it holds no whole model, but general.type={kind!r:.40}.")
    name = header.settings.get("general.architecture")
    if name not in ARCHITECTURES:
        raise header.refuse(
            f"general.architecture={name!r:.40} is not supported. "
            f"Known: {', '.join(ARCHITECTURES)}."
        )
    needed = _SHARED | _NORMS.get(name, _LAYER_NORM)
    known = needed | _OPTIONAL | (_ROPE if name in _NORMS else {})
    _check_names(header, [f"{name}.{key}" for key in known])
    own: dict[str, Any] = {}
    for key, value in header.settings.items():
        if key.startswith(f"{name}."):
            rest = key.removeprefix(f"{name}.")
            own[rest] = _checked(header, key, value, known.get(rest, ""))
    missing = [f"{name}.{key}" for key in needed if key not in own]
    if missing:
        raise header.refuse(f"the setting {missing[0]} is missing.")
    for key, value in OFF.items():
        if own.get(key, value) != value:
            raise header.refuse(f"{name}.{key}={own[key]!r:.40} is not supported.")
    return name, own


def _check_names(header: Header, own: list[str]) -> None:
    """Refuses a name that only a slip keeps from being one that is missing."""
    missing = [key for key in (*_GENERAL, *own) if key not in header.settings]
    for key in header.settings.keys() - {*_GENERAL, *own}:
        for other in missing:
            if len(key) == len(other) and _distance(key, other) <= 2:
                raise header.refuse(
                    f"the setting {key!r:.80} is unknown; it looks like {other}."
                )


def _distance(one: str, other: str) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def _checked(header: Header, key: str, value: Any, kind: str) -> Any:
    """Returns a setting as plain data."""
    if not kind:
        raise header.refuse(f"the setting {key!r:.80} is not supported.")
    if isinstance(value, np.ndarray) and kind == _COUNTS:
        counts = [_checked(header, key, v, _COUNT) for v in value.tolist()]
        if len(counts) != header.settings.get(f"{key.split('.')[0]}.block_count"):
            raise header.refuse(f"{key} does not have one number for each layer.")
        return counts
    types = {_REAL: float, _TEXT: str, _FLAG: bool}.get(kind, int)
    if type(value) is not types or (types is int and not 0 <= value < 1 << 31):
        raise header.refuse(f"the setting {key}={value!r:.40} is not a {kind}.")
    return shortest(float(value)) if types is float else value


def shortest(value: float) -> float:
    """Returns the shortest decimal number that is the same in 32 bits.

    Examples:
        >>> shortest(9.999999747378752e-06)
        1e-05
    """
    return float(str(np.float32(value)))


def check_special(header: Header, key: str, size: int) -> int | None:
    """Returns the id that a setting names, if there is one.

    Args:
        header: The header of the file.
        key: The setting, such as ``tokenizer.ggml.bos_token_id``.
        size: Number of ids.

    Raises:
        DataError: If it is not an id.
    """
    value = header.settings.get(key)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < size:
        raise header.refuse(f"{key}={value!r:.40} is not an id below {size}.")
    return value
