"""How the size of a model was shared out among its towers, at the start and the end."""

from typing import Any

from slimjax.objective.towers import sizes_by_tower
from slimjax.run.blueprints import make_model
from slimjax.store.run_folder import LOGGED
from slimjax.train.blueprint import Blueprint


def describe_towers(blueprint: Blueprint) -> dict[str, Any]:
    """Returns ``towers``, sizes by tower; nothing for a model of one tower of texts.

    Args:
        blueprint: That of the finished model.
    """
    model, run = blueprint.model, blueprint.run
    if len(model.towers) == 1 and model.main.picture is None:
        return {}
    outline = blueprint.outline
    start = Blueprint(run, blueprint.task, make_model(run, outline), outline)
    names = [tower.name for tower in model.towers]
    before, after = (
        sizes_by_tower(b.inventory, names, b.bits, run.quantize.group_size)
        for b in (start, blueprint)
    )
    rows = {
        name: {LOGGED[m]: value for m, value in own.items()}
        | {f"{LOGGED[m]}_start": value for m, value in before[name].items()}
        for name, own in after.items()
    }
    return {"towers": rows}
