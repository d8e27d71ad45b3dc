"""A nested family: one set of weights, trained at four widths at once.

Run: python experiments/tune/nested.py [--workdir=runs/tune] [--corpus=NAME=SOURCE]

The sandwich rule: each step descends the mean loss of the widest, the narrowest and one
of the two widths between. Widths are the first heads, hidden units and channels. The
family spends what the path of fold 0 has spent, and is compared with its models, which
run.py leaves in the workdir. Its sizes are counted at 8 bits, and
its errors are those of weights that are not rounded, which is in its favour.
"""

import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import recipe

from slimjax.metrics.frontier import find_corner, hypervolume
from slimjax.objective.inventory import uniform_bits
from slimjax.run.blueprints import make_blueprint
from slimjax.run.evaluate import evaluate
from slimjax.store.files import read_json, write_json
from slimjax.tasks import get
from slimjax.tasks.error import make_error_fn
from slimjax.train.blueprint import Blueprint
from slimjax.train.config import make_run_config
from slimjax.train.devices import prepare_devices
from slimjax.train.stage import make_stage
from slimjax.trees import unflatten

WIDTHS, BITS = (1.0, 0.67, 0.45, 0.3), 8
DECAY = 0.4


def main() -> None:
    flags = recipe.make_parser(__doc__).parse_args()
    prepare_devices()
    for name, source in recipe.list_corpora(flags):
        content = read_json(recipe.RESULTS / f"{name}-tune.json")
        config = recipe.make_config(source, flags.num_steps)
        config["data"] |= {"num_folds": recipe.FOLDS, "fold": 0}
        config["objective"] |= {"strategy": "none", "budget": ""}
        config["quantize"] = {"bits": [16]}
        points = train(make_run_config(config), content["spent"][0])
        path = read_path(flags.workdir / name, len(content["points"]))
        corner = find_corner([path, points])
        result = {
            "corpus": name,
            "nested": points,
            "hypervolume_nested": hypervolume(points, corner),
            "hypervolume_path": hypervolume(path, corner),
        }
        write_json(recipe.RESULTS / f"{name}-nested.json", result)


def read_path(root: Path, num_points: int) -> list[tuple[float, float]]:
    """Returns size and held-out bits per byte of the path's models of fold 0.

    The family is trained and measured on that fold alone.
    """
    found = []
    for k in range(num_points):
        report = read_json(root / "fold0" / f"point{k}" / "report.json", dict)
        bits = report["error"]["valid_bits_per_byte"]
        found.append((float(report["size"]["packed_file_bytes"]), bits))
    return found


def train(run: Any, flops: float) -> list[tuple[float, float]]:
    """Returns size and held-out bits per byte of each width.

    Args:
        run: The config, dense.
        flops: What all steps may spend, 3 x forward.
    """
    data = get(run.task).load(run.data, head=run.head)
    blueprint = make_blueprint(run, data.outline)
    stage = make_stage(blueprint)
    gates = [gates_at(blueprint, width) for width in WIDTHS]
    sizes = {m: blueprint.size_fn(m) for m in ("flops", "bytes")}
    bits = uniform_bits(blueprint.inventory, BITS)
    forward = [float(sizes["flops"](own, bits)) for own in gates]
    middle = (forward[1] + forward[2]) / 2
    of_step = 3 * blueprint.targets_per_step * (forward[0] + middle + forward[-1])
    params = descend(run, blueprint, stage, data, gates, int(flops / of_step))
    found = []
    for own in gates:
        variables = stage.place({"params": params, "gates": as_tree(own)})
        result = evaluate(stage, stage.unrounded(variables), data, "valid")
        size = float(sizes["bytes"](own, bits))
        found.append((size, result.metrics["bits_per_byte"]))
    return found


def descend(run, blueprint, stage, data, gates, num_steps: int) -> Any:
    """Returns the weights after so many steps of the sandwich rule."""
    error_fn = make_error_fn(blueprint.task, blueprint.model)
    rate = optax.schedules.join_schedules(
        [
            optax.linear_schedule(0.0, run.optim.learning_rate, run.optim.warmup_steps),
            optax.constant_schedule(run.optim.learning_rate),
            optax.linear_schedule(run.optim.learning_rate, 0.0, int(DECAY * num_steps)),
        ],
        [run.optim.warmup_steps, num_steps - int(DECAY * num_steps)],
    )
    tx = optax.chain(
        optax.clip_by_global_norm(run.optim.clip_norm),
        optax.adamw(rate, b2=run.optim.beta2, weight_decay=run.optim.weight_decay),
    )
    trees = [as_tree(own) for own in gates]

    def loss(params, batch, middle):
        losses = [
            error_fn({"params": params, "gates": own}, batch)[0]
            for own in (trees[0], middle, trees[-1])
        ]
        return sum(losses) / len(losses)

    @jax.jit
    def step(params, state, batch, middle):
        slopes = jax.grad(loss)(params, batch, middle)
        updates, state = tx.update(slopes, state, params)
        return optax.apply_updates(params, updates), state

    params = jax.device_get(stage.fresh().params["params"])
    state = tx.init(params)
    for number in range(num_steps):
        batch = data.training_batch(number, run.data.batch_size, run.seed)
        params, state = step(params, state, batch, trees[1 + number % 2])
    return jax.device_get(params)


def gates_at(blueprint: Blueprint, width: float) -> dict[tuple, np.ndarray]:
    """Returns gates whose first units are open, by path; sublayers stay."""
    gates = blueprint.inventory.open_gates()
    for gate in gates.values():
        if gate.ndim:
            gate[math.ceil(width * len(gate)) :] = 0.0
    return gates


def as_tree(gates: dict[tuple, np.ndarray]) -> Any:
    return unflatten({path: gate.astype(np.float32) for path, gate in gates.items()})


if __name__ == "__main__":
    main()
