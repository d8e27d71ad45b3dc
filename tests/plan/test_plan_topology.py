"""Slices by name, and what is refused."""

import pytest

from slimjax.errors import ConfigError
from slimjax.plan.chips import CHIPS
from slimjax.plan.topology import parse_topology, prepare_libtpu


@pytest.mark.parametrize(
    ("name", "chips"),
    [("v5e:4x4", 16), ("v6e:16x16", 256), ("v4:2x2x4", 16)],
)
def test_a_slice_has_the_chips_of_its_grid(name, chips):
    topology = parse_topology(name)
    assert topology.num_chips == chips
    assert str(topology) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("v5x:4x4", "known: v4, v5e, v5p, v6e"),
        ("4x4", "known: v4, v5e, v5p, v6e"),
        ("v5e", "must tell its grid of chips, as v5e:4x4"),
        ("v5e:4xfour", "must tell its grid"),
        ("v5e:0x4", "must tell its grid"),
        ("v5p:8x8", "2 axes, but v5p chips stand in 3"),
        ("v5e:16x32", "the largest slice of v5e has 256"),
    ],
)
def test_what_is_no_slice_is_refused_in_one_line(name, reason):
    with pytest.raises(ConfigError, match=reason) as error:
        parse_topology(name)
    assert "\n" not in str(error.value)


def test_newer_chips_and_larger_ones_of_a_generation_do_more():
    assert CHIPS["v6e"].tflops > CHIPS["v5p"].tflops > CHIPS["v5e"].tflops
    assert all(c.hbm_gib * 2**30 < 96 * 2**30 and c.source for c in CHIPS.values())


def test_libtpu_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'slimjax\[tpu\]'") as error:
        prepare_libtpu()
    assert "\n" not in str(error.value)
