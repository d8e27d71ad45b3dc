"""Latency: what was measured is met where it was measured, and lines lie between."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.errors import ConfigError
from slimjax.models.config import LayerConfig, ModelConfig
from slimjax.models.decoder import abstract_variables
from slimjax.objective.config import ObjectiveConfig
from slimjax.objective.inventory import take_inventory
from slimjax.objective.latency import LatencyTable
from slimjax.objective.limits import Limits
from slimjax.objective.size import make_size_fn
from slimjax.objective.width import WidthChooser
from slimjax.trees import flatten, unflatten

TABLE = LatencyTable(
    width=8,
    vocab_size=11,
    base=1.0,
    head_dim=4,
    kv_heads=(1, 3),
    group=(1, 2),
    attention=((0.5, 0.7), (0.9, 1.6)),
    units=(4, 8, 16),
    mlp=(0.2, 0.3, 0.9),
)
MODEL = ModelConfig(11, 8, (LayerConfig(6, 3, 4, 16),) * 2)


def inventory_of(model, table=TABLE):
    inventory = take_inventory(abstract_variables(model), 8)
    return dataclasses.replace(inventory, latency=table)


def seconds(*layers: LayerConfig) -> float:
    inventory = inventory_of(dataclasses.replace(MODEL, layers=layers))
    return float(make_size_fn("latency", inventory)(inventory.open_gates()))


def test_it_is_exact_where_it_was_measured():
    for i, k in enumerate(TABLE.kv_heads):
        for j, g in enumerate(TABLE.group):
            layer = LayerConfig(k * g, k, 4, 0, mlp=False)
            assert seconds(layer) == pytest.approx(1 + TABLE.attention[i][j])
    for units, time in zip(TABLE.units, TABLE.mlp, strict=True):
        layer = LayerConfig(0, 0, 4, units, attention=False)
        assert seconds(layer, layer) == pytest.approx(1 + 2 * time)


def test_closed_takes_as_long_as_cut():
    inventory = inventory_of(MODEL)
    size_fn, gates = make_size_fn("latency", inventory), inventory.open_gates()
    gates["layer_0", "mlp", "mlp"][5:] = 0.0
    gates["layer_0", "attention", "kv_heads"][1] = 0.0
    gates["layer_1", "attention", "heads"][[0, 3, 4]] = 0.0
    gates["layer_1", "mlp", "mlp"][:] = 0.0
    cut = LayerConfig(4, 2, 4, 5), LayerConfig(3, 3, 4, 0, mlp=False)
    assert float(size_fn(gates)) == pytest.approx(seconds(*cut))
    gates["layer_0", "attention", "sublayer"][...] = 0.0
    gone = LayerConfig(0, 0, 4, 5, attention=False)
    assert float(size_fn(gates)) == pytest.approx(seconds(gone, cut[1]))


def test_it_has_a_slope_in_every_gate_and_less_is_never_slower():
    inventory = inventory_of(MODEL)
    size_fn, gates = make_size_fn("latency", inventory), inventory.open_gates()
    tree = unflatten({p: jnp.asarray(g, jnp.float32) for p, g in gates.items()})
    slopes = flatten(jax.grad(lambda gates: size_fn(gates))(tree))
    for path, slope in slopes.items():
        assert (slope > 0).all() or path == ("embed",), path
    source, last = np.random.default_rng(0), np.inf
    units = [(p, i) for p, g in gates.items() if p[-1] == "mlp" for i in range(g.size)]
    for path, i in (units[n] for n in source.permutation(len(units))):
        gates[path][i] = 0.0
        now = float(size_fn(gates))
        assert now <= last + 1e-12
        last = now


@pytest.mark.parametrize("part", [0.9, 0.6, 0.4, 0.3])
def test_a_budget_is_met_and_made_use_of(part):
    inventory = inventory_of(MODEL)
    size_fn = make_size_fn("latency", inventory)
    whole = float(size_fn(inventory.open_gates()))
    parts = lambda gates, _: np.array([float(size_fn(gates)) / whole])
    source = np.random.default_rng(3)
    costs = {p: source.exponential(0.1, s) for p, s in inventory.gates.items()}
    decision = WidthChooser(inventory, parts, costs, Limits()).at_budget(part)
    assert decision is not None
    assert decision.sizes[0] <= part
    # A head of each group, or a sublayer at its least, may be what does not fit.
    assert decision.sizes[0] >= part - 0.12


def test_whole_models_correct_the_sum_of_their_parts():
    knots = dict(sums=(1.0, 3.0, 9.0), wholes=(1.0, 2.0, 9.0))
    table = dataclasses.replace(TABLE, **knots)
    model = dataclasses.replace(MODEL, layers=(LayerConfig(6, 3, 4, 4),))
    inventory = inventory_of(model, table)
    found = make_size_fn("latency", inventory)(inventory.open_gates())
    assert found == pytest.approx(1 + (0.2 + 1.6) / 2)


def test_a_table_is_read_as_it_was_written():
    data = json.loads(json.dumps(TABLE.as_json()))
    assert LatencyTable.from_json(data, "here") == TABLE
    assert LatencyTable.from_json(data, "here").fingerprint == TABLE.fingerprint
    other = dataclasses.replace(TABLE, base=2.0)
    assert other.fingerprint != TABLE.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"units": [8, 4, 16]},
        {"mlp": [1.0]},
        {"base": -1},
        {"group": None},
        {"sums": [1]},
    ],
)
def test_what_is_no_table_is_refused(change):
    with pytest.raises(ConfigError, match="here is no table"):
        LatencyTable.from_json(TABLE.as_json() | change, "here")


def test_a_table_that_nobody_reads_is_refused():
    with pytest.raises(ConfigError, match="not asked for"):
        ObjectiveConfig("exchange", alpha=1.0, latency_table="latency.json")
