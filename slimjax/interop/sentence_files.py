"""Files of sentence-transformers: how the vectors of tokens become one of a text."""

import json
from typing import Any

from slimjax.data.special_tokens import SENTENCES, sentence_settings
from slimjax.errors import DataError
from slimjax.interop.foreign import Foreign

POOLING, MODULES = "1_Pooling/config.json", "modules.json"
POOLS = {"mean_tokens": "mean", "cls_token": "first", "max_tokens": "max"}
KNOWN = ("Transformer", "Pooling", "Normalize")
"""Kinds of modules; vectors are always brought to length 1."""

PACKAGE, PATHS = "sentence_transformers.models", ("", "1_Pooling", "2_Normalize")
"""Where sentence-transformers has these modules, and their folders."""


def read_pool(foreign: Foreign) -> str:
    """Returns how vectors are pooled: mean, first or max; the mean without a file.

    Raises:
        DataError: If it is another way, or something else follows.
    """
    for name in _module_kinds(foreign):
        if name not in KNOWN:
            raise DataError(
                f"{MODULES}: a module of the kind {name!r:.80} is not supported. "
                f"Known: {', '.join(KNOWN)}."
            )
    config = foreign.json(POOLING)
    given = [key for key, on in config.items() if key.startswith("pooling_mode") and on]
    if not given:
        return "mean"
    names = {f"pooling_mode_{end}": pool for end, pool in POOLS.items()}
    kinds = {names.get(key, str(config[key])) for key in given}
    kinds = {"first" if kind == "cls" else kind for kind in kinds}
    if len(kinds) != 1 or not kinds <= set(POOLS.values()):
        raise DataError(
            f"{POOLING}: {', '.join(sorted(given))} is not supported. Known: "
            f"{', '.join(names)}, one of them."
        )
    return kinds.pop()


def note_case(foreign: Foreign) -> tuple[str, ...]:
    """Returns a note if texts should be lower case and the tokenizer leaves them."""
    normalizer = foreign.json("tokenizer.json").get("normalizer")
    is_lower = "lowercase" in json.dumps(normalizer or {}).lower()
    if isinstance(normalizer, dict) and normalizer.get("lowercase") is False:
        is_lower = False
    if is_lower or sentence_settings(foreign.files).get("do_lower_case") is not True:
        return ()
    return (f"{SENTENCES} has do_lower_case: give texts in lower case.",)


def pool_files(pool: str, width: int) -> dict[str, bytes]:
    """Returns the files by name that say how vectors are pooled.

    Args:
        pool: mean, first or max.
        width: Numbers of a vector.
    """
    modes: dict[str, Any] = {
        f"pooling_mode_{end}": known == pool for end, known in POOLS.items()
    }
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"{PACKAGE}.{kind}"}
        for i, (path, kind) in enumerate(zip(PATHS, KNOWN, strict=True))
    ]
    contents = {POOLING: {"word_embedding_dimension": width} | modes, MODULES: modules}
    return {name: json.dumps(own, indent=2).encode() for name, own in contents.items()}


def _module_kinds(foreign: Foreign) -> list[str]:
    if MODULES not in foreign.files:
        return []
    try:
        modules: Any = json.loads(foreign.files[MODULES])
        return [str(module["type"]).rpartition(".")[2] for module in modules]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise DataError(f"{MODULES} is damaged: it lists no modules.") from None
