"""What a data config refuses, and how it says so."""

import pytest
from jaxtyping import TypeCheckError

from slimjax.data import DataConfig
from slimjax.errors import ConfigError


def test_the_defaults_are_valid():
    assert DataConfig().source == "stdlib"


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("tokenizer", "byte", "Did you mean bytes?"),
        ("on_bad_document", "skp", "Did you mean skip?"),
        ("source", "jsnl:a#b", "Did you mean jsonl?"),
        ("source", "books/*.txt", "Write text:books/*.txt."),
        ("source", "jsonl:a.jsonl", "Write jsonl:GLOB#field."),
        ("source", "text:", "Write text:GLOB."),
        ("source", "text:a,text:b", "Name one source"),
        ("source", "", "Write stdlib"),
        ("vocab_size", 100, "256 bytes and 4 specials"),
        ("vocab_size", 10**12, "from 1 to"),
        ("seq_len", 0, "from 1 to"),
        ("batch_size", -1, "from 1 to"),
        ("valid_fraction", 0.5, "below 0.5"),
        ("valid_fraction", -0.1, "below 0.5"),
        ("test_fraction", float("nan"), "below 0.5"),
    ],
)
def test_a_bad_value_is_refused_in_one_line_that_names_it(key, value, hint):
    with pytest.raises(ConfigError) as caught:
        DataConfig(**{key: value})
    message = str(caught.value)
    assert message.startswith(f"config.data.{key}={value}")
    assert hint in message
    assert "\n" not in message


@pytest.mark.parametrize("value", [None, [], "x", True, 1.5, {}])
@pytest.mark.parametrize("key", ["seq_len", "valid_fraction", "tokenizer", "source"])
def test_a_value_of_another_type_is_refused_too(key, value):
    # With run-time type checks on, these speak first.
    with pytest.raises((ConfigError, TypeCheckError), match=key):
        DataConfig(**{key: value})


def test_bytes_needs_no_vocabulary():
    assert DataConfig(tokenizer="bytes", vocab_size=1).tokenizer == "bytes"
