"""``slimjax train``."""

import os
from collections.abc import Sequence
from pathlib import Path

from slimjax.cli.flags import add_config, make_parser, parse, print_json
from slimjax.config import override, read_config
from slimjax.errors import ConfigError
from slimjax.paths import user_path

MOST_SHOWN = 20
"""Classes that a dry run prints in words; ``--json`` has all of them."""


def main(argv: Sequence[str]) -> None:
    """Trains and slims a model, then writes its report and shows the closing table."""
    parser = make_parser(
        "train",
        "Trains a model and slims it on the way. The same command continues a run "
        "that was interrupted. --config.a.b=VALUE overrides a setting; a .py config is "
        "code and is run, so take only those that you trust.",
        "slimjax train --config=configs/text_file.py "
        "--config.data.source='text:books/*.txt' --workdir=runs/books",
    )
    add_config(parser)
    parser.add_argument("--workdir", help="the run folder")
    parser.add_argument(
        "--dry_run", action="store_true", help="print sizes and seams, train nothing"
    )
    parser.add_argument(
        "--allow_fresh_start",
        action="store_true",
        help="begin again where all checkpoints are damaged; they are moved aside",
    )
    parser.add_argument(
        "--coordinator_address", help="HOST:PORT of process 0, of several"
    )
    parser.add_argument("--num_processes", type=int, help="how many processes train")
    parser.add_argument("--process_id", type=int, help="which one this is, from 0")
    parsed = parse(parser, argv, config=True)
    flags = parsed.flags
    from slimjax.train.config import make_run_config
    from slimjax.train.devices import prepare_devices

    config = override(read_config(flags.config), parsed.overrides)
    run = make_run_config(config)
    prepare_devices()
    if flags.dry_run:
        _dry_run(run, as_json=flags.json)
        return
    if not flags.workdir:
        raise ConfigError("slimjax train needs --workdir=DIR, the folder of the run.")
    from slimjax.processes import find_cluster, joined

    cluster = find_cluster(
        os.environ,
        coordinator_address=flags.coordinator_address,
        num_processes=flags.num_processes,
        process_id=flags.process_id,
    )
    with joined(cluster):
        _train(run, user_path(flags.workdir, "--workdir"), flags)


def _train(run, workdir: Path, flags) -> None:
    from rich.console import Console

    from slimjax import report
    from slimjax.processes import is_first
    from slimjax.run.progress import Display
    from slimjax.run.signals import exit_at_once
    from slimjax.run.start import train

    with Display(quiet=not is_first()) as display:
        result = train(
            run,
            workdir,
            display=display,
            allow_fresh_start=flags.allow_fresh_start,
            at_second_signal=exit_at_once,
        )
    if not is_first():
        return
    finished = report.read_run(workdir)
    report.write_report([finished], workdir / "report.html")
    console = Console(stderr=flags.json, highlight=False)
    report.print_table(finished, console)
    if result["samples"]:
        sample = result["samples"][0]
        report.print_line(console, "A sample, the prompt first:", style="bold")
        report.print_line(console, sample["prompt"], style="dim", end="")
        report.print_line(console, sample["text"])
    report.print_line(console, f"report: {workdir / 'report.html'}")
    if flags.json:
        print_json(result)


def _dry_run(run, *, as_json: bool) -> None:
    """Prints what would be trained; compiles and writes nothing."""
    from slimjax.run.dry_run import describe

    plan = describe(run)
    if as_json:
        print_json(plan)
        return
    notes = plan.pop("notes", [])
    for name, value in [*plan.items(), *(("note", note) for note in notes)]:
        print(f"{name:28} {_show(value)}")


def _show(value: object) -> str:
    """Returns a value of the plan as people read it."""
    if isinstance(value, dict):
        parts = [f"{name} {_show(part)}" for name, part in value.items()]
        more = [f"{len(parts) - MOST_SHOWN:,} more"] * (len(parts) > MOST_SHOWN)
        return ", ".join(parts[:MOST_SHOWN] + more)
    if isinstance(value, float) and abs(value) < 100 and not value.is_integer():
        return f"{value:.3g}"
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)
