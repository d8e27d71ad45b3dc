"""The tokenizer of a pretrained model: its own file, and which ids have a meaning.

Rows are filled up by an id that no text has. That is the pad of the file, unless it has
none, or the end of text or unknown words stand for it; then it is an id that the table
has a row for, and that no text encodes to.
"""

import itertools
import json
from typing import Any

from slimjax.data.json_tokenizer import JSON_FILE, JsonTokenizer
from slimjax.data.special_tokens import find_special
from slimjax.data.tokens import ADDS_BOS, SEPARATORS
from slimjax.errors import ConfigError, DataError
from slimjax.interop.foreign import Foreign

NEVER = (0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0xFA, 0xF9, 0xF8, 0xC0, 0xC1)
"""Bytes that UTF-8 never has."""

ROLES = {"bos": "bos_token_id", "eos": "eos_token_id", "pad": "pad_token_id"}
"""Settings of ``config.json`` that name ids."""


def make_tokenizer(foreign: Foreign, vocab_size: int) -> JsonTokenizer:
    """Returns the tokenizer of a foreign model, with an id for each row of its table.

    Raises:
        ConfigError: If the tokenizers library is not installed.
        DataError: If it is damaged, has more ids than the table, or no id to fill up
            rows with.
    """
    data = foreign.files[JSON_FILE]
    content = foreign.json(JSON_FILE)
    if not isinstance(content.get("model"), dict):
        raise DataError(f"{JSON_FILE} does not hold a tokenizer.")
    try:
        vocab, adds_bos, between = _probe(data)
        special = _special(foreign, vocab, vocab_size, content)
        if not _adds_bos(foreign, adds_bos):
            special[ADDS_BOS] = 0
        if len(between) > 1 and {*between} == {special["eos"]}:
            special[SEPARATORS] = len(between)
        files = {n: c for n, c in foreign.files.items() if n != JSON_FILE}
        files["config.json"] = json.dumps(foreign.config, indent=2).encode()
        options: dict[str, Any] = dict(vocab_size=vocab_size, data=data, files=files)
        return JsonTokenizer(content, dict(special), **options)
    except DataError as error:
        raise DataError(f"{JSON_FILE}: {error}") from None


def _probe(data: bytes) -> tuple[dict[str, int], bool, list[int]]:
    """Returns what a file does by itself: ids by entry, and what it puts around texts.

    That is whether a token stands before a text, and the ids between two texts.
    """
    try:
        import tokenizers
    except ImportError:
        raise ConfigError(
            "slimjax import needs the tokenizers library: pip install "
            "'slimjax[interop]'"
        ) from None
    try:
        tokenizer = tokenizers.Tokenizer.from_buffer(data)
        vocab = tokenizer.get_vocab(with_added_tokens=True)
        with_ends = tokenizer.encode("a").ids
        plain = tokenizer.encode("a", add_special_tokens=False).ids
        pair = tokenizer.encode("a", "a")
    except Exception as error:  # The library raises no other kind.
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"the tokenizers library refuses it: {reason}.") from None
    of_text = pair.sequence_ids
    behind = itertools.dropwhile(lambda i: of_text[i] != 0, range(len(of_text)))
    behind = itertools.dropwhile(lambda i: of_text[i] == 0, behind)
    between = itertools.takewhile(lambda i: of_text[i] is None, behind)
    return vocab, with_ends[:1] != plain[:1], [pair.ids[i] for i in between]


def _adds_bos(foreign: Foreign, probed: bool) -> bool:
    given = foreign.json("tokenizer_config.json").get("add_bos_token")
    return given if isinstance(given, bool) else probed


def _special(
    foreign: Foreign, vocab: dict[str, int], vocab_size: int, content: dict[str, Any]
) -> dict[str, int]:
    """Returns the ids with a meaning; pad, bos and eos are among them."""
    names = foreign.json("special_tokens_map.json")
    names = names | foreign.json("tokenizer_config.json")
    found = {name: i for name, i in find_special(names, vocab).items() if i is not None}
    for role, setting in ROLES.items():
        given = foreign.config.get(setting)
        given = given[0] if isinstance(given, list) and given else given
        if role not in found and type(given) is int and 0 <= given < vocab_size:
            found[role] = given
    start = foreign.config.get("decoder_start_token_id")
    if type(start) is int and 0 <= start < vocab_size:
        found["bos"] = start
    if "bos" not in found and "eos" not in found:
        raise DataError("no token begins or ends a text: name them in config.json.")
    found.setdefault("eos", found.get("bos", 0))
    found.setdefault("bos", found["eos"])
    if foreign.config.get("model_type") == "t5":
        return found
    if found.get("pad") in (None, found["eos"], found["bos"], found.get("unk")):
        found["pad"] = _free_id(foreign, vocab, vocab_size, content, found)
    return found


def _free_id(
    foreign: Foreign,
    vocab: dict[str, int],
    vocab_size: int,
    content: dict[str, Any],
    found: dict[str, int],
) -> int:
    """Returns an id that no text has, with a row in the table.

    That of unknown words is none of them: a text that has such a word would lose it.

    Raises:
        DataError: If there is no such id.
    """
    used = {i for name, i in found.items() if name != "pad"}
    used |= _unknown_ids(content["model"], vocab)
    free = sorted(set(range(max(vocab.values(), default=-1) + 1, vocab_size)))
    if free:
        return free[-1]
    template = foreign.files.get("chat_template.jinja", b"").decode("utf-8", "ignore")
    template += str(foreign.json("tokenizer_config.json").get("chat_template", ""))
    added = content.get("added_tokens") or []
    for token in reversed([t for t in added if isinstance(t, dict)]):
        number, name = token.get("id"), str(token.get("content"))
        if token.get("special") and number not in used and name not in template:
            return int(str(number))
    for name in _never_written():
        if name in vocab and vocab[name] not in used:
            return vocab[name]
    raise DataError(
        "no id is left to fill up rows with. Name a pad_token in tokenizer_config.json."
    )


def _unknown_ids(model: dict[str, Any], vocab: dict[str, int]) -> set[int]:
    """Returns the ids that stand for unknown words."""
    named, number = model.get("unk_token"), model.get("unk_id")
    found = {vocab[named]} if isinstance(named, str) and named in vocab else set()
    return found | ({number} if type(number) is int else set())


def _never_written() -> list[str]:
    """Returns entries of vocabularies for bytes that no text has."""
    from slimjax.data.piece_bytes import byte_alphabet

    sign = {byte: name for name, byte in byte_alphabet().items()}
    return [f"<0x{b:02X}>" for b in NEVER] + [sign[b] for b in NEVER]
