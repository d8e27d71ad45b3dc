"""Labelled examples: every one in the right split, once, with the right number."""

import csv
import gzip
import json
import random
import subprocess
import sys

import numpy as np
import pytest

from slimjax.data import DataConfig, Field, load_labelled_dataset
from slimjax.data.columns import prepare_label
from slimjax.data.encoding import Encoded, Prepared, encode_examples
from slimjax.data.inputs import (
    check_inputs,
    iterate_inputs,
    make_inputs,
    prepare_inputs,
)
from slimjax.data.labels import count_labels, load_labels
from slimjax.data.reads import READS, load_reads
from slimjax.data.scaling import load_scaling
from slimjax.data.schema import Schema
from slimjax.data.tokenizer import BytesTokenizer
from slimjax.errors import ConfigError, DataError
from slimjax.text.reading import BadDocument

TEXT = {"text": "text", "label": "label"}
FEATURES = {"features": "features", "label": "label"}
SPLITS = ("train", "valid", "test")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make_reviews(number, seed=0):
    """Returns texts of different lengths with the labels 2, 10 and good."""
    source = random.Random(seed)
    words = ["fine", "dull", "漂亮", "été", "long", "film"]
    return [
        (" ".join(source.choices(words, k=1 + i % 9)) + f" {seed}-{i}", label)
        for i, label in zip(range(number), [2, "good", 10] * number, strict=False)
    ]


