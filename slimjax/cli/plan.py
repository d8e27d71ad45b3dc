"""``slimjax plan``."""

from collections.abc import Sequence

from slimjax.cli.flags import add_config, make_parser, parse, print_json
from slimjax.config import override, read_config
from slimjax.errors import NotFeasibleError


def main(argv: Sequence[str]) -> None:
    """Compiles a run's step for a TPU slice that is not here, and prints its needs.

    Raises:
        NotFeasibleError: If it does not fit the chips; the plan is shown all the same.
    """
    parser = make_parser(
        "plan",
        "Compiles the train step of a config for a slice of TPU chips, without one, "
        "and prints its memory, its traffic and the least time it takes. Exit code 3 "
        "means that it does not fit. --config.a.b=VALUE overrides a setting.",
        "slimjax plan --config=configs/llama_8b.py --topology=v5p:4x4x4 --after=50%%",
    )
    add_config(parser)
    parser.add_argument("--topology", required=True, help="chips, such as v5p:8x8x8")
    parser.add_argument("--mesh", help="instead of config.mesh: data:64,model:8")
    parser.add_argument("--after", help="plan a uniform cut to this part too: 50%%")
    parser.add_argument(
        "--decode", type=int, help="also plan a step of decoding with so many rows"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="compile with the least effort: sooner, memory and traffic are rougher",
    )
    parsed = parse(parser, argv, config=True)
    flags = parsed.flags
    from slimjax.plan.topology import parse_topology, prepare_libtpu

    topology = parse_topology(flags.topology)
    prepare_libtpu(quick=flags.quick)
    from slimjax.plan.plan import make_plan, parse_mesh
    from slimjax.plan.slimmed import parse_part
    from slimjax.train.config import make_run_config

    part = parse_part(flags.after) if flags.after else None
    sizes = parse_mesh(flags.mesh) if flags.mesh else {}
    changes = [(f"mesh.{axis}", str(size)) for axis, size in sizes.items()]
    config = override(read_config(flags.config), [*parsed.overrides, *changes])
    plan = make_plan(make_run_config(config), topology, part, flags.decode)
    _show(plan, as_json=flags.json)


def _show(plan: dict, *, as_json: bool) -> None:
    from rich.console import Console

    from slimjax.plan.table import print_plan

    print_plan(plan, Console(stderr=as_json, highlight=False, soft_wrap=True))
    if as_json:
        print_json(plan)
    if "reason" in plan:
        advice = "; or ".join(plan["advice"]) or "take larger chips"
        raise NotFeasibleError(f"the step {plan['reason']}. What helps: {advice}.")
