"""Budgets that are divided between towers by a rule, and not by one price."""

import numpy as np
import pytest

from slimjax import tasks
from slimjax.budget.bits import BitCosts, BitPrices
from slimjax.budget.chooser import MAX_ALPHA
from slimjax.budget.decision import BitChoice
from slimjax.data.outline import Outline
from slimjax.errors import ConfigError
from slimjax.models.build import build_model
from slimjax.objective.towers import sizes_by_tower
from slimjax.run.feasible import check_division
from slimjax.train import dividing
from slimjax.train.blueprint import Blueprint
from slimjax.train.config import make_run_config
from slimjax.train.decide import decide
from slimjax.train.dividing import decide_divided
from slimjax.train.history import History
from slimjax.train.seam_record import SeamRecord
from slimjax.train.search import Search

STATES = (16, 8, 4, 2)
CONFIG = {
    "task": "image_question",
    "model": {"kind": "fusion", "width": 16, "num_heads": 2, "num_layers": 1}
    | {"mlp_dim": 20, "stem": "patches", "image_width": 16, "image_layers": 1}
    | {"text_width": 12, "text_layers": 1, "mixing_layers": 1},
    "objective": {"strategy": "exchange", "size": "bytes", "budget": "50%"},
    "quantize": {"bits": list(STATES)},
    "resize": {"every_steps": 1},
    "train": {"num_steps": 4},
}
SIZES = dict(vocab=24, classes=5, image_height=16, image_width=16, image_channels=3)


def make_blueprint(division, objective=None):
    """Returns the blueprint of a model of pictures and texts."""
    objective = CONFIG["objective"] | {"division": division} | (objective or {})
    run = make_run_config({**CONFIG, "objective": objective})
    lengths = {"": 7}
    outline = Outline({}, SIZES, lengths, {"pad": 0})
    task = tasks.get(run.task).make_task(outline.special)
    shape = build_model(run.model, SIZES, tuple(task.heads(SIZES)), lengths)
    return Blueprint(run, task, shape, outline)


def make_search(blueprint, seed=0):
    """Returns a search with costs that are drawn, those of texts the lowest."""
    source, inventory = np.random.default_rng(seed), blueprint.inventory
    cost = lambda path: 1e-3 if path[0] == "text" else 1e-2
    costs = {p: source.exponential(cost(p), s) for p, s in inventory.gates.items()}
    axes = {leaf.path: len(leaf.axes) for leaf in inventory.leaves}
    nats = {}
    for key, bits in blueprint.bits.items():
        steps = source.exponential(cost(key) / 100, (len(bits), len(STATES)))
        nats[key] = np.maximum.accumulate(steps * [0, 1, 3, 20], axis=1)
        if axes.get(key) == 1:  # A vector keeps more bits.
            nats[key][:, 2:] = np.inf
    prices = BitPrices(inventory, BitCosts(STATES, nats), 0)
    return Search(blueprint, costs, BitChoice(prices, 0, blueprint.sizes["bytes"]))


def parts_by_tower(blueprint, decision):
    """Returns the part of the bytes of each tower that a decision leaves."""
    names = [tower.name for tower in blueprint.model.towers]
    whole = sizes_by_tower(blueprint.inventory, names, blueprint.bits)
    left = sizes_by_tower(blueprint.inventory, names, decision.bits, 0, decision.gates)
    return {name: left[name]["bytes"] / own["bytes"] for name, own in whole.items()}


def test_all_towers_keep_the_same_part():
    part = 0.5
    blueprint = make_blueprint("even")
    search = make_search(blueprint)
    decision = decide_divided(search, np.array([part]))
    assert 0.97 * part <= decision.sizes[0] <= part
    parts = list(parts_by_tower(blueprint, decision).values())
    assert max(parts) < 1.05 * min(parts)
    assert decision.keeps_rule
    free = search.at_budget(np.array([part]))
    assert free is not None
    assert free.predicted_loss_change <= decision.predicted_loss_change
    others = list(parts_by_tower(blueprint, free).values())
    assert max(others) > 1.3 * min(others)  # One price takes where it costs least.