def write_lines(path, rows, names=("review", "stars")):
    lines = [json.dumps(dict(zip(names, row, strict=True))) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def configure(path, **changes):
    defaults = {
        "source": f"jsonl:{path}",
        "tokenizer": "bytes",
        "seq_len": 99,
        "valid_fraction": 0.2,
        "test_fraction": 0.2,
        "fields": {"text": "review", "label": "stars"},
    }
    return DataConfig(**(defaults | changes))


def load(path, kinds=TEXT, **changes):
    return load_labelled_dataset(configure(path, **changes), kinds)


def read_back(dataset, split):
    """Returns the examples of a split from its arrays."""
    labels, tokenizer = dataset.codecs["label"], dataset.tokenizer
    arrays = dataset.splits[split]
    return [
        (tokenizer.decode(tokens), labels.decode(label))
        for tokens, label in zip(arrays["tokens"], arrays["label"], strict=True)
    ]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv.gz"])
def test_every_example_is_in_one_split_with_its_label(tmp_path, kind):
    rows = make_reviews(120)
    path = tmp_path / f"a.{kind}"
    if kind == "jsonl":
        write_lines(path, rows)
    else:
        opener = gzip.open if kind.endswith("gz") else open
        with opener(path, "wt", encoding="utf-8", newline="") as file:
            delimiter = "," if kind == "csv" else "\t"
            csv.writer(file, delimiter=delimiter).writerows(
                [["review", "stars"], *rows]
            )
    scheme = "jsonl" if kind == "jsonl" else "csv"
    dataset = load(path, source=f"{scheme}:{path}", seq_len=99)
    found = [example for split in SPLITS for example in read_back(dataset, split)]
    assert sorted(found) == sorted((text, str(label)) for text, label in rows)
    assert dataset.codecs["label"].names == ("2", "10", "good")
    assert dataset.sizes == {"vocab": 259, "classes": 3}
    assert dataset.lengths == {"": 99}
    for split in SPLITS:
        assert dataset.num_rows(split) == dataset.counts["examples"][split] > 10
        assert dataset.count("targets", split) == dataset.num_rows(split)
        texts = [text for text, _ in read_back(dataset, split)]
        assert dataset.count("bytes", split) == len("".join(texts).encode())
        assert dataset.counts["bytes"][split] == dataset.count("bytes", split)
    order = [read_back(dataset, "train").index(e) for e in read_back(dataset, "train")]
    assert order == sorted(order)


def test_rows_begin_with_bos_end_with_eos_and_are_cut_and_counted(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", make_reviews(60))
    dataset = load(path, seq_len=20)
    for split in SPLITS:
        for tokens in dataset.splits[split]["tokens"]:
            content = tokens[tokens != dataset.special["pad"]]
            assert content[0] == dataset.special["bos"]
            assert content[-1] == dataset.special["eos"]
            assert len(tokens) == 20
    expected = sum(len(text.encode()) > 18 for text, _ in make_reviews(60))
    assert sum(dataset.counts["cut"].values()) == expected > 0
    (note,) = dataset.notes
    assert note.startswith("Longer than config.data.seq_len=20 tokens, and cut: ")
    assert f"{dataset.counts['cut']['train']} of " in note


def test_batches_have_both_fields_and_fill_up_without_a_label(tmp_path):
    dataset = load(write_lines(tmp_path / "a.jsonl", make_reviews(90)))
    batch = dataset.batch("train", 3, 4, seed=0)
    assert {name: (a.shape, a.dtype) for name, a in batch.items()} == {
        "tokens": ((4, 99), np.int32),
        "label": ((4,), np.int32),
    }
    assert list(batch) == ["tokens", "label"]
    chosen = dataset.evaluation_rows("valid", 5, seed=0)
    last = list(dataset.evaluation_batches("valid", chosen, 4))[-1]
    np.testing.assert_array_equal(last["label"][1:], -1)
    assert last["label"][0] >= 0
    np.testing.assert_array_equal(last["tokens"][1:], dataset.special["pad"])


def test_a_text_is_in_one_split_however_often_it_comes(tmp_path):
    rows = make_reviews(40) * 5
    dataset = load(write_lines(tmp_path / "a.jsonl", rows))
    splits = [set(read_back(dataset, split)) for split in SPLITS]
    assert not any(splits[i] & splits[j] for i, j in ((0, 1), (0, 2), (1, 2)))
    assert sum(dataset.counts["examples"].values()) == 200
    kept = load(tmp_path / "a.jsonl", on_duplicate="keep")
    assert set(read_back(kept, "train")) & set(read_back(kept, "valid"))
    assert sum(kept.counts["examples"].values()) == 200


def test_duplicates_and_contradictions_are_dropped_on_request(tmp_path):
    rows = make_reviews(60)
    rows += [*rows[:7], (rows[0][0], "good"), (rows[1][0], 2)]
    dataset = load(write_lines(tmp_path / "a.jsonl", rows), on_duplicate="drop")
    found = [example for split in SPLITS for example in read_back(dataset, split)]
    expected = [(text, str(label)) for text, label in rows[2:60]]
    assert sorted(found) == sorted(expected)
    assert dataset.counts["duplicates"] == 11
    notes = " ".join(dataset.notes)
    assert "on_duplicate=drop left out 11 examples, 6 of them contradictory" in notes


def test_splits_may_have_their_own_sources_whose_texts_leave_train(tmp_path):
    rows, others = make_reviews(60), make_reviews(20, seed=1)
    write_lines(tmp_path / "train.jsonl", rows + others[:4] + others[10:11] * 2)
    write_lines(tmp_path / "valid.jsonl", others[:10])
    write_lines(tmp_path / "test.jsonl", [*others[10:], others[10]])
    changes = {f"{split}_source": f"jsonl:{tmp_path}/{split}.jsonl" for split in SPLITS}
    source = changes.pop("train_source")
    dataset = load("", source=source, **changes)
    strings = lambda rows: [(text, str(label)) for text, label in rows]
    assert read_back(dataset, "train") == strings(rows)
    assert read_back(dataset, "valid") == strings(others[:10])
    assert read_back(dataset, "test") == strings([*others[10:], others[10]])
    assert dataset.counts["copies_left_out"] == 6
    assert "6 copies of valid or test examples." in " ".join(dataset.notes)
    kept = load("", source=source, on_duplicate="keep", **changes)
    assert kept.num_rows("train") == 66
    half = load("", source=source, valid_source=changes["valid_source"])
    assert read_back(half, "valid") == strings(others[:10])
    assert 0 < half.num_rows("test") < 30


def test_a_tokenizer_is_trained_on_the_train_split(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", make_reviews(300))
    dataset = load(path, tokenizer="sentencepiece", vocab_size=300)
    assert dataset.sizes["vocab"] == dataset.tokenizer.vocab_size == 300
    assert read_back(dataset, "valid")
    words = [t for t, _ in read_back(dataset, "train")]
    lengths = [len(dataset.tokenizer.encode(text)) for text in words]
    assert sum(lengths) < 0.7 * sum(len(text.encode()) for text in words)


def test_the_second_time_is_the_same_and_changes_change_the_fingerprint(
    tmp_path, cache
):
    path = write_lines(tmp_path / "a.jsonl", make_reviews(90))
    first = load(path)
    written = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    again = load(path.rename(tmp_path / "b.jsonl"))
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == written
    assert first.fingerprint == again.fingerprint
    assert first.counts == again.counts
    for split in SPLITS:
        for name, array in first.splits[split].items():
            np.testing.assert_array_equal(array, again.splits[split][name])
    path = tmp_path / "b.jsonl"
    assert load(path, seq_len=47).fingerprint != first.fingerprint
    assert load(path, valid_fraction=0.3).fingerprint != first.fingerprint
    path = write_lines(path, [*make_reviews(89), ("x", 2)])
    assert load(path).fingerprint != first.fingerprint


def test_more_examples_take_the_codecs_of_those_before(tmp_path):
    dataset = load(write_lines(tmp_path / "a.jsonl", make_reviews(60)))
    dataset.codecs["label"].save(tmp_path)
    labels = load_labels(tmp_path)
    assert labels.names == dataset.codecs["label"].names
    assert labels.counts == dataset.codecs["label"].counts
    assert sum(labels.counts) == dataset.num_rows("train")
    path = write_lines(tmp_path / "b.jsonl", [("one", 10), ("two", 10)])
    codecs = {"tokens": BytesTokenizer(), "label": labels}
    more = load_labelled_dataset(configure(path), TEXT, codecs=codecs, all_valid=True)
    assert read_back(more, "valid") == [("one", "10"), ("two", "10")]
    assert more.num_rows("train") == more.num_rows("test") == 0
    write_lines(path, [("one", "god")])
    with pytest.raises(DataError, match="Did you mean good"):
        load_labelled_dataset(configure(path), TEXT, codecs=codecs, all_valid=True)


def write_idx(folder, part, images, labels, suffix=".gz"):
    for name, magic, array in (("images", 0x803, images), ("labels", 0x801, labels)):
        header = [magic, *array.shape]
        data = np.array(header, ">i4").tobytes() + array.tobytes()
        path = folder / f"{part}-{name}-idx{array.ndim}-ubyte{suffix}"
        path.write_bytes(gzip.compress(data) if suffix else data)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_images_of_idx_files_are_read_and_normalized(tmp_path, suffix):
    source = np.random.default_rng(0)
    images = source.integers(0, 256, (50, 3, 4)).astype(np.uint8)
    labels = (np.arange(50) % 3).astype(np.uint8)
    write_idx(tmp_path, "train", images[:40], labels[:40], suffix)
    write_idx(tmp_path, "t10k", images[40:], labels[40:], suffix)
    dataset = load(
        "", FEATURES, source=f"idx:{tmp_path}", fields={}, normalize=(0.5, 0.25)
    )
    assert dataset.num_rows("test") == 10
    assert dataset.num_rows("train") + dataset.num_rows("valid") == 40
    assert dataset.sizes == {"features": 12, "classes": 3}
    batch = dataset.rows("test", np.arange(10))
    expected = (images[40:].reshape(10, 12) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(batch["features"], expected, atol=1e-6)
    assert batch["features"].dtype == np.float32
    np.testing.assert_array_equal(batch["label"], labels[40:])
    assert dataset.lengths == {}
    assert dataset.splits["train"]["features"].dtype == np.uint8


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda data: data[:-1], "its header says"),
        (lambda data: b"\0\0\x08\x01" + data[4:], "begins with 0x801, not 0x803"),
        (lambda data: data[:9], "ends within its header"),
        (lambda _: b"", "not an IDX file"),
    ],
)
def test_a_damaged_idx_file_is_an_error_that_names_it(tmp_path, damage, match):
    images, labels = np.zeros((4, 2, 2), np.uint8), np.arange(4, dtype=np.uint8)
    write_idx(tmp_path, "train", images, labels, "")
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=match) as caught:
        load("", FEATURES, source=f"idx:{tmp_path}", fields={})
    assert str(path) in str(caught.value)
    with pytest.raises(DataError, match="holds no train-images"):
        load("", FEATURES, source=f"idx:{tmp_path.parent}", fields={})


