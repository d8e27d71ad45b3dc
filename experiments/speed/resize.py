"""What a seam and a price cost: the step of a cut model, and a step with a price.

Run: python experiments/speed/resize.py [--rounds=25] [--json]

The model is that of step.py. `after a seam` is the step of a model that was cut to half
its MLP and heads, against the same shape built fresh. `price` is the step of
size_penalty against that of a plain AdamW, `gates` that of exchange, which follows the
gates' moments, and `width` that of exchange with the channels of the residual stream
among its units.
"""

from paired import compare, make_parser, race, write
from step import make_run, make_step, repeat

from slimjax.train.devices import prepare_devices


def main() -> None:
    flags = make_parser("Cost of a seam and of a price", rounds=25).parse_args()
    prepare_devices()
    cut, fresh = cut_and_fresh()
    contenders = {"cut": cut, "fresh": fresh, "plain": make_step("bfloat16")}
    units = ("kv_heads", "mlp", "embed")
    for name, strategy, more in (
        ("price", "size_penalty", {}),
        ("gates", "exchange", {}),
        ("width", "exchange", {"resize__units": units}),
    ):
        more |= dict(objective__strategy=strategy, objective__alpha=0.1)
        more |= dict(resize__every_steps=10)
        contenders[name] = make_step("bfloat16", **more)
    seconds = race(contenders, flags.rounds)
    result = {"after a seam": compare(seconds["cut"], seconds["fresh"])}
    for name in ("price", "gates", "width"):
        result[name] = compare(seconds[name], seconds["plain"])
    write("resize", result, as_json=flags.json)


def cut_and_fresh() -> tuple:
    """Returns steps of a model that was cut, and of a fresh one of its shape."""
    from slimjax.resize import make_plan
    from slimjax.run.blueprints import expected_blueprint
    from slimjax.train.cutting import cut_state
    from slimjax.train.stage import make_stage
    from slimjax.train.state import init_params

    run = make_run("bfloat16")
    stage = make_stage(expected_blueprint(run))
    closed = stage.blueprint.inventory.open_gates()
    for path, gate in closed.items():
        if path[-1] in ("mlp", "kv_heads"):
            gate[::2] = 0.0
    state = stage.start(init_params(stage.blueprint.model, 0))
    small, small_state = cut_state(stage, state, closed, make_plan(closed))
    fresh = make_stage(expected_blueprint(run, small.blueprint.model))
    fresh_state = fresh.start(init_params(small.blueprint.model, 0))
    return repeat(small, small_state), repeat(fresh, fresh_state)


if __name__ == "__main__":
    main()
