"""``slimjax sweep``."""

import sys
from collections.abc import Sequence
from pathlib import Path

from slimjax.cli.flags import make_parser, parse, print_json
from slimjax.config import override, read_config
from slimjax.errors import NotFeasibleError
from slimjax.paths import user_path

PAPER_WIDTH = 150  # Characters per line where there is no terminal.


def main(argv: Sequence[str]) -> None:
    """Runs a grid of settings with several seeds; prints means and intervals."""
    parser = make_parser(
        "sweep",
        "Runs every combination of the grids' values with several seeds, one run after "
        "the other; the same command continues a sweep that was interrupted, and "
        "several processes or hosts that share DIR share the work. Values are JSON or "
        "bare words; --config.a.b=VALUE changes a setting for all. With --equal=flops "
        "each arm trains as many steps as spend what the first one spends, its warm-up "
        "and seams scaled in proportion.",
        "slimjax sweep --config=configs/quickstart.py --workdir=runs/strategies \\\n"
        "    --grid='objective.strategy=exchange,size_penalty' \\\n"
        '    --grid=\'objective.budget="30%","49%"\' --seeds=3',
    )
    parser.add_argument(
        "--config", required=True, help="a config file, or the name of a recipe"
    )
    parser.add_argument("--workdir", required=True, help="the folder of the sweep")
    parser.add_argument(
        "--grid", action="append", default=[], help="SETTING=VALUE,VALUE; repeatable"
    )
    parser.add_argument(
        "--seeds", type=int, default=3, help="runs per arm, from config.seed on"
    )
    parser.add_argument("--equal", default="steps", help="steps, or flops")
    parser.add_argument(
        "--lease",
        default="10m",
        help="after how long the work of a process without a sign of life is taken "
        "over: 90s, 10m, 2h",
    )
    parsed = parse(parser, argv, config=True)
    flags = parsed.flags
    from slimjax.train.devices import prepare_devices
    from slimjax.tune.arms import list_seeds, make_arms
    from slimjax.tune.claims import parse_lease
    from slimjax.tune.grid import parse_axis
    from slimjax.tune.sweep import Plan

    config = override(read_config(flags.config), parsed.overrides)
    arms = make_arms(config, [parse_axis(text) for text in flags.grid])
    plan = Plan(tuple(arms), list_seeds(config, flags.seeds), flags.equal)
    lease_s, workdir = parse_lease(flags.lease), user_path(flags.workdir, "--workdir")
    prepare_devices()
    _sweep(plan, workdir, lease_s, as_json=flags.json)


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
        raise NotFeasibleError(
            f"{len(failed)} of {len(trials)} runs failed: {', '.join(failed)}. The "
            "same command tries them again."
        )
