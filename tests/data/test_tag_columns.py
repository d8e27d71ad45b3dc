"""Tagged texts: every word is a target once, whatever the windows."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimjax.data.byte_tokenizer import BytesTokenizer
from slimjax.data.config import DataConfig
from slimjax.data.entity_words import tag_entities
from slimjax.data.labels import load_labels
from slimjax.data.tag_columns import TAGS, WORDS, tags_of
from slimjax.data.tags import Tags, count_tags, find_orphan, make_labels_or_tags, to_bio
from slimjax.data.word_pieces import cut_windows, encode_words
from slimjax.errors import ConfigError, DataError
from slimjax.metrics.entities import entities_of
from slimjax.tasks import tagging
from slimjax.text.words import join_tokens, split_text

TYPES = ("LOC", "PER")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=40), st.integers(5, 12))
def test_windows_answer_every_word_once_and_fit(sizes, room):
    windows = cut_windows(sizes, room)
    answered = [i for w in windows for i in range(w.first, w.last)]
    assert answered == list(range(len(sizes)))
    for window in windows:
        assert sum(sizes[window.start : window.end]) <= room
        assert window.start <= window.first <= window.last <= window.end
    for one, other in itertools.pairwise(windows):
        assert one.start < other.start <= one.end < other.end


def test_a_word_between_windows_has_text_on_both_sides():
    one, other = cut_windows([1] * 20, 12)[:2]
    assert one.end - other.start == 3
    assert one.end - one.last >= 1
    assert other.first - other.start >= 1


def test_words_are_letters_digits_or_any_other_character():
    words = split_text("  L'été 2024!? 北京is हिन्दी_x")
    spelled = [word.strip() for word in words.texts]
    expected = ["L", "'", "été", "2024", "!", "?", "北", "京", "is", "हिन्दी", "_", "x"]
    assert spelled == expected
    text = "  L'été 2024!? 北京is हिन्दी_x"
    assert [text[start:end] for start, end in words.spans] == expected
    assert [i for i, word in enumerate(words.texts) if word[0] == " "] == [0, 3, 6, 9]


def test_a_word_without_pieces_still_has_one():
    class Deaf(BytesTokenizer):
        def encode_batch(self, texts, **_):
            return [
                ids[:0] if text == "x" else ids
                for text, ids in zip(texts, super().encode_batch(texts), strict=True)
            ]

    rows = encode_words(Deaf(), [["x", "yz"]])
    assert [len(ids) for ids in rows[0]] == [1, 2]


@given(st.lists(st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]), max_size=9))
def test_tags_come_back_in_both_schemes(tags):
    bio = to_bio(tags)
    assert find_orphan(bio) is None
    known = Tags(TYPES, [1] * 5)
    classes = [known.encode(tag) for tag in bio]
    assert known.write(classes) == bio
    assert known.entities(classes) == entities_of(tags)
    longer = Tags(TYPES, [1] * 5, "BIOES").write(classes)
    assert find_orphan(longer) is None
    assert to_bio(longer) == bio
    raw = [known.encode(tag) for tag in tags]
    assert known.write(raw) == bio  # What a model says may go on with nothing.


def test_classes_of_tags_are_kept(tmp_path):
    tags = count_tags([["S-PER", "O", "B-LOC", "E-LOC"], ["O"]])
    assert tags.names == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert (tags.counts, tags.scheme) == ((2, 1, 1, 1, 0), "BIOES")
    tags.save(tmp_path)
    found = load_labels(tmp_path, make_labels_or_tags)
    assert isinstance(found, Tags)
    assert (found.names, found.scheme, found.field) == (tags.names, "BIOES", "tags")


def test_entities_have_all_words_that_they_touch():
    words = split_text("Ada Lovelace of London")
    tags = tag_entities(words, [(0, 7, "PER"), (16, 22, "LOC")])
    assert tags == ["B-PER", "I-PER", "O", "B-LOC"]


SENTENCES = [
    (["Ada", "saw", "New", "York", "."], ["B-PER", "O", "B-LOC", "I-LOC", "O"]),
    (["It", "rains", "in", "Paris"], ["O", "O", "O", "B-LOC"]),
]


def write(path, examples):
    path.write_text("".join(json.dumps(example) + "\n" for example in examples))
    return path


def make_tagged(number):
    return [
        {"tokens": [str(i), *SENTENCES[i % 2][0]], "tags": ["O", *SENTENCES[i % 2][1]]}
        for i in range(number)
    ]


def make_texts(number):
    return [
        {"text": f"{i} Ada saw New York", "entities": [[s, s + 3, "PER"]]}
        for i in range(number)
        for s in [len(str(i)) + 1]
    ]


def load(path, **changes):
    options = dict(tokenizer="bytes", seq_len=16, valid_fraction=0.2, test_fraction=0.2)
    return tagging.load(DataConfig(source=f"jsonl:{path}", **options | changes))


@pytest.mark.parametrize("seq_len", [9, 16, 64])
def test_each_word_is_a_target_in_one_row_at_its_first_piece(tmp_path, seq_len):
    data = load(write(tmp_path / "a.jsonl", make_tagged(30)), seq_len=seq_len)
    tags = data.codecs[TAGS]
    for split in data.splits:
        examples, arrays = data.read_examples()[split], data.splits[split]
        owners = np.asarray(data.row_counts[split]["example"])
        for i, example in enumerate(examples):
            rows = np.flatnonzero(owners == i)
            found = {}
            for row in rows:
                at = np.flatnonzero(arrays[TAGS][row] >= 0)
                for place in at:
                    word = int(arrays[WORDS][row][place])
                    assert word not in found
                    found[word] = tags.names[arrays[TAGS][row][place]]
                    spelled = data.tokenizer.decode(arrays["tokens"][row][place:])
                    own = join_tokens(example.values["tokens"]).texts[word]
                    assert spelled.startswith(own[: seq_len - 2])
            expected = list(example.values["tags"])
            assert [found[k] for k in range(len(found))] == expected
        assert data.count("targets", split) == sum(
            len(example.values["tags"]) for example in examples
        )
    assert sum(data.counts["cut"].values()) == 0 or seq_len == 9
    assert (seq_len == 64) == (len(owners) == len(examples))


def test_texts_with_entities_are_read_too(tmp_path):
    data = load(write(tmp_path / "a.jsonl", make_texts(30)), seq_len=64)
    assert data.codecs[TAGS].types == ("PER",)
    classes = np.asarray(data.splits["train"][TAGS])
    assert ((classes == 1).sum(axis=1) == 1).all()


BAD = {
    r"has 3 tokens and 2 tags": {"tokens": ["a", "b", "c"], "tags": ["O", "O"]},
    r"tags\[1\] is I-LOC, which goes on with nothing": {
        "tokens": ["a", "b"],
        "tags": ["B-PER", "I-LOC"],
    },
    r"tags\[0\] is PER, not O": {"tokens": ["a"], "tags": ["PER"]},
    r"tokens\[1\] is 3, not a text": {"tokens": ["a", 3], "tags": ["O", "O"]},
    r"has a field text; the examples before": {
        "tokens": ["a"],
        "text": "a",
        "tags": ["O"],
    },
    r"field tokens is empty": {"tokens": [], "tags": []},
}
BAD_TEXTS = {
    r"outside of its text of 3 characters": {
        "text": "abc",
        "entities": [[1, 4, "PER"]],
    },
    r"two entities in the word foobar: .*0, 3, 'A'.* and .*3, 6, 'B'": {
        "text": "foobar",
        "entities": [[0, 3, "A"], [3, 6, "B"]],
    },
    r"two entities in the word Berlinwahl": {
        "text": "In Berlinwahl heute",
        "entities": [[3, 9, "PER"], [9, 13, "PER"]],
    },
    r"entity .*3, 5, 'PER'.*, which has no word": {
        "text": "abc  d",
        "entities": [[3, 5, "PER"]],
    },
    r"which is empty": {"text": "abc", "entities": [[2, 2, "PER"]]},
    r"overlap: .*0, 2.* and .*1, 3": {
        "text": "abc",
        "entities": [[1, 3, "PER"], [0, 2, "PER"]],
    },
    r"not \[start, end, type\]": {"text": "abc", "entities": [[0, 1]]},
    r"entities\[0\] is .*-1": {"text": "abc", "entities": [[-1, 1, "PER"]]},
}


@pytest.mark.parametrize(
    ("problem", "example", "make"),
    [(p, e, make_tagged) for p, e in BAD.items()]
    + [(p, e, make_texts) for p, e in BAD_TEXTS.items()],
    ids=[*BAD, *BAD_TEXTS],
)
def test_what_does_not_fit_together_is_refused_or_counted(
    tmp_path, problem, example, make
):
    examples = make(20)
    examples.insert(3, example)
    path = write(tmp_path / "a.jsonl", examples)
    with pytest.raises(DataError, match=rf"a\.jsonl, line 4 .*{problem}") as caught:
        load(path)
    assert "\n" not in str(caught.value)
    skipped = load(path, on_bad_example="skip")
    assert sum(skipped.counts["skipped"].values()) == 1


def test_examples_with_both_kinds_of_values_need_a_choice(tmp_path):
    both = [{**example, "text": "x"} for example in make_tagged(20)]
    path = write(tmp_path / "a.jsonl", both)
    with pytest.raises(
        DataError, match=r"has the fields tags, text, tokens; .*fields="
    ):
        load(path)
    chosen = load(path, fields={"tokens": "tokens"})
    assert chosen.counts["examples"]["train"] > 10


def test_a_tag_that_goes_on_with_nothing_is_repaired_on_request(tmp_path):
    examples = make_tagged(20)
    examples[3]["tags"][1] = "I-PER"
    path = write(tmp_path / "a.jsonl", examples)
    with pytest.raises(DataError, match="on_bad_example=repair"):
        load(path)
    data = load(path, on_bad_example="repair", seq_len=64)
    assert sum(data.counts["examples"].values()) == 20
    every = np.concatenate([data.splits[split][TAGS] for split in data.splits])
    assert (every != data.codecs[TAGS].encode("I-PER")).all()


def test_a_type_that_train_lacks_is_refused(tmp_path):
    path = write(tmp_path / "a.jsonl", make_tagged(20))
    other = write(tmp_path / "b.jsonl", [{"tokens": ["x"], "tags": ["B-ORGS"]}])
    with pytest.raises(DataError, match=r"b\.jsonl, line 1 has an entity .*ORGS"):
        load(path, test_source=f"jsonl:{other}")


def test_examples_without_tags_are_nothing_to_learn_from(tmp_path):
    examples = [{"tokens": ["a", str(i)]} for i in range(20)]
    with pytest.raises(DataError, match="has no field tags"):
        load(write(tmp_path / "a.jsonl", examples))
    outside = [{"tokens": [str(i)], "tags": ["O"]} for i in range(20)]
    with pytest.raises(DataError, match="No token of the train split is in an entity"):
        load(write(tmp_path / "b.jsonl", outside))


def test_rows_without_room_for_a_word_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no room for a word"):
        load(write(tmp_path / "a.jsonl", make_tagged(20)), seq_len=2)


@pytest.mark.parametrize("ends", ["words", "spaces", "inclusive"])
def test_entities_are_compared_as_words(tmp_path, ends):
    moved = {"words": 0, "spaces": 1, "inclusive": -1}[ends]
    text, whole = "Ada Lovelace met {} .", ((0, 12, "PER"), (17, 24, "PER"))
    given = [[start, end + moved, kind] for start, end, kind in whole]
    names = [f"Babba{one}{other}" for one in "gkln" for other in "eo"]
    rows = [{"text": text.format(name), "entities": given} for name in names]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = tagging.load(
        DataConfig(
            source=f"jsonl:{path}",
            tokenizer="bytes",
            seq_len=64,
            valid_fraction=0.3,
            test_fraction=0.0,
        )
    )
    examples = data.read_examples()["valid"]
    assert examples
    right = [{"prediction": tags_of(e), "entities": list(whole)} for e in examples]
    columns = tagging.score(right, examples)
    assert float(tagging.METRICS[0].of(columns)) == 1
    types = tagging.count_types(right, examples, 0)
    assert "PER" in json.dumps(types)
    assert all(example.values["entities"] == whole for example in examples)
    notes = [note for note in data.notes if "entities" in note and "words" in note]
    assert len(notes) == (ends != "words")
    assert all("16 entities" in note for note in notes)