@pytest.mark.parametrize("name", ["image", "text", "main"])
def test_a_tower_gives_all_it_has_before_others_give_anything(name):
    blueprint = make_blueprint(name)
    search = make_search(blueprint)
    decision = decide_divided(search, np.array([0.3]))
    assert 0.29 <= decision.sizes[0] <= 0.3
    assert not decision.keeps_rule  # Others gave something, too.
    assert 0 < decision.alphas[0] < MAX_ALPHA  # The price of the others.
    parts = parts_by_tower(blueprint, decision)
    least = parts_by_tower(blueprint, search.at_least())
    assert parts[name] <= 1.3 * least[name]  # Other towers have other widths.
    assert min(own for other, own in parts.items() if other != name) > 0.2


def test_several_budgets_are_divided_too():
    budgets = {"bytes": "40%", "params": "70%"}
    objective = {"size": "params", "budget": "", "budgets": budgets}
    blueprint = make_blueprint("text", objective=objective)
    limits = np.array([0.4, 0.7])
    decision = decide_divided(make_search(blueprint), limits)
    assert (decision.sizes <= limits).all()
    assert not decision.keeps_rule
    assert 0 < decision.alphas.max() < MAX_ALPHA


def test_a_price_does_not_rise_faster_than_its_ratio_allows(monkeypatch):
    objective = {"budget": "30%", "max_price_ratio": 2.0}
    blueprint = make_blueprint("text", objective)
    search = make_search(blueprint)
    given = search.costs, search.choice
    monkeypatch.setattr("slimjax.train.decide.measure_costs", lambda *_: given)
    at_seam = lambda **told: decide(blueprint, None, None, History(**told))
    free = at_seam(num_seams=1)
    before = free.alpha / 5
    slow = at_seam(num_seams=1, alpha=before)
    assert 0 < slow.alpha <= 2 * before
    assert free.sizes[0] + 0.02 < slow.sizes[0] < 1
    last = at_seam(num_seams=2, alpha=before)
    assert last.sizes[0] <= 0.3  # A promise.


def test_others_stay_as_they_are_where_one_tower_is_enough():
    blueprint = make_blueprint("text")
    search = make_search(blueprint)
    decision = decide_divided(search, np.array([0.95]))
    assert 0.94 <= decision.sizes[0] <= 0.95
    assert decision.keeps_rule
    for path, gate in decision.gates.items():
        assert gate.all() or path[0] in ("text", "text_embed")
    assert decision.bits is not None
    for key, bits in decision.bits.items():
        assert (bits == 16).all() or key[0] in ("text", "text_embed")


def test_towers_with_no_more_to_give_are_reported(monkeypatch):
    monkeypatch.setattr(dividing, "MAX_TRIES", 0)  # As if none had been within.
    decision = decide_divided(make_search(make_blueprint("even")), np.array([0.01]))
    assert not decision.keeps_rule
    assert (decision.alphas == 0).all()  # None of them has a price.
    plain = dict(step=4, strategy="exchange", taken=True, reason="pays", alpha=None)
    plain |= dict(alphas={"bytes": None}, predicted_loss_change=None, calibration=1.0)
    plain |= dict(closed={}, bits={}, before={"bytes": 4.0}, after={"bytes": 2.0})
    for keeps, words in ((None, 0), (True, 0), (False, 1)):
        record = SeamRecord(**plain, keeps_division=keeps)
        assert record.describe().count("a tower had no more to give") == words
        assert record.as_dict().get("keeps_division") is keeps


def test_rules_that_make_no_sense_end_in_one_line():
    with pytest.raises(ConfigError, match=r"'eye'.*image, text, mixed, main"):
        check_division("eye", make_blueprint("eye"))
    with pytest.raises(ConfigError, match=r"division='even'.*objective\.budget"):
        make_run_config({"objective": {"division": "even"}})
    objective = {"strategy": "exchange", "budgets": {"kv_bytes": "50%"}}
    with pytest.raises(ConfigError, match="not 'kv_bytes'"):
        make_run_config({"objective": objective | {"division": "even"}})
