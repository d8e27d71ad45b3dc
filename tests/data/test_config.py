"""What a data config refuses, and how it says so."""

import pytest
from jaxtyping import TypeCheckError

from slimjax.config import build
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
        ("source", "text:", "Write text:GLOB."),
        ("encoding", "gbk2", "Did you mean gbk?"),
        ("encoding", "rot_13", "is not an encoding"),
        ("on_duplicate", "groups", "Did you mean group?"),
        ("on_bad_example", "skp", "Did you mean skip?"),
        ("delimiter", ", ", "one character"),
        ("normalize", (0.5, 0.0), "the deviation above 0"),
        ("normalize", (0.5,), "[mean, deviation]"),
        ("test_source", "txt:a", "Did you mean text?"),
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
    assert message.startswith(f"config.data.{key}=")
    assert str(value) in message
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


def test_sources_may_be_a_list_and_only_a_list_of_sources():
    assert DataConfig(("text:a", "jsonl:b#c")).source == ("text:a", "jsonl:b#c")
    with pytest.raises(ConfigError, match="source=b is not a known source"):
        DataConfig(("text:a", "b"))
    with pytest.raises(ConfigError, match="source=bytes:x is not a known source"):
        DataConfig("text:a", valid_source=("text:a", "bytes:x"))


def test_fields_name_the_text_of_records_in_place_of_the_source():
    assert (
        DataConfig("jsonl:a.jsonl", fields={"text": "body"}).reading().field == "body"
    )
    with pytest.raises(ConfigError, match="Write jsonl:GLOB#field"):
        DataConfig("jsonl:a.jsonl").reading()


def test_a_config_file_may_list_sources():
    block = {"source": ["text:a,b.txt", "stdlib"], "normalize": [0, 1]}
    config = build(DataConfig, block, "config.data")
    assert config.source == ("text:a,b.txt", "stdlib")
    assert config.normalize == (0.0, 1.0)
    assert build(DataConfig, {"source": "text:a,b.txt"}, "").source == "text:a,b.txt"
    with pytest.raises(ConfigError, match=r"source\[1\]=3 must be a string"):
        build(DataConfig, {"source": ["stdlib", 3]}, "config.data")
