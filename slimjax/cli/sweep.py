"""``slimjax sweep``."""

import sys
from collections.abc import Sequence
from pathlib import Path

from slimjax.cli.flags import Parser, add_config, make_parser, parse, print_json
from slimjax.cli.workers import add_lease, add_workers, divide, hand_over, is_submitted
from slimjax.config import override, read_config
from slimjax.errors import ConfigError, NotFeasibleError
from slimjax.paths import user_path

PAPER_WIDTH = 150  # Characters per line where there is no terminal.


def main(argv: Sequence[str]) -> None:
    """Runs a grid of settings with several seeds; prints means and intervals."""
    parser, divided = _make_parser(), divide(argv)
    parsed = parse(parser, divided.argv, config=True)
    flags, workdir = parsed.flags, user_path(parsed.flags.workdir, "--workdir")
    from slimjax.tune.claims import parse_lease

    plan = _make_plan(flags, parsed.overrides)
    lease_s = parse_lease(flags.lease)
    if is_submitted(flags, divided):
        from slimjax.tune.sweep import check_settings

        check_settings(plan, workdir)
        hand_over("sweep", divided, flags, workdir)
        return
    from slimjax.train.devices import prepare_devices

    prepare_devices()
    _sweep(plan, workdir, lease_s, as_json=flags.json)


def _make_parser() -> Parser:
    parser = make_parser(
        "sweep",
        "Runs every combination of the grids' values with several seeds, one run after "
        "the other; the same command continues a sweep that was interrupted, and "
        "several processes or hosts that share DIR share the work. Values are JSON or "
        "bare words; --config.a.b=VALUE changes a setting for all. With --equal=flops "
        "each arm trains as many steps as spend what the first one spends, its warm-up "
        "and seams scaled in proportion. With --halving=3 all arms train to a ninth of "
        "their steps, the best third of them to a third, and the best third of those "
        "to the end.",
        "slimjax sweep --config=configs/quickstart.py --workdir=runs/strategies \\\n"
        "    --grid='objective.strategy=exchange,size_penalty' \\\n"
        '    --grid=\'objective.budget="30%","49%"\' --seeds=3',
    )
    add_config(parser)
    parser.add_argument("--workdir", required=True, help="the folder of the sweep")
    parser.add_argument(
        "--grid", action="append", default=[], help="SETTING=VALUE,VALUE; repeatable"
    )
    parser.add_argument(
        "--seeds", type=int, default=3, help="runs per arm, from config.seed on"
    )
    parser.add_argument("--equal", default="steps", help="steps, or flops")
    parser.add_argument(
        "--halving", type=int, help="leave arms out on the way; of how many one goes on"
    )
    parser.add_argument(
        "--metric",
        default="",
        help="what --halving ranks by, such as valid_bits_per_byte; by default the "
        "task's headline metric",
    )
    add_lease(parser)
    add_workers(parser)
    return parser


def _make_plan(flags, overrides):
    from slimjax.tune.arms import list_seeds, make_arms
    from slimjax.tune.grid import parse_axis
    from slimjax.tune.halving import Halving
    from slimjax.tune.sweep import Plan

    config = override(read_config(flags.config), overrides)
    arms = make_arms(config, [parse_axis(text) for text in flags.grid])
    if flags.metric and flags.halving is None:
        raise ConfigError("--metric is what --halving ranks by. Give both, or none.")
    has_rounds = flags.halving is not None
    halving = Halving(flags.halving, flags.metric) if has_rounds else None
    return Plan(tuple(arms), list_seeds(config, flags.seeds), flags.equal, halving)


def _sweep(plan, workdir: Path, lease_s: float, *, as_json: bool) -> None:
    from rich.console import Console

    from slimjax import report
    from slimjax.run.signals import exit_at_once
    from slimjax.tune.sweep import sweep

    result = sweep(plan, workdir, lease_s=lease_s, at_second_signal=exit_at_once)
    trials = [trial for arm in result["arms"] for trial in arm["trials"]]
    for trial in (t for t in trials if t["state"] == "finished"):
        page = workdir / trial["name"] / "report.html"
        if not page.is_file():
            report.write_report([report.read_run(page.parent)], page)
    stream = sys.stderr if as_json else sys.stdout
    width = None if stream.isatty() else PAPER_WIDTH
    console = Console(file=stream, highlight=False, width=width)
    report.print_sweep(result, console)
    files = report.write_sweep(result, workdir / "sweep.html")
    report.print_line(console, f"report: {files[0]}")
    if as_json:
        print_json(result)
    failed = [trial["name"] for trial in trials if trial["state"] == "failed"]
    if failed:
        remedy = "The same command tries them again."
        if result["halving"]:
            remedy = "Their arms did not go on."
        raise NotFeasibleError(
            f"{len(failed)} of {len(trials)} runs failed: {', '.join(failed)}. {remedy}"
        )
