"""``slimjax tune``."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slimjax.cli.flags import Parsed, Parser, make_parser, parse, print_json
from slimjax.cli.workers import add_lease, add_workers, divide, hand_over, is_submitted
from slimjax.config import override, read_config
from slimjax.errors import ConfigError, NotFeasibleError
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
    from slimjax.tune.claims import parse_lease

    lease_s = parse_lease(flags.lease)
    if is_submitted(flags, divided):
        _prepare(root, parsed)
        hand_over("tune", divided, flags, root)
        return
    tuner = _make_tuner(root, parsed, lease_s) if flags.config else None
    content = _read(root, flags) if tuner is None else tuner.walk_folds()
    from slimjax.tune.answer import answer, describe_unmet
    from slimjax.tune.chosen import find_model

    rule = flags.rule or content["rule"]
    try:
        found = answer(content, rule)
    except NotFeasibleError as error:
        _show(root, content, describe_unmet(rule, error), None, as_json=flags.json)
        raise
    if tuner is not None and tuner.prepared.request.refit != "none":
        tuner.refit(found.number)
    model = find_model(root, content, found.number, printable(root))
    _show(root, content, found.as_dict(), model, as_json=flags.json)


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


def _read(root: Path, flags: Any) -> dict[str, Any]:
    """Returns what a finished folder holds."""
    from slimjax.report.tune_table import read_tune
    from slimjax.tune.curve import RESULT
    from slimjax.tune.rules import parse_rule

    if flags.rule:
        parse_rule(flags.rule)
    if not (root / RESULT).is_file():
        is_begun = (root / "plan.json").is_file()
        state = "is not finished" if is_begun else "holds no tune"
        raise ConfigError(f"--workdir={root} {state}. Name its --config to train.")
    return read_tune(root)


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


def _make_tuner(root: Path, parsed: Parsed, lease_s: float) -> Any:
    """Returns this process's part of a tune; trains nothing yet."""
    from slimjax.run.signals import exit_at_once
    from slimjax.tune.tuning import Tuner

    prepared = _prepare(root, parsed)
    return Tuner(prepared, root, lease_s=lease_s, at_second_signal=exit_at_once)


def _show(
    root: Path, content: Any, answered: dict[str, Any], model: Any, *, as_json: bool
) -> None:
    """Prints the answer, and writes the page.

    Args:
        root: The folder of the tune.
        content: What ``tune.json`` holds.
        answered: The answer as plain data.
        model: The `slimjax.tune.chosen.Model` of the chosen size; None without one.
        as_json: Whether stdout is to have one object.
    """
    from rich.console import Console

    from slimjax import report
    from slimjax.tune.answer import list_answers

    sentences, command = list(answered["sentences"]), ""
    if model is not None:
        sentences, command = [*sentences, model.sentence], model.command
    stream = sys.stderr if as_json else sys.stdout
    console = Console(file=stream, highlight=False, soft_wrap=True)
    report.print_tune(content, console)
    for sentence in sentences:
        report.print_line(console, sentence)
    page, told = root / "tune.html", answered | {"sentences": sentences}
    report.write_tune(content, told, list_answers(content), command, page)
    report.print_line(console, f"report: {page}")
    if command:
        report.print_line(console, f"use it: {command}")
    if as_json:
        found = None if model is None else dataclasses.asdict(model)
        print_json(content | {"answer": answered, "model": found})
