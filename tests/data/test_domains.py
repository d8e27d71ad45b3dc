"""Domains: how often their rows are drawn, and how examples name theirs."""

import json
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import draw, write_idx

from slimjax.data import DataConfig, load_labelled_dataset
from slimjax.data.codecs import load_codecs
from slimjax.data.domains import DOMAINS_FILE, Domains, load_domains
from slimjax.data.mixture import Mixture, find_shares
from slimjax.errors import ConfigError, DataError

KINDS = {"text": "text", "label": "label"}
WEIGHTS = st.lists(st.integers(1, 30), min_size=2, max_size=4)


def make(counts, weights):
    ends = np.cumsum([0, *counts])
    rows = tuple(np.arange(a, a + n) for a, n in zip(ends, counts, strict=False))
    shares = find_shares({str(i): weight for i, weight in enumerate(weights)})
    return Mixture(rows, tuple(shares.values()))


@given(st.data(), WEIGHTS, st.integers(1, 9), st.integers(0, 3))
def test_each_domain_gives_its_share_and_each_of_its_rows_as_often(
    data, weights, batch_size, seed
):
    size = len(weights)
    counts = data.draw(st.lists(st.integers(1, 20), min_size=size, max_size=size))
    mixture, total = make(counts, weights), sum(counts)
    num_steps = 5 * total // batch_size + 1
    rows = np.concatenate(
        [mixture.choose(step, batch_size, seed) for step in range(num_steps)]
    )
    assert len(rows) == num_steps * batch_size
    times = Counter(rows.tolist())
    for own, weight in zip(mixture.rows, weights, strict=True):
        each = [times[row] for row in own.tolist()]
        assert max(each) - min(each) <= 1
        share = weight / sum(weights)
        assert abs(sum(each) - share * len(rows)) <= total * share + size


def test_weights_that_are_the_numbers_of_rows_make_plain_epochs():
    mixture = make([5, 3, 9], [5, 3, 9])
    epochs = [mixture.choose(step, 17, seed=1) for step in range(3)]
    for rows in epochs:
        assert sorted(rows.tolist()) == list(range(17))
    assert epochs[0].tolist() != epochs[1].tolist()


def test_a_step_has_the_same_rows_however_it_is_reached():
    steps = (0, 7, 2**31 + 3, 2**40)
    mixture = make([50, 31, 7], [1, 2, 3])
    some = [mixture.choose(step, 4, 5) for step in steps]
    for step, rows in zip(reversed(steps), reversed(some), strict=True):
        again = make([50, 31, 7], [1, 2, 3]).choose(step, 4, 5)
        np.testing.assert_array_equal(rows, again)
    assert mixture.choose(7, 4, 5).tolist() != mixture.choose(7, 4, 6).tolist()


