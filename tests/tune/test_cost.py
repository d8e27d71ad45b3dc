"""Steps of a path: its total is spent, whatever pieces turn out to cost."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimjax.tune.cost import MIN_STEPS, Share, geometric_sizes, seam_steps


def walk(share, cost_of_size, probes_of_piece=0.0):
    """Returns what a path spends, and its steps, if sizes cost what they are said to.

    Each piece runs a tenth of its steps at the size before it.
    """
    spent, now, probes, steps = 0.0, share.start_flops, 0.0, []
    for k in range(len(share.sizes)):
        own = share.trunk_steps(k, spent, now, probes)
        after = share.start_flops * cost_of_size[k]
        seams = probes_of_piece if k else 0.0
        spent += own * (0.1 * now + 0.9 * after) + seams
        now, probes = after, seams
        decay = share.decay_steps(k, spent, now, probes)
        spent += decay * now
        steps += [own, decay]
    return spent, now, steps


PARTS = st.lists(st.floats(0.05, 1.0), min_size=2, max_size=10).map(
    lambda parts: sorted(parts, reverse=True)
)


@given(PARTS, st.floats(0.3, 1.0), st.floats(0, 3))
def test_all_is_spent_but_less_than_a_step(parts, power, probes):
    # Real costs fall slower or as fast as sizes; the forecast knows sizes alone.
    sizes = tuple(1000 * part for part in parts)
    least = Share(1.0, sizes, 1000.0, 1.0).least_total()
    share = Share(20 * least + 1e5, sizes, 1000.0, 1.0)
    costs = [part**power for part in parts]
    spent, last_step, steps = walk(share, costs, probes * share.total / 1000)
    assert spent <= share.total
    assert spent > share.total - 1.01 * last_step
    assert min(steps) > MIN_STEPS


def test_steps_grow_as_sizes_fall_in_proportion_to_weights():
    sizes = geometric_sizes(1000.0, 100.0, 10)
    share = Share(1e6, sizes, 1000.0, 1.0)
    _, _, steps = walk(share, [size / 1000 for size in sizes])
    decays = steps[1:-2:2]  # The last one gets what is left.
    ratio = decays[-1] / decays[0]
    # A piece must be affordable if nothing goes, so a little is kept for later.
    assert ratio == pytest.approx(math.sqrt(sizes[0] / sizes[-2]), rel=0.15)


def test_the_least_total_has_the_least_steps_everywhere():
    sizes = geometric_sizes(1000.0, 100.0, 10)
    least = Share(1.0, sizes, 1000.0, 1.0).least_total()
    costs = [size / 1000 for size in sizes]
    spent, _, steps = walk(Share(1.001 * least, sizes, 1000.0, 1.0), costs)
    assert spent <= 1.001 * least
    assert min(steps) == MIN_STEPS


def test_a_path_that_can_hardly_be_paid_ends_with_a_short_decay():
    """Nobody knows beforehand what the first probes cost."""
    sizes = (1000.0, 550.0, 300.0)
    least = Share(1.0, sizes, 1000.0, 34.0, relief=4.0).least_total()
    share = Share(1.01 * least, sizes, 1000.0, 34.0, relief=4.0)
    spent, _, steps = walk(share, [1.0, 1.0, 1.0], probes_of_piece=0.1 * least)
    assert spent <= share.total
    assert 1 < steps[-1] < MIN_STEPS
    assert min(steps[:-1]) >= MIN_STEPS


def test_sizes_have_even_ratios_and_are_never_above():
    sizes = geometric_sizes(95_000.0, 9_500.0, 10)
    assert sizes[0] == 95_000.0
    assert 9_490 <= sizes[-1] <= 9_500
    ratios = [a / b for a, b in itertools.pairwise(sizes)]
    assert max(ratios) < 1.002 * min(ratios)


@given(st.integers(0, 10_000), st.integers(20, 5_000), st.floats(1.01, 30))
def test_seams_lie_inside_their_piece(start, steps, ratio):
    for is_first in (False, True):
        first, every, number = seam_steps(start, steps, ratio, is_first=is_first)
        assert start < first
        assert first + every * (number - 1) < start + steps
