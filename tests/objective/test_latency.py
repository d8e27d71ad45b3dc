"""Latency: exact at the knots of its table, lines between them, less never slower."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.budget.limits import UNITS, Limits
from slimjax.budget.width import WidthChooser
from slimjax.errors import ConfigError
from slimjax.models import LayerConfig, decoder
from slimjax.objective.config import ObjectiveConfig
from slimjax.objective.inventory import take_inventory
from slimjax.objective.latency_table import LatencyTable
from slimjax.objective.size import make_size_fn
from slimjax.trees import flatten, unflatten

TABLE = LatencyTable(
    vocab_size=11,
    head_dim=4,
    widths=(4, 8),
    kv_heads=(1, 3),
    group=(1, 2),
    units=(4, 8, 16),
    base=(0.6, 1.0),
    attention=(((0.3, 0.4), (0.5, 0.8)), ((0.5, 0.7), (0.9, 1.6))),
    mlp=((0.1, 0.15, 0.5), (0.2, 0.3, 0.9)),
)
SPILL = dict(weights=(0, 1_000, 2_000), spill=(0.0, 0.0, 3.0))
MODEL = decoder(11, 8, (LayerConfig(6, 3, 4, 16),) * 2)


def inventory_of(model, table=TABLE):
    inventory = take_inventory(model.abstract_variables(), model.uses({"": 8}))
    return dataclasses.replace(inventory, latency=table)


def seconds(*layers: LayerConfig, width: int = 8, table: LatencyTable = TABLE) -> float:
    model = MODEL.with_main(layers=layers, width=width)
    inventory = inventory_of(model, table)
    return float(make_size_fn("latency", inventory)(inventory.open_gates()))


@pytest.mark.parametrize("w", range(2))
def test_it_is_exact_at_its_knots(w):
    width, base = TABLE.widths[w], TABLE.base[w]
    for i, k in enumerate(TABLE.kv_heads):
        for j, g in enumerate(TABLE.group):
            layer = LayerConfig(k * g, k, 4, 0, mlp=False)
            expected = base + TABLE.attention[w][i][j]
            assert seconds(layer, width=width) == pytest.approx(expected)
    for units, time in zip(TABLE.units, TABLE.mlp[w], strict=True):
        layer = LayerConfig(0, 0, 4, units, attention=False)
        assert seconds(layer, layer, width=width) == pytest.approx(base + 2 * time)


def test_between_knots_of_the_width_lie_lines():
    layer = LayerConfig(3, 3, 4, 8)
    lower, middle, upper = (seconds(layer, width=width) for width in (4, 6, 8))
    assert middle == pytest.approx((lower + upper) / 2)
    assert seconds(layer, width=2) == pytest.approx(lower - (middle - lower))


def test_closed_takes_as_long_as_cut():
    table = dataclasses.replace(TABLE, **SPILL)
    inventory = inventory_of(MODEL, table)
    size_fn, gates = make_size_fn("latency", inventory), inventory.open_gates()
    gates["layer_0", "mlp", "mlp"][5:] = 0.0
    gates["layer_0", "attention", "kv_heads"][1] = 0.0
    gates["layer_1", "attention", "heads"][[0, 3, 4]] = 0.0
    gates["layer_1", "mlp", "mlp"][:] = 0.0
    gates["embed",][[0, 2, 7]] = 0.0
    cut = LayerConfig(4, 2, 4, 5), LayerConfig(3, 3, 4, 0, mlp=False)
    expected = seconds(*cut, width=5, table=table)
    assert float(size_fn(gates)) == pytest.approx(expected)
    gates["layer_0", "attention", "sublayer"][...] = 0.0
    gone = LayerConfig(0, 0, 4, 5, attention=False)
    expected = seconds(gone, cut[1], width=5, table=table)
    assert float(size_fn(gates)) == pytest.approx(expected)


def test_it_has_a_slope_in_every_gate_and_less_is_never_slower():
    inventory = inventory_of(MODEL)
    size_fn, gates = make_size_fn("latency", inventory), inventory.open_gates()
    tree = unflatten({p: jnp.asarray(g, jnp.float32) for p, g in gates.items()})
    slopes = flatten(jax.jit(jax.grad(size_fn))(tree))
    for path, slope in slopes.items():
        assert (slope > 0).all(), path
    source, last = np.random.default_rng(0), np.inf
    kinds = "mlp", "embed"
    units = [(p, i) for p, g in gates.items() if p[-1] in kinds for i in range(g.size)]
    for path, i in (units[n] for n in source.permutation(len(units))):
        gates[path][i] = 0.0
        now = float(size_fn(gates))
        assert now <= last + 1e-12
        last = now


@pytest.mark.parametrize("units", [UNITS[:-1], UNITS], ids=["one width", "any width"])
@pytest.mark.parametrize("spills", [False, True])
@pytest.mark.parametrize("part", [0.9, 0.6, 0.4, 0.3])
def test_a_budget_is_met_and_made_use_of(part, spills, units):
    table = dataclasses.replace(TABLE, **SPILL) if spills else TABLE
    inventory = inventory_of(MODEL, table)
    size_fn = make_size_fn("latency", inventory)
    whole = float(size_fn(inventory.open_gates()))
    parts = lambda gates, _: np.array([float(size_fn(gates)) / whole])
    source = np.random.default_rng(3)
    costs = {p: source.exponential(0.1, s) for p, s in inventory.gates.items()}
    decision = WidthChooser(inventory, parts, costs, Limits(units)).at_budget(part)
    assert decision is not None
    assert decision.sizes[0] <= part
    # A head of each group, or a sublayer at its least, may be what does not fit.
    assert decision.sizes[0] >= part - 0.12


def test_the_width_alone_can_meet_a_budget():
    inventory = inventory_of(MODEL)
    size_fn = make_size_fn("latency", inventory)
    whole = seconds(*MODEL.layers)
    parts = lambda gates, _: np.array([float(size_fn(gates)) / whole])
    costs = {p: np.ones(s) for p, s in inventory.gates.items()}
    limits = Limits(units=("embed",))
    decision = WidthChooser(inventory, parts, costs, limits).at_budget(0.6)
    assert decision is not None
    width = int(decision.gates["embed",].sum())
    assert seconds(*MODEL.layers, width=width) <= 0.6 * whole
    assert seconds(*MODEL.layers, width=width + 1) > 0.6 * whole


def test_weights_that_do_not_fit_cost_more():
    spilling = seconds(*MODEL.layers, table=dataclasses.replace(TABLE, **SPILL))
    num_weights = 2 * (576 + 384 + 2 * 8) + 8 * 11 + 8
    expected = seconds(*MODEL.layers) + 3e-3 * (num_weights - 1_000)
    assert spilling == pytest.approx(expected)


def test_a_table_is_read_as_it_was_written():
    table = dataclasses.replace(TABLE, **SPILL)
    data = json.loads(json.dumps(table.as_json()))
    assert LatencyTable.from_json(data, "here") == table
    assert LatencyTable.from_json(data, "here").fingerprint == table.fingerprint
    assert table.fingerprint != TABLE.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"units": [8, 4, 16]},
        {"mlp": [[1.0]]},
        {"mlp": [[0.1, 0.1, 0.5], [0.2, 0.1, 0.9]]},
        {"base": [-1, 1]},
        {"group": None},
        {"weights": [1]},
        {"format": "slimjax-latency-1"},
    ],
)
def test_what_is_no_table_is_refused(change):
    with pytest.raises(ConfigError, match="here is no table"):
        LatencyTable.from_json(TABLE.as_json() | change, "here")


def test_a_table_that_nobody_reads_is_refused():
    with pytest.raises(ConfigError, match="not asked for"):
        ObjectiveConfig("exchange", alpha=1.0, latency_table="latency.json")