def test_columns_of_a_table_without_a_header_are_numbers_and_ranges(tmp_path):
    source = np.random.default_rng(0)
    pixels = source.integers(0, 256, (60, 6))
    rows = [[*row, i % 2] for i, row in enumerate(pixels)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(",".join(map(str, row)) for row in rows))
    changes = {
        "source": f"csv:{path}",
        "header": False,
        "fields": {"features": "0:6", "label": 6},
    }
    raw = load("", FEATURES, **changes)
    scaled = load("", FEATURES, normalize=(0.5, 0.5), **changes)
    other = load("", FEATURES, normalize=(100.0, 50.0), **changes)
    assert raw.sizes == {"features": 6, "classes": 2}
    x = raw.rows("train", np.arange(9))["features"]
    assert any((x[0] == row).all() for row in pixels)
    y = scaled.rows("train", np.arange(9))["features"]
    np.testing.assert_allclose(y, (x / 255 - 0.5) / 0.5, atol=1e-6)
    z = other.rows("train", np.arange(9))["features"]
    np.testing.assert_allclose(z, (x - 100) / 50, atol=1e-6)
    assert "divided by 255" in " ".join(scaled.notes)
    assert not raw.notes
    assert not other.notes
    scaled.codecs["features"].save(tmp_path)
    assert load_scaling(tmp_path) == scaled.codecs["features"]


