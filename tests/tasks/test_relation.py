"""Relation: both parts are always read, and which is which."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimjax.data.byte_tokenizer import BytesTokenizer
from slimjax.data.config import DataConfig
from slimjax.data.marked_columns import fit_around, mark
from slimjax.errors import DataError
from slimjax.models.head import HeadSettings
from slimjax.tasks import relation

TOKENIZER = BytesTokenizer()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))


def write(path, examples):
    path.write_text("".join(json.dumps(example) + "\n" for example in examples))
    return path


def make_relations(number):
    examples = []
    for i in range(number):
        text = f"{i}: Ada was born in Rome, they say"
        starts = [(text.index(name), len(name)) for name in ("Ada", "Rome")]
        spans = [[start, start + size] for start, size in starts]
        examples.append({"text": text, "spans": spans, "label": "ab"[i % 2]})
    return examples


def load(path, head=None, **changes):
    options = dict(tokenizer="bytes", seq_len=64, valid_fraction=0.2, test_fraction=0.2)
    options |= dict(source=f"jsonl:{path}")
    return relation.load(DataConfig(**options | changes), head=head)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 12))
def test_what_is_marked_is_kept_longest(before, core, after, room):
    sizes = before, core, after
    parts = tuple(np.full(n, i + 1, np.int32) for i, n in enumerate(sizes))
    kept = fit_around(parts, room)
    assert len(kept) == min(room, before + core + after)
    assert (np.diff(kept) >= 0).all()
    assert (kept == 2).sum() == min(core, room)
    if room >= core and 0 < len(kept) < before + core + after:
        left, right = (kept == 1).sum(), (kept == 3).sum()
        assert left == before or right == after or abs(left - right) <= 1


def test_the_two_parts_have_different_marks_in_either_order():
    assert mark("a b c", ((0, 1), (4, 5))) == ("", "@ a @ b # c #", "")
    assert mark("a b c", ((4, 5), (0, 1))) == ("", "# a # b @ c @", "")


@pytest.mark.parametrize("seq_len", [24, 64])
def test_rows_hold_both_parts(tmp_path, seq_len):
    data = load(write(tmp_path / "a.jsonl", make_relations(40)), seq_len=seq_len)
    assert data.sizes["classes"] == 2
    for row in data.splits["train"]["tokens"]:
        text = TOKENIZER.decode(row)
        if seq_len == 64:
            assert "@ Ada @ was born in # Rome #" in text
            assert text.endswith(", they say")
        else:
            assert text.startswith("@ Ada @")
            assert text.endswith("# Rome #")
    assert (sum(data.counts["cut"].values()) == 40) == (seq_len == 24)


def test_two_texts_are_read_as_in_classification(tmp_path):
    pairs = [
        {"text": f"x{i}", "text_pair": "y", "label": ["a", "b"][i % 2]}
        for i in range(40)
    ]
    data = load(write(tmp_path / "a.jsonl", pairs))
    assert (data.splits["train"]["tokens"][0] == TOKENIZER.eos_id).sum() == 2


def test_labels_may_be_many(tmp_path):
    examples = [{**e, "label": [e["label"]]} for e in make_relations(40)]
    data = load(write(tmp_path / "a.jsonl", examples), HeadSettings(multi_label=True))
    assert data.sizes["labels"] == 2
    task = relation.make_task(TOKENIZER.special).fit(HeadSettings(multi_label=True))
    assert (task.name, task.headline.key) == ("relation", "micro_f1")


BAD = {
    r"\[3, 99\], which is outside of its text": [[3, 99], [0, 1]],
    r"\[3, 3\], which is empty": [[3, 3], [0, 1]],
    r"spans that overlap": [[0, 3], [2, 5]],
    r"not \[\[start, end\], \[start, end\]\]": [[0, 3]],
}


@pytest.mark.parametrize(("problem", "spans"), BAD.items(), ids=list(BAD))
def test_spans_that_are_no_two_parts_are_refused(tmp_path, problem, spans):
    examples = make_relations(20)
    examples[2]["spans"] = spans
    path = write(tmp_path / "a.jsonl", examples)
    with pytest.raises(DataError, match=rf"a\.jsonl, line 3 .*{problem}"):
        load(path)
    assert sum(load(path, on_bad_example="skip").counts["skipped"].values()) == 1


def test_an_example_of_one_part_is_refused(tmp_path):
    alone = [{"text": f"x{i}", "label": "ab"[i % 2]} for i in range(20)]
    with pytest.raises(DataError, match="has no spans, no text_pair"):
        load(write(tmp_path / "a.jsonl", alone))
