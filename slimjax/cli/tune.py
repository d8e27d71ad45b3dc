"""``slimjax tune``."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slimjax.cli.flags import Parsed, Parser, make_parser, parse, print_json
from slimjax.cli.workers import add_lease, add_workers, divide, hand_over, is_submitted
from slimjax.config import override, read_config
from slimjax.errors import ConfigError
from slimjax.paths import printable, user_path

FLAGS: dict[str, tuple[Any, Any, str]] = {
    "points": (int, 10, "number of sizes"),
    "folds": (int, 3, "parts for cross-validation; 1 for one validation split"),
    "sizes": (str, "", "the sizes themselves, the largest first: 24e3,16e3,10e3"),
    "smallest": (str, "10%", "the smallest of --points sizes"),
    "cost": (float, 3.0, "FLOPs of a fold, in dense runs of the config"),
    "rule": (
        str,
        "",
        "description_length (for text), one_standard_error (for tasks), alpha=A, "
        "error_within=2%%, size_below=2M or knee",
    ),
    "refit": (str, "chosen", "chosen, or none: train the chosen size on all folds"),
    "compare": (str, "none", "none, or scratch: fresh models of the same sizes"),
}
"""Type, default and words of each flag."""


def main(argv: Sequence[str]) -> None:
    """Walks a path through sizes in each fold; prints which size is worth its price."""
    parser, divided = _make_parser(), divide(argv)
    parsed = parse(parser, divided.argv, config=True)
    flags, root = parsed.flags, user_path(parsed.flags.workdir, "--workdir")
    if is_submitted(flags, divided):
        _prepare(root, parsed)
        hand_over("tune", divided, flags, root)
        return
    content, chosen = _run(root, parsed) if flags.config else _read(root, flags)
    from slimjax.tune.answer import answer

    found = answer(content, flags.rule or content["rule"])
    _show(root, content, found, chosen, as_json=flags.json)


def _make_parser() -> Parser:
    parser = make_parser(
        "tune",
        "Finds out how much size is worth: one warm-started path through sizes in "
        "each fold, a rule that chooses one of them, and a model of that size from "
        "all folds. The same command continues a tune that was interrupted, and "
        "several processes or hosts that share DIR share the work. Without --config "
        "another --rule is asked of a finished DIR, and nothing is trained. "
        "--config.a.b=VALUE changes a setting.",
        "slimjax tune --config=configs/quickstart.py --workdir=runs/tune\n"
        "  slimjax tune --workdir=runs/tune --rule=error_within=2%",
    )
    parser.add_argument("--config", help="a config file, or the name of a recipe")
    parser.add_argument("--workdir", required=True, help="the folder of the tune")
    for name, (kind, default, words) in FLAGS.items():
        parser.add_argument(f"--{name}", type=kind, default=default, help=words)
    add_lease(parser)
    add_workers(parser)
    return parser


def _request(flags: Any):
    from slimjax.tune.request import Request

    return Request(**{name: getattr(flags, name) for name in FLAGS})


def _read(root: Path, flags: Any) -> tuple[dict[str, Any], str]:
    """Returns what a finished folder holds, and the folder of a model that it has."""
    from slimjax.report.tune_table import read_tune
    from slimjax.tune.curve import RESULT
    from slimjax.tune.rules import parse_rule

    if flags.rule:
        parse_rule(flags.rule)
    if not (root / RESULT).is_file():
        is_begun = (root / "plan.json").is_file()
        state = "is not finished" if is_begun else "holds no tune"
        raise ConfigError(f"--workdir={root} {state}. Name its --config to train.")
    return read_tune(root), ""


def _prepare(root: Path, parsed: Parsed) -> Any:
    """Checks all that is asked for, and says what a user should know."""
    from slimjax.run.progress import Display
    from slimjax.train.config import make_run_config
    from slimjax.train.devices import prepare_devices
    from slimjax.tune.fresh import check_even
    from slimjax.tune.preparing import prepare

    if not parsed.flags.config:
        raise ConfigError("--submit needs --config: without it nothing is trained.")
    request = _request(parsed.flags)
    config = override(read_config(parsed.flags.config), parsed.overrides)
    if request.compare != "none":
        check_even(make_run_config(config))
    prepare_devices()
    with Display() as display:
        prepared = prepare(config, request, root, display)
        for line in (*prepared.lines, *prepared.notes):
            display.say(line)
    return prepared


def _run(root: Path, parsed: Parsed) -> tuple[dict[str, Any], str]:
    """Trains what is not finished yet; returns the result and the chosen model."""
    from slimjax.run.signals import exit_at_once
    from slimjax.tune.answer import answer
    from slimjax.tune.claims import parse_lease
    from slimjax.tune.curve import CHOSEN
    from slimjax.tune.tuning import Tuner

    lease_s = parse_lease(parsed.flags.lease)
    prepared = _prepare(root, parsed)
    tuner = Tuner(prepared, root, lease_s=lease_s, at_second_signal=exit_at_once)
    content = tuner.walk_folds()
    if prepared.request.refit == "none":
        return content, ""
    number = answer(content, content["rule"]).number
    walk = tuner.refit(number)
    runs = walk.flops() / prepared.facts.run_flops
    tuner.say(
        f"{CHOSEN}: trained on all folds, for {runs:.2f} dense runs of the config"
    )
    return content, CHOSEN


def _find_model(root: Path, content: dict[str, Any], found: Any) -> str:
    """Returns the folder of a model of the chosen size; the one of all folds if any."""
    from slimjax.tune.answer import answer
    from slimjax.tune.curve import CHOSEN

    point = found.point["name"]
    is_there = (root / CHOSEN / "report.json").is_file()
    if is_there and answer(content, content["rule"]).point["name"] == point:
        return CHOSEN
    return f"fold0/{point}"


def _show(root: Path, content: Any, found: Any, chosen: str, *, as_json: bool) -> None:
    from rich.console import Console

    from slimjax import report
    from slimjax.tune.answer import describe_end, list_answers

    chosen = chosen or _find_model(root, content, found)
    stream = sys.stderr if as_json else sys.stdout
    console = Console(file=stream, highlight=False, soft_wrap=True)
    report.print_tune(content, console)
    for sentence in found.sentences:
        report.print_line(console, sentence)
    answers = list_answers(content)
    page = root / "tune.html"
    command = describe_end(printable(root), chosen, content["task"])
    report.write_tune(content, found.as_dict(), answers, command, page)
    report.print_line(console, f"report: {page}")
    report.print_line(console, f"use it: {command}")
    if as_json:
        print_json(content | {"answer": found.as_dict()})