def test_numbers_may_be_lists_or_named_columns(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [f'{{"v": [0.5, {i}], "label": "{i % 2}"}}' for i in range(30)]
    path.write_text("\n".join(lines))
    dataset = load(path, FEATURES, fields={"features": "v"})
    assert dataset.sizes["features"] == 2
    path = tmp_path / "b.csv"
    path.write_text("a,b,label\n" + "\n".join(f"{i},0.25,{i % 2}" for i in range(30)))
    fields = {"features": ["b", "a"]}
    dataset = load("", FEATURES, source=f"csv:{path}", fields=fields)
    features = dataset.rows("train", np.arange(9))["features"]
    np.testing.assert_array_equal(features[:, 0], 0.25)
    assert len(set(features[:, 1])) == 9


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ('{"reviw": "a", "stars": 1}', r"has no field review\. Did you mean reviw\?"),
        ('{"review": 5, "stars": 1}', "field review is int, not text"),
        ('{"review": " ", "stars": 1}', "field review is empty"),
        ('{"review": "a", "stars": null}', "field stars is null, not a label"),
        ('{"review": "a", "stars": NaN}', "field stars is nan, not a label"),
        ('{"review": "a", "stars": "nan"}', "field stars is nan, not a label"),
        ('{"review": "a", "stars": ""}', "field stars is empty, not a label"),
        ('{"review": "a", "stars": [1]}', "field stars is a list, not a label"),
        ('{"review": "a", ', "is not JSON"),
    ],
)
def test_a_bad_example_is_an_error_with_its_line_or_is_skipped(tmp_path, line, match):
    path = write_lines(tmp_path / "a.jsonl", make_reviews(60))
    path.write_text(path.read_text("utf-8") + "\n" + line, encoding="utf-8")
    with pytest.raises(DataError, match=match) as caught:
        load(path)
    message = str(caught.value)
    assert f"{path}, line 61 " in message
    assert "config.data.on_bad_example=skip" in message
    assert "\n" not in message
    dataset = load(path, on_bad_example="skip")
    assert sum(dataset.counts["examples"].values()) == 60
    assert sum(dataset.counts["skipped"].values()) == 1
    assert "on_bad_example=skip left out 1 examples" in " ".join(dataset.notes)
    assert str(path) in " ".join(dataset.notes)


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ("1,x,0", "field 1 is x, not a number"),
        ("1,nan,0", "field 1 is nan, not a number"),
        ("1,inf,0", "field 1 is inf, not a number"),
        ("1,,0", "field 1 is '', not a number"),
        ("1,1e99,0", "field 1 is 1e99, not a number"),
        ("1,2", "has 2 columns"),
    ],
)
def test_a_bad_number_is_an_error_with_its_line(tmp_path, row, match):
    path = tmp_path / "a.csv"
    path.write_text("\n".join(f"{i},{i},{i % 2}" for i in range(30)) + f"\n{row}")
    fields = {"features": "0:2", "label": 2}
    with pytest.raises(DataError, match=match) as caught:
        load("", FEATURES, source=f"csv:{path}", header=False, fields=fields)
    assert f"{path}, line 31 " in str(caught.value)


