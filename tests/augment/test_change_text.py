"""Changed texts: what each change may do, and that it does so as often as asked."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimjax.augment import characters, words
from slimjax.augment.config import CHARACTERS, TEXTS, WORDS, AugmentConfig
from slimjax.augment.texts import change_row, change_text, make_generator
from slimjax.errors import ConfigError

TEXT = "The quick brown fox jumps over 13 lazy dogs, 你好 Straße"
ANY_TEXT = st.text(min_size=1).filter(lambda text: text.strip())
RATES = st.sampled_from([0.1, 0.5, 1.0])


@given(ANY_TEXT, RATES, st.integers(0, 99))
def test_swapped_characters_are_the_same_ones_beside_their_place(text, rate, seed):
    found = characters.swap(text, rate, np.random.default_rng(seed))
    assert Counter(found) == Counter(text)
    for place, character in enumerate(found):
        assert character in text[max(place - 1, 0) : place + 2]


@given(ANY_TEXT, RATES, st.integers(0, 99))
def test_dropped_characters_leave_the_others_in_order(text, rate, seed):
    found = characters.drop(text, rate, np.random.default_rng(seed))
    left = iter(text)
    assert all(character in left for character in found)
    assert found.strip()


@given(ANY_TEXT, RATES, st.integers(0, 99))
def test_doubled_characters_stand_twice_and_no_more(text, rate, seed):
    found, place = characters.double(text, rate, np.random.default_rng(seed)), 0
    for character in text:
        assert found[place] == character
        place += 2 if found[place : place + 2] == character * 2 else 1
    assert place <= len(found) <= 2 * len(text)
    assert len(found) == 2 * len(text) or rate < 1


def test_mistyped_letters_are_beside_theirs_and_keep_their_case():
    found = characters.mistype(TEXT, 1.0, np.random.default_rng(0))
    assert len(found) == len(TEXT)
    for old, new in zip(TEXT, found, strict=True):
        if old.lower() in characters.NEIGHBOURS:
            assert new.lower() in characters.NEIGHBOURS[old.lower()]
            assert new != old
            assert new.isupper() == old.isupper()
        else:
            assert new == old
    assert set(characters.NEIGHBOURS["g"]) == set("tyfhvb")
    for one, others in characters.NEIGHBOURS.items():
        assert all(one in characters.NEIGHBOURS[other] for other in others)


@pytest.mark.parametrize("change", [characters.drop, characters.double])
def test_as_many_characters_change_as_asked(change):
    text = "abcdefghij" * 400
    away = abs(len(change(text, 0.2, np.random.default_rng(1))) - len(text))
    assert 0.17 < away / len(text) < 0.23  # Five deviations of 4,000 draws.


@given(st.lists(ANY_TEXT, min_size=1, max_size=9), RATES, st.integers(0, 99))
def test_words_are_dropped_swapped_or_masked(found, rate, seed):
    make = lambda: np.random.default_rng(seed)
    dropped = words.drop(found, rate, make())
    left = iter(found)
    assert all(word in left for word in dropped)
    assert dropped
    swapped = words.swap(found, rate, make())
    bare = lambda items: Counter(item.lstrip() for item in items)
    assert bare(swapped) == bare(found)
    masked = words.mask(found, rate, make(), "_")
    assert len(masked) == len(found)
    pairs = zip(masked, found, strict=True)
    assert all(new == old or new.lstrip() == "_" for new, old in pairs)
    assert rate < 1 or all(word.lstrip() == "_" for word in masked)


def test_cases_are_small_capital_or_capital_at_each_word():
    draw = lambda seed: words.recase(TEXT, 1.0, np.random.default_rng(seed))
    assert {draw(seed) for seed in range(40)} == {
        TEXT.lower(),
        TEXT.upper(),
        TEXT.title(),
    }
    half = [words.recase(TEXT, 0.5, np.random.default_rng(i)) for i in range(400)]
    assert 150 < half.count(TEXT) < 250


@given(ANY_TEXT, st.sampled_from(TEXTS), st.integers(0, 9), st.integers(0, 99))
def test_a_change_is_a_function_of_seed_step_and_row(text, name, seed, step):
    config = AugmentConfig(**{name: 0.7})
    found = change_text(text, config, make_generator(seed, step, 3))
    assert found == change_text(text, config, make_generator(seed, step, 3))
    assert found.strip()


def test_rows_and_steps_change_differently():
    config = AugmentConfig(swap_characters=0.5)
    places = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    found = [change_text(TEXT, config, make_generator(*place)) for place in places]
    assert len({*found, TEXT}) == 5


def test_nothing_is_changed_unless_it_is_asked_for():
    assert not AugmentConfig().of_texts
    assert not AugmentConfig(rows=0.0, swap_words=1.0, flip=True).of_texts
    assert not AugmentConfig(rows=0.0, swap_words=1.0, flip=True).of_images
    generator = make_generator(0, 0, 0)
    assert change_text(TEXT, AugmentConfig(), generator) == TEXT
    some = AugmentConfig(rows=0.25, casing=1.0)
    upper = "CAPITALS AND small"
    two = {"text": upper, "text_pair": upper}
    rows = [change_row(two, some, make_generator(0, 0, i)) for i in range(400)]
    kept = [row["text"] for row in rows]
    assert 260 < kept.count(upper) < 340
    assert [row["text_pair"] == upper for row in rows] == [t == upper for t in kept]


@pytest.mark.parametrize("name", [*CHARACTERS, *WORDS, "casing", "rows", "crop"])
@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_fractions_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=rf"config\.augment\.{name}="):
        AugmentConfig(**{name: value})
