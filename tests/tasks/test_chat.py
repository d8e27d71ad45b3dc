"""Chat: messages are read, the last one is learned, in one row or in two."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.data.config import DataConfig
from slimjax.errors import ConfigError, DataError
from slimjax.tasks import chat

SPECIAL = {"pad": 0, "bos": 1, "eos": 2, "source_pad": 0}


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))


def say(role, content):
    return {"role": role, "content": content}


def write_chats(path, chats):
    lines = [json.dumps({"messages": messages}) for messages in chats]
    path.write_text("".join(f"{line}\n" for line in lines))
    return f"jsonl:{path}"


def make_data(tmp_path, **options):
    chats = [
        [
            *(say("user", f"q{i}"), say("assistant", "old"), say("user", "again?")),
            say("assistant", f"answer {i}"),
        ]
        for i in range(40)
    ]
    source = write_chats(tmp_path / "chats.jsonl", chats)
    options = dict(tokenizer="bytes", seq_len=48, target_len=12) | options
    return chat.load(DataConfig(source=source, batch_size=4, **options))


def test_the_past_is_read_and_the_answer_is_learned(tmp_path):
    data = make_data(tmp_path)
    batch = data.batch("train", 0, 4, 0)
    for source, target in zip(batch["source"], batch["tokens"], strict=True):
        past, answer = data.tokenizer.decode(source), data.tokenizer.decode(target)
        number = answer.removeprefix("answer ")
        assert past == f"user: q{number}\nassistant: old\nuser: again?"


def test_a_long_past_loses_its_beginning(tmp_path):
    data = make_data(tmp_path, seq_len=16)
    past = data.tokenizer.decode(data.batch("train", 0, 1, 0)["source"][0])
    assert past == "d\nuser: again?"[-14:]
    assert data.counts["cut"]["train"] == data.counts["examples"]["train"]


def test_in_one_row_only_the_answer_counts(tmp_path):
    data = make_data(tmp_path, one_row=True)
    assert data.lengths == {"": 60}
    task = chat.make_task(data.special)
    batch = {k: jnp.asarray(x) for k, x in data.batch("train", 0, 4, 0).items()}
    tokens = np.asarray(task.inputs(batch, None)["tokens"])
    target = task.targets(batch, None)["tokens"]
    for row in range(4):
        text = data.tokenizer.decode(tokens[row])
        assert text.count("again?answer") == 1
        weight = np.asarray(target.weight)[row] > 0
        learned = np.asarray(target.values)[row][weight]
        assert data.tokenizer.decode(learned) == text[text.index("answer") :]
        assert learned[-1] == data.tokenizer.eos_id
        places = np.flatnonzero(weight)  # Each is predicted from the one before it.
        np.testing.assert_array_equal(tokens[row][places + 1], learned)
    prompts = {"prompt": batch["prompt"]}
    np.testing.assert_array_equal(task.inputs(prompts, None)["tokens"], batch["prompt"])


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([say("user", "a")], "ends with a message of user"),
        ([say("assistant", "a")], "nothing before it"),
        ([say("user", "a"), {"role": "assistant"}], r"messages\[1\]"),
        ("hi", "not a list of messages"),
    ],
)
def test_bad_conversations_are_refused_in_one_line(tmp_path, messages, words):
    source = write_chats(tmp_path / "bad.jsonl", [messages])
    with pytest.raises(DataError, match=rf"line 1.*{words}"):
        chat.load(DataConfig(source, "bytes", valid_fraction=0.0, test_fraction=0.0))


def test_two_tokenizers_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="source_vocab_size"):
        make_data(tmp_path, tokenizer="sentencepiece", source_vocab_size=300)


@pytest.mark.parametrize("on_duplicate", ["group", "drop"])
def test_a_question_is_in_one_split_whatever_its_answers(tmp_path, on_duplicate):
    chats = [
        [say("user", f"q{i}"), say("assistant", f"a{0 if i < 20 else j}")]
        for i in range(100)
        for j in range(6)
    ]
    options = dict(tokenizer="bytes", seq_len=16, on_duplicate=on_duplicate)
    source = write_chats(tmp_path / "chats.jsonl", chats)
    options |= dict(valid_fraction=0.2, test_fraction=0.2, batch_size=2)
    data = chat.load(DataConfig(source=source, **options))
    assert data.read_examples is not None
    found = [
        {example.values["messages"][0] for example in examples}
        for examples in data.read_examples().values()
    ]
    assert not any(found[i] & found[j] for i, j in ((0, 1), (0, 2), (1, 2)))
    dropped = on_duplicate == "drop"
    assert sum(map(len, found)) == (20 if dropped else 100)
    assert data.counts["contradictions"] == 80
    assert data.counts["duplicates"] == (580 if dropped else 0)
