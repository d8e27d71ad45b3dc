"""Fitting a table: what a table says of models is found again from what they take."""

import dataclasses

import numpy as np
import pytest

from slimjax.errors import ConfigError
from slimjax.models.config import ModelConfig
from slimjax.models.layer_config import LayerConfig
from slimjax.models.recipes import decoder
from slimjax.models.style import GPT2
from slimjax.objective.inventory import take_inventory
from slimjax.objective.latency import make_latency_fn
from slimjax.objective.latency_table import LatencyTable
from slimjax.run.latency_clock import time_models
from slimjax.run.latency_fit import empty_table, fit_table, steps
from slimjax.run.latency_models import choose_models

MODEL = decoder(40, 16, (LayerConfig(4, 2, 4, 32),) * 2)


def seconds(model: ModelConfig, table: LatencyTable) -> float:
    inventory = take_inventory(model.abstract_variables(), model.uses({"": 1}))
    return float(make_latency_fn(inventory, table)(inventory.open_gates()))


def test_models_are_of_all_sizes_and_the_first_is_the_whole():
    models = choose_models(MODEL, narrower=True)
    assert models[0] == MODEL
    assert {m.width for m in models} >= {2, 16}
    assert {m.vocab_size for m in models} == {40}
    depths = [len([x for x in m.layers if x.attention or x.mlp]) for m in models]
    assert {0, 1, 2} <= set(depths)
    assert {m.width for m in choose_models(MODEL)} == {16}
    deep = MODEL.with_main(layers=MODEL.layers * 20)
    assert all(len(m.layers) <= 8 for m in choose_models(deep))


def add(one, other, amount):
    """Returns one entry, or tuple of entries, plus so many times another."""
    if not isinstance(one, tuple):
        return float(one + amount * other)
    return tuple(add(*both, amount) for both in zip(one, other, strict=True))


def test_a_table_is_found_again_from_what_models_take():
    models = choose_models(MODEL, narrower=True)[::3]
    empty, source = empty_table(models), np.random.default_rng(0)
    assert empty.widths == (0, 16)
    true = empty
    for step in steps(empty):
        amount = source.exponential()
        added = {
            name: add(getattr(true, name), getattr(step, name), amount)
            for name in ("base", "attention", "mlp", "spill")
        }
        true = dataclasses.replace(true, **added)
    times = [seconds(model, true) for model in models]
    found = fit_table(empty, models, times)
    found.check()
    assert found.error < 1e-6
    assert seconds(models[0], found) == pytest.approx(times[0])


def test_noise_makes_no_time_fall():
    models = choose_models(MODEL)[:12]
    times = np.random.default_rng(1).uniform(1.0, 2.0, len(models)).tolist()
    found = fit_table(empty_table(models), models, times)
    found.check()
    assert 0.0 < found.error < 1.0


def test_only_kinds_of_models_whose_time_is_fitted_are_timed():
    config = decoder(31, 8, (LayerConfig(2, 1, 4, 9),), style=GPT2, num_positions=64)
    with pytest.raises(ConfigError, match="latency"):
        time_models([config], rounds=1)
