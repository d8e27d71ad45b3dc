"""Compile time against depth: 48 equal layers against 6, no cache.

Run: python experiments/speed/compile.py [--rounds=3] [--json]
"""

import os

from paired import compare, make_parser, race, write

os.environ["SLIMJAX_COMPILATION_CACHE"] = "0"

from slimjax.train.devices import prepare_devices


def main() -> None:
    flags = make_parser("Compile time against depth", rounds=3).parse_args()
    prepare_devices()
    contenders = {
        "48 layers": lambda: compile_step(48),
        "6 layers": lambda: compile_step(6),
    }
    seconds = race(contenders, flags.rounds)
    result = {
        "48 against 6": compare(seconds["6 layers"], seconds["48 layers"]),
    }
    write("compile", result, as_json=flags.json)


def compile_step(num_layers: int) -> None:
    """Compiles one training step, from nothing."""
    import jax
    from step import make_run

    from slimjax.run.blueprints import expected_blueprint
    from slimjax.train.stage import make_stage

    jax.clear_caches()
    run = make_run("bfloat16", model__num_layers=num_layers)
    assert make_stage(expected_blueprint(run)).programs.train_step


if __name__ == "__main__":
    main()