def test_a_temperature_evens_out_shares():
    shares = find_shares({"a": 9, "b": 1}, 2)
    assert shares == {"a": Fraction(3, 4), "b": Fraction(1, 4)}
    even = find_shares({"a": 900, "b": 1}, 1e9)
    assert float(even["b"]) == pytest.approx(0.5, abs=1e-6)
    assert find_shares({"a": 2, "b": 0, "c": 0.5})["b"] == 0
    sharp = find_shares({"a": 900, "b": 1}, 0.001)
    assert sharp == {"a": 1, "b": 0}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Returns a folder of films, fewer goods, and examples that name a domain."""
    folder = tmp_path_factory.mktemp("domains")

    def write(name, rows):
        (folder / name).write_text("\n".join(map(json.dumps, rows)))

    row = lambda i, what: {"text": f"{what} {i}", "label": "ab"[i % 2]}
    write("movie.jsonl", [row(i, "film") for i in range(60)])
    write("shop.jsonl", [{**row(i, "goods"), "domain": "no"} for i in range(20)])
    places = ["movie", "shop", "phone", "", None]
    named = [{**row(i, "new"), "domain": d} for i, d in enumerate(places)]
    write("test.jsonl", [*named, row(9, "new")])
    (folder / "empty.jsonl").write_text("")
    return folder


def load(files, **data):
    sources = {n: f"jsonl:{files}/{n}.jsonl" for n in ("shop", "movie")}
    options = dict(domains=sources, test_source=f"jsonl:{files}/test.jsonl")
    config = DataConfig(tokenizer="bytes", seq_len=16, **(options | data))
    return load_labelled_dataset(config, KINDS)


def test_examples_have_the_domain_of_their_source_or_the_one_they_name(files):
    data = load(files)
    assert data.codecs["domain"] == Domains(("movie", "shop"))
    examples = data.read_examples()["train"]
    numbers = data.splits["train"]["domain"]
    assert len(examples) == len(numbers)
    for example, number in zip(examples, numbers.tolist(), strict=True):
        assert example.values["text"].startswith(("film", "goods")[number])
    assert data.splits["test"]["domain"].tolist() == [0, 1, -1, -1, -1, -1]
    assert "test movie 1, shop 1, none 4" in " ".join(data.notes)
    assert data.mixture is None
    assert data.rows("test", np.arange(6))["domain"].dtype == np.int32


def test_training_draws_rows_in_the_shares_that_are_asked_for(files):
    data = load(files, domain_weights={"movie": 1, "shop": 3})
    size = 4 * data.num_rows("train")
    numbers = data.training_batch(0, size, seed=3)["domain"]
    assert abs(np.mean(numbers == 1) - 0.75) < 0.02
    alone = load(files, domain_weights={"movie": 0, "shop": 1})
    assert set(alone.batch("train", 5, 64, 0)["domain"].tolist()) == {1}
    # Evaluation reads what is there.
    assert set(alone.rows("train", np.arange(60))["domain"].tolist()) == {0, 1}


def test_names_are_those_of_the_model_in_their_order(files, tmp_path):
    known = {**load(files).codecs, "domain": Domains(("shop", "movie", "phone"))}
    sources = {"movie": f"jsonl:{files}/movie.jsonl"}
    config = DataConfig(domains=sources, tokenizer="bytes", seq_len=16)
    data = load_labelled_dataset(config, KINDS, codecs=known)
    assert set(data.splits["train"]["domain"].tolist()) == {1}
    for codec in data.codecs.values():
        codec.save(tmp_path)
    assert load_codecs(tmp_path)["domain"] == known["domain"]
    config = DataConfig(source=f"jsonl:{files}/test.jsonl", tokenizer="bytes")
    other = load_labelled_dataset(config, KINDS, codecs=known, all_valid=True)
    assert other.splits["valid"]["domain"].tolist() == [1, 0, 2, -1, -1, -1]
    config = DataConfig(domains={"film": sources["movie"]}, tokenizer="bytes")
    with pytest.raises(ConfigError, match="model has no domain film"):
        load_labelled_dataset(config, KINDS, codecs=known)
    for content in ("[", '{"domains": [1]}', '{"domains": ["a", "a"]}', "{}"):
        (tmp_path / DOMAINS_FILE).write_text(content)
        with pytest.raises(DataError, match="is damaged"):
            load_domains(tmp_path)


MOVIE = {"movie": "csv:a.csv", "shop": "csv:b.csv"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(domain_weights={"movie": 1}), "domain_weights=.* is for several domains"),
        (dict(temperature=2.0), "temperature=2.0 is for several domains"),
        (dict(domains=MOVIE, temperature=0), "temperature=0 must be a number above 0"),
        (dict(domains=MOVIE, temperature=float("nan")), "must be a number above 0"),
        (dict(domains=MOVIE, domain_weights={"shops": 1}), "Did you mean shop"),
        (dict(domains=MOVIE, domain_weights={"shop": 1}), "no weight of movie"),
        (dict(domains=MOVIE, domain_weights={"shop": -1, "movie": 1}), "shop=-1 must"),
        (dict(domains=MOVIE, domain_weights={"shop": 0, "movie": 0}), "weights are 0"),
        (dict(domains=MOVIE, domain_weights={"shop": "x", "movie": 0}), "must be a"),
        (dict(domains=MOVIE, source="csv:c.csv"), "both name examples"),
        (dict(domains={"a/b": "csv:a.csv"}), "a/b is not a name"),
        (dict(domains={"a": "csv"}), "config.data.domains.a=csv names no files"),
        pytest.param(
            *(dict(domains={"a": 3}), "config.data.domains.a=3 is not a source"),
            marks=pytest.mark.wrong_types,
        ),
    ],
)
def test_invalid_settings_are_refused_by_name(settings, words):
    with pytest.raises(ConfigError, match=words):
        DataConfig(**settings)


@pytest.mark.wrong_types  # A list, as a file of JSON has.
def test_a_config_that_was_stored_is_read_again():
    config = DataConfig(domains=MOVIE)
    again = DataConfig(domains=MOVIE, source=list(config.source))
    assert config.source == again.source == ("csv:a.csv", "csv:b.csv")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            lambda files: {"domains": {"shop": f"jsonl:{files}/empty.jsonl"}},
            "the file is empty",
        ),
        (lambda _: {"temperature": 2.0, "buckets": (8,)}, "by length"),
        (lambda _: {"fields": {"domains": "x"}}, "reads no domains.*mean domain"),
    ],
)
def test_domains_that_cannot_be_trained_on_are_refused(files, settings, words):
    with pytest.raises((ConfigError, DataError), match=words):
        load(files, **settings(files))


def test_a_domain_whose_examples_are_all_held_out_is_refused(files):
    copies = f"jsonl:{files}/shop.jsonl"
    with pytest.raises(DataError, match=r"domains\.shop has no example in the train"):
        load(files, valid_source=copies)


def test_the_test_part_of_a_folder_of_images_is_of_its_domain(tmp_path):
    for seed, name in enumerate(("movie", "shop")):
        for part, number in (("train", 30), ("t10k", 4 + seed)):
            images = draw(10 * seed + number, number, 5 * 4, 1).reshape(number, 5, 4)
            write_idx(tmp_path / name, part, images, np.arange(number) % 2)
    sources = {name: f"idx:{tmp_path / name}" for name in ("shop", "movie")}
    kinds = {"features": "features", "label": "label"}
    load_images = lambda **data: load_labelled_dataset(DataConfig(**data), kinds)
    splits = load_images(domains=sources).splits
    assert splits["test"]["domain"].tolist() == [1] * 5 + [0] * 4  # As they are named.
    assert set(splits["train"]["domain"].tolist()) == {0, 1}
    # A source of its own for the test split is of no domain.
    splits = load_images(domains=sources, test_source=sources["shop"]).splits
    assert splits["test"]["domain"].tolist() == [-1] * 5


def test_plain_text_has_no_domains():
    with pytest.raises(ConfigError, match=r"domains=.*is for labelled examples"):
        DataConfig(domains=MOVIE).reading()
