"""What refitting at a seam promises."""

import numpy as np
import pytest

from slimjax.resize import refit

NAMES = {"mlp": {"down": ("mlp", "embed")}}
GATE = ("mlp", "mlp")


def draw(num_units, width, num_rows=200):
    source = np.random.default_rng(num_units)
    hidden = source.standard_normal((num_rows, num_units)) @ np.tri(num_units)
    weight = source.standard_normal((num_units, width)).astype(np.float32)
    return hidden, {"mlp": {"down": weight}}, {"mlp": {"down": hidden.T @ hidden}}


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_what_stays_writes_nearly_what_the_whole_wrote(fraction):
    """Also when the gates of what stays were not quite open."""
    hidden, params, moments = draw(12, 5)
    current = {GATE: np.full(12, fraction)}
    closed = {GATE: current[GATE] * (np.arange(12) % 3 > 0)}
    new = refit(params, NAMES, current, closed, moments)["mlp"]["down"]
    old = params["mlp"]["down"]
    whole = hidden @ (current[GATE][:, None] * old)
    miss = lambda weight: np.sum(
        (hidden @ (closed[GATE][:, None] * weight) - whole) ** 2
    )
    assert miss(new) < 0.5 * miss(old)
    assert new.dtype == old.dtype


def test_nothing_closed_changes_nothing():
    _, params, moments = draw(6, 3)
    gates = {GATE: np.ones(6)}
    new = refit(params, NAMES, gates, gates, moments)
    np.testing.assert_array_equal(new["mlp"]["down"], params["mlp"]["down"])


def test_all_closed_is_no_division_by_nothing():
    _, params, moments = draw(6, 3)
    closed = {GATE: np.zeros(6)}
    new = refit(params, NAMES, {GATE: np.ones(6)}, closed, moments)
    assert np.isfinite(new["mlp"]["down"]).all()