def test_a_label_that_train_lacks_is_an_error_that_names_it(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", make_reviews(60))
    write_lines(tmp_path / "b.jsonl", [("a", "good"), ("b", "goof")])
    source = f"jsonl:{tmp_path}/b.jsonl"
    with pytest.raises(DataError, match="has the label goof") as c:
        load(path, valid_source=source)
    assert f"{tmp_path}/b.jsonl, line 2" in str(c.value)
    assert "Did you mean good?" in str(c.value)
    dataset = load(path, valid_source=source, on_bad_example="skip")
    assert read_back(dataset, "valid") == [("a", "good")]


def test_a_first_line_that_is_an_example_is_refused_even_if_bad_ones_are_skipped(
    tmp_path,
):
    path = tmp_path / "a.csv"
    path.write_text("\n".join(f"text {i},{'ab'[i % 2]}" for i in range(60)))
    for choice in ("error", "skip"):
        with pytest.raises(
            DataError, match=r"set config\.data\.header=False"
        ) as caught:
            load("", source=f"csv:{path}", fields={}, on_bad_example=choice)
        assert "line 3 has a in the column" in str(caught.value)
        assert "on_bad_example" not in str(caught.value)


def test_one_class_is_too_few(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", [(f"{i}", "x") for i in range(30)])
    with pytest.raises(DataError, match="have the label x; two different ones"):
        load(path)
    with pytest.raises(DataError, match="All 3 examples"):
        count_labels({"a": 3})


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"fields": {"txt": "review"}}, r"reads no txt\. Did you mean text\?"),
        ({"fields": {"text": ["a", "b"]}}, "text is one field, not 2"),
        ({"fields": {"text": 1.5}}, "must be a name"),
        ({"fields": {"text": "0:3", "label": 3}}, "text is one field, not 3"),
        ({"header": False}, r"without a header, columns are numbers"),
        ({"source": "stdlib"}, "stdlib holds no labels"),
        ({"source": "text:a.txt"}, "text holds no labels"),
        ({"source": "idx:."}, "holds images and labels; this task reads text, label"),
        ({"source": ("idx:.", "jsonl:a#b")}, "other kinds"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, match):
    with pytest.raises(ConfigError, match=match) as caught:
        load("a.jsonl", **changes)
    assert "\n" not in str(caught.value)


def test_an_empty_file_and_an_array_are_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("")
    with pytest.raises(DataError, match="the file is empty"):
        load(path)
    with pytest.raises(DataError, match="holds no example"):
        load(path, on_bad_example="skip")
    path.write_text('[\n{"review": "a", "stars": 1},\n')
    with pytest.raises(DataError, match="one object per line, no"):
        load(path)
    path.write_bytes(b'\xef\xbb\xbf{"review": "a", "stars": 1}\n' * 1)
    with pytest.raises(DataError, match="1 different documents for 3 splits"):
        load(path)


def test_the_room_needs_no_jax_and_names_no_task(tmp_path):
    code = (
        "import sys; from slimjax.data.labelled import load_labelled_dataset;"
        "print('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"False"
    assert tmp_path.is_dir()


PAIR = {"text": "text", "text_pair": "text?", "label": "label"}


def prepare_pair(material):
    """Returns one column that joins two texts, with two rows for each example."""
    tokenizer = material.tokenizer("text", "text_pair")

    def encode(examples):
        rows = np.zeros((2 * len(examples), 4), np.uint16)
        for i, example in enumerate(examples):
            for j, name in enumerate(("text", "text_pair")):
                ids = tokenizer.encode(example.values.get(name, ""))[:4]
                rows[2 * i + j, : len(ids)] = ids
        owners = np.arange(2 * len(examples)) // 2
        return Encoded({"tokens": rows}, examples=owners, targets=owners * 0 + 3)

    fields = {"tokens": Field((4,), "int32", ("positions",))}
    column = Prepared("tokens", fields, encode, 0, codecs={"tokens": tokenizer})
    if "label" not in material.kinds:
        return [column]
    return [column, prepare_label("label", material.labels("label"))]


def test_a_task_prepares_its_columns_and_an_example_may_have_several_rows(tmp_path):
    rows = [(f"{i}", "ab" * (i % 2), f"l{i % 3}") for i in range(30)]
    names = ("text", "text_pair", "label")
    path = write_lines(tmp_path / "a.jsonl", rows[1::2], names)
    schema = Schema(PAIR, prepare_pair)
    dataset = load_labelled_dataset(configure(path, fields={}), schema)
    examples = dataset.read_examples()
    for split in SPLITS:
        owners = dataset.row_counts[split]["example"]
        assert dataset.num_rows(split) == 2 * len(examples[split]) == len(owners) > 0
        labels = [
            dataset.codecs["label"].decode(i) for i in dataset.splits[split]["label"]
        ]
        assert labels == [examples[split][i].values["label"] for i in owners]
        assert dataset.count("targets", split) == 3 * len(owners)
        sizes = [len(e.values["text"] + e.values["text_pair"]) for e in examples[split]]
        assert dataset.count("bytes", split) == sum(sizes)
    assert dataset.codecs[READS].names == ("text_pair",)


def test_examples_that_have_changed_are_not_taken_for_those_of_the_rows(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", make_reviews(60))
    dataset = load(path)
    assert sum(map(len, dataset.read_examples().values())) > 50
    write_lines(path, make_reviews(61))
    with pytest.raises(DataError, match="has changed since its rows were made"):
        dataset.read_examples()


def test_optional_values_are_in_all_examples_or_in_none(tmp_path):
    rows = [{"text": f"{i}", "label": i % 2} for i in range(30)]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, [*rows, rows[0] | {"text_pair": "x"}])))
    with pytest.raises(DataError, match="line 31 has a field text_pair; the examples"):
        load(path, PAIR, fields={})
    dataset = load(path, PAIR, fields={}, on_bad_example="skip")
    assert dataset.codecs[READS].names == ()
    assert sum(dataset.counts["examples"].values()) == 30
    dataset.codecs[READS].save(tmp_path)
    assert load_reads(tmp_path) == dataset.codecs[READS]
    codecs = dict(dataset.codecs)
    config = configure(path, fields={})
    more = load_labelled_dataset(config, PAIR, codecs=codecs, all_valid=True)
    assert more.num_rows("valid") == 31
    with pytest.raises(DataError, match="line 1 has no field text_pair"):
        load(path, PAIR, fields={"text_pair": "text_pair"})


