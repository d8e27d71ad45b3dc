"""What the price moves within the steps: gates of what may go, along the budgets."""

from types import SimpleNamespace

import numpy as np
import pytest
from stages import make_stage

from slimjax.resize.config import ResizeConfig
from slimjax.train.decide import budget_at
from slimjax.train.pricing import make_step_context, unmoved_gates
from slimjax.trees import flatten

STAGE = ("model.num_layers", "2"), ("objective.strategy", "size_penalty")
ALL = {f"layer_{i}.{name}" for i in range(2) for name in ("attention", "mlp")}
ATTENTIONS = {name for name in ALL if name.endswith("attention")}
MLPS = ALL - ATTENTIONS
KINDS = ("heads", "kv_heads", "mlp")


@pytest.fixture(scope="module")
def inventory():
    return make_stage(*STAGE).blueprint.inventory


@pytest.mark.parametrize(
    ("limits", "stay"),
    [
        ({}, set()),
        ({"uniform": True}, ALL),
        ({"min_mlp_dim": 4}, MLPS),
        ({"min_kv_heads": 1}, ATTENTIONS),
        ({"units": (*KINDS, "layer")}, set()),
        ({"units": (*KINDS, "layer"), "min_mlp_dim": 4}, ALL),
        ({"units": KINDS}, ALL),
        ({"frozen": ("layer_0.mlp.mlp",)}, {"layer_0.mlp"}),
        ({"frozen": ("layer_1.attention.heads",)}, {"layer_1.attention"}),
        (
            {"frozen": ("layer_0.mlp.mlp",), "units": (*KINDS, "layer")},
            {"layer_0.mlp", "layer_0.attention"},
        ),
    ],
    ids=lambda value: str(sorted(value))[:50],  # A set has no order of its own.
)
def test_gates_of_sublayers_that_have_to_stay_do_not_move(inventory, limits, stay):
    unmoved = flatten(unmoved_gates(ResizeConfig(**limits), inventory))
    found = {
        ".".join(p[:-1])
        for p, is_held in unmoved.items()
        if is_held
        if p[-1] == "sublayer"
    }
    assert found == stay
    units = ResizeConfig(**limits).units
    moved = {path[-1] for path, is_held in unmoved.items() if not is_held}
    assert moved - {"sublayer"} == set(units) & set(KINDS)


@pytest.mark.parametrize(
    "seams", [("resize.first_step", "4"), ("resize.first_step", "9")], ids=str
)
def test_the_price_is_found_along_the_budgets_of_the_seams(seams):
    own = ("objective.budget", "40%"), ("train.num_steps", "30"), seams
    own += ("resize.every_steps", "4"), ("resize.max_seams", "4")
    blueprint = make_stage(*STAGE, *own).blueprint
    schedule = make_step_context(blueprint).budget_schedule
    starts, steps = blueprint.start_sizes, blueprint.run.seam_steps
    here = SimpleNamespace(run=blueprint.run, start_sizes=starts, sizes=starts)
    assert len(steps) == 4
    assert schedule(0) == 1.0
    for index, step in enumerate(steps):
        (target,) = budget_at(here, index)
        assert schedule(step) == pytest.approx(target, rel=1e-6)
        here.sizes = {"params": target * starts["params"]}
    assert [schedule(step) for step in (steps[-1], 29)] == pytest.approx([0.4, 0.4])
    falls = np.diff([float(schedule(step)) for step in range(steps[-1] + 1)])
    assert (falls < 0).all()
