"""A message in the chat template of a pretrained model.

Templates are Jinja. They come with models, so they run in Jinja's own sandbox, which
has no files, no imports and no attributes of Python's objects. They have what
transformers gives them, the day included (``strftime_now``).
"""

import json
from collections.abc import Mapping
from typing import Any

from slimjax.data.json_tokenizer import JsonTokenizer
from slimjax.errors import ConfigError, DataError

FILES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")
MOST = 1 << 20
"""Longest text that a template may make, in characters."""


def write_chat(tokenizer: Any, message: str) -> str:
    """Returns a message of a user, and the beginning of the answer.

    Args:
        tokenizer: The tokenizer of a model, with the files beside it.
        message: What the user says.

    Raises:
        ConfigError: If the model has no chat template, or Jinja is missing.
        DataError: If the template fails.
    """
    template = find_template(tokenizer)
    if not template:
        raise ConfigError(
            "--chat: this model has no chat template. Leave the flag out, or take a "
            "model that was trained on conversations."
        )
    try:
        import jinja2

        from slimjax.generate.chat_environment import make_environment
    except ImportError:
        raise ConfigError(
            "--chat needs the library Jinja2: pip install 'slimjax[interop]'"
        ) from None
    environment = make_environment()
    environment.globals["raise_exception"] = _refuse
    messages = [{"role": "user", "content": message}]
    try:
        made = environment.from_string(template).render(
            messages=messages, add_generation_prompt=True, **_special(tokenizer)
        )
    except (
        jinja2.TemplateError,
        ArithmeticError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"--chat: the chat template fails: {reason}.") from None
    if len(made) > MOST:
        raise DataError(f"--chat: the chat template makes {len(made):,} characters.")
    return made


def find_template(tokenizer: Any) -> str:
    """Returns the chat template among the files of a tokenizer; empty for none."""
    return template_of(tokenizer.files if isinstance(tokenizer, JsonTokenizer) else {})


def template_of(files: Mapping[str, bytes]) -> str:
    """Returns the chat template among the files of a model; empty for none."""
    for name in FILES:
        if name not in files:
            continue
        if name.endswith(".jinja"):
            return files[name].decode("utf-8", "replace")
        found = _object(files[name]).get("chat_template")
        if isinstance(found, list):  # Several, by names.
            named = {t.get("name"): t for t in found if isinstance(t, dict)}
            found = named.get("default", {}).get("template")
        if isinstance(found, str):
            return found
    return ""


def _special(tokenizer: JsonTokenizer) -> dict[str, str]:
    """Returns the spellings of special tokens that a template may use."""
    config = _object(tokenizer.files.get("tokenizer_config.json", b"{}"))
    config = _object(tokenizer.files.get("special_tokens_map.json", b"{}")) | config
    found = {}
    for name in SPECIAL:
        value = config.get(name)
        value = value.get("content") if isinstance(value, dict) else value
        found[name] = value if isinstance(value, str) else ""
    return found


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _refuse(reason: object) -> None:
    raise DataError(f"--chat: the chat template refuses the message: {reason}.")
