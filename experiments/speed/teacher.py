"""What a teacher costs in a step, and what is left of it when its outcomes are kept.

Run: python experiments/speed/teacher.py [--rounds=8] [--json]

The student is the model of step.py, and so is the teacher. `kept` is the step with the
teacher's k most probable tokens in the batch, against the one that asks it.
"""

import dataclasses

from paired import compare, make_parser, race, write
from step import BATCH, LENGTH, SHAPE, make_run

from slimjax.train.devices import prepare_devices

TOP_K = (16, 64)


def main() -> None:
    flags = make_parser("Cost of a teacher", rounds=8).parse_args()
    prepare_devices()
    contenders = {"alone": make_step(None)}
    contenders |= {f"kept {k}": make_step(k) for k in (0, *TOP_K)}
    seconds = race(contenders, flags.rounds)
    asked = seconds.pop("kept 0")
    result = {"no teacher": compare(seconds["alone"], asked)}
    result |= {f"kept {k}": compare(seconds[f"kept {k}"], asked) for k in TOP_K}
    peer = {"peer_name": "a teacher of the same shape in the step"}
    write(
        "teacher",
        {name: peer | row for name, row in result.items()},
        as_json=flags.json,
    )


def make_step(top_k: int | None):
    """Returns a function that takes one step; with None there is no teacher."""
    import jax
    import numpy as np

    from slimjax.distill import Teacher
    from slimjax.run.blueprints import expected_blueprint
    from slimjax.train.stage import make_stage
    from slimjax.train.state import init_params

    run = make_run("bfloat16")
    if top_k is not None:
        distill = dataclasses.replace(run.distill, teacher="runs/dense", top_k=top_k)
        run = dataclasses.replace(run, distill=distill)
    stage = make_stage(expected_blueprint(run))
    model = stage.blueprint.model
    draw = np.random.default_rng(0)
    batch = {"tokens": draw.integers(3, SHAPE["vocab"], (BATCH, LENGTH), np.int32)}
    if top_k is not None:
        weights = jax.device_get(init_params(model, 1))
        stage = stage.taught_by(Teacher.of(model, weights))
    if top_k:
        batch |= draw_outcomes(draw, top_k)
    holder = {"state": stage.start(init_params(model, 0))}
    batch, train_step = stage.put(batch), stage.step_at(0)

    def step() -> None:
        holder["state"], metrics = train_step(holder["state"], batch)
        jax.block_until_ready(metrics)

    return step


def draw_outcomes(draw, top_k: int) -> dict:
    """Returns the outcomes of random logits for a batch."""
    import jax
    import jax.numpy as jnp

    from slimjax.distill.outcomes import find_outcomes

    logits = jnp.asarray(draw.normal(size=(BATCH * LENGTH, SHAPE["vocab"])))
    found = jax.device_get(find_outcomes(logits, top_k))._asdict()
    return {name: x.reshape(BATCH, LENGTH, -1) for name, x in found.items()}


if __name__ == "__main__":
    main()
