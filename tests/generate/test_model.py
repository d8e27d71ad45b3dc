"""What people give to a model of a run folder, and what comes back."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import slimjax
from slimjax.config import override, read_config
from slimjax.errors import ConfigError
from slimjax.generate.endings import TextStream
from slimjax.generate.options import DEFAULTS, Options

GREEDY = {"max_new_tokens": 24, "temperature": 0}


@pytest.fixture(scope="module")
def model(tmp_path_factory, text_folder):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    changes = [("objective.strategy", "none"), ("objective.budget", "")]
    changes += [("data.source", f"text:{text_folder}/*.txt"), ("mesh.data", "1")]
    changes += [("data.tokenizer", "bytes"), ("train.num_steps", "4")]
    config = override(read_config("configs/tiny_test.py"), changes)
    slimjax.fit(config, folder, quiet=True)
    return slimjax.load(folder)


def test_a_string_is_one_prompt_and_no_prompts_give_no_texts(model):
    assert model.generate([]) == []
    (alone,) = model.generate("the", **GREEDY)
    assert model.generate(["the"], **GREEDY) == [alone]
    assert model.generate(iter(("the", "of")), **GREEDY)[0] == alone
    with pytest.raises(ConfigError, match="not UTF-8"):
        model.generate("caf\udce9")


@pytest.mark.wrong_types
def test_prompts_of_other_types_are_refused_by_name(model):
    with pytest.raises(ConfigError, match=r"prompts\[1\]=3 must be a text"):
        model.generate(["a", 3])
    with pytest.raises(ConfigError, match="must be a text or a list"):
        model.generate(3)


@pytest.mark.wrong_types
def test_keywords_and_defaults_are_those_of_the_command(model):
    expected = model.generate("the", max_new_tokens=8)
    assert expected == model.generate("the", **vars(DEFAULTS) | {"max_new_tokens": 8})
    numbers = {"max_new_tokens": np.int64(8), "temperature": np.float32(0.8)}
    numbers |= {"top_k": np.int32(0), "seed": np.uint32(0)}
    assert model.generate("the", **numbers)[0].startswith(expected[0][:1])
    with pytest.raises(ConfigError, match="must be an integer"):
        model.generate("the", max_new_tokens=2.5)
    with pytest.raises(ConfigError, match="1048576"):
        model.generate("the", max_new_tokens=10**9)


def test_samples_of_a_prompt_follow_each_other_and_differ(model):
    options = {"max_new_tokens": 12, "temperature": 1.0}
    texts = model.generate(["a", "b"], num_samples=3, **options)
    assert len(texts) == 6
    assert len(set(texts)) > 3
    assert texts == model.generate(["a", "a", "a", "b", "b", "b"], **options)


def test_many_texts_are_written_in_groups(model, monkeypatch):
    monkeypatch.setattr("slimjax.generate.model.MAX_ROWS", 2)
    assert model.generate(["a"] * 5, **GREEDY) == model.generate("a", **GREEDY) * 5
    warm = model.generate(["a"] * 4, max_new_tokens=12)
    assert warm[:2] != warm[2:]
    assert warm == model.generate(["a"] * 4, max_new_tokens=12)


def test_a_stop_string_ends_the_text_alike_in_both_ways(model):
    (whole,) = model.generate("the", **GREEDY)
    stop = whole[5:8]
    cut = whole[: whole.index(stop)]
    assert model.generate("the", stop=stop, **GREEDY) == [cut]
    options = Options(stop=(stop,), **GREEDY)
    assert "".join(model.stream("the", options)) == cut
    assert "".join(model.stream("the", Options(**GREEDY))) == whole


@given(st.binary(max_size=60), st.lists(st.integers(0, 60)), st.text(max_size=3))
def test_a_stream_shows_what_the_whole_would_show(content, cuts, stop):
    whole = content.decode("utf-8", "replace")
    stops = [stop] if stop else []
    ends = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    text = TextStream(stops)
    shown = [text.add(content[a:b]) for a, b in itertools.pairwise(ends)]
    shown = "".join([*shown, text.finish()])
    assert shown == (whole.split(stop)[0] if stop else whole)