def test_inputs_of_a_finished_model_are_encoded_without_targets(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", make_reviews(60))
    dataset, config = load(path), configure(path)
    columns = prepare_inputs(config, Schema(TEXT), dataset.codecs)
    rows = dataset.read_examples()["train"][:5]
    items = [{"review": example.values["text"]} for example in rows]
    found = list(make_inputs(config, Schema(TEXT), dataset.codecs, [*items, {}]))
    assert isinstance(found.pop(), BadDocument)
    encoded = encode_examples(columns, found)
    assert list(encoded.arrays) == ["tokens"]
    np.testing.assert_array_equal(
        encoded.arrays["tokens"], dataset.splits["train"]["tokens"][:5]
    )


def test_inputs_of_another_size_are_bad_in_their_place(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [f'{{"features": [0.5, {i}], "label": "{i % 2}"}}' for i in range(30)]
    path.write_text("\n".join(lines))
    dataset, config = load(path, FEATURES, fields={}), configure(path, fields={})
    columns = prepare_inputs(config, Schema(FEATURES), dataset.codecs)
    path.write_text('{"features": [1, 2, 3]}\n{"features": [1, 0.5]}')
    source = f"jsonl:{path}"
    found = iterate_inputs(config, Schema(FEATURES), dataset.codecs, source)
    bad, good = check_inputs(columns, found)
    assert bad.message == f"{path}, line 1 has 3 numbers; the first example has 2."
    np.testing.assert_array_equal(
        encode_examples(columns, [good]).arrays["features"], [[1, 0.5]]
    )


def test_a_list_of_sources_is_read_in_turn(tmp_path):
    rows = make_reviews(60)
    write_lines(tmp_path / "a.jsonl", rows[:25])
    with (tmp_path / "b.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["stars", "review"]])
        csv.writer(file).writerows([[label, text] for text, label in rows[25:]])
    sources = [f"jsonl:{tmp_path}/a.jsonl", f"csv:{tmp_path}/b.csv"]
    dataset = load("", source=sources)
    found = [example for split in SPLITS for example in read_back(dataset, split)]
    assert sorted(found) == sorted((text, str(label)) for text, label in rows)
    joined = load("", source=",".join(sources))
    assert joined.fingerprint == dataset.fingerprint


def test_a_named_field_is_read_in_training_in_validation_and_in_prediction(tmp_path):
    schema = Schema({"text": "text", "text_pair": "text?", "label": "label"})
    for name in ("p", "v"):
        rows = [f"{name}{i},pair {i},{'ab'[i % 2]}" for i in range(8)]
        table = tmp_path / f"{name}.csv"
        table.write_text("review,text_pair,label\n" + "\n".join(rows))
    own, other = (f"csv:{tmp_path}/{name}.csv#review" for name in ("p", "v"))
    options = dict(tokenizer="bytes", seq_len=32, test_fraction=0.0)
    config = DataConfig(own, valid_source=other, **options)
    data = load_labelled_dataset(config, schema)
    assert [e.values["text"] for e in data.read_examples()["valid"]][:2] == ["v0", "v1"]
    found = list(iterate_inputs(config, schema, data.codecs, other))
    assert [example.values["text"] for example in found[:2]] == ["v0", "v1"]
