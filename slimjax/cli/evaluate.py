"""``slimjax evaluate``."""

import math
from collections.abc import Sequence
from typing import Any

from slimjax.cli.flags import make_parser, parse, print_json
from slimjax.cli.unnamed_splits import note_train, refuse_trained
from slimjax.errors import ConfigError, suggest

SPLITS = ("valid", "test", "all")


def main(argv: Sequence[str]) -> None:
    """Prints the metrics of a run's model on validation, test or other data."""
    parser = make_parser(
        "evaluate",
        "Measures a run's model on its own test split or on other data, and writes "
        "metrics-SPLIT.json and, for tasks that answer examples, "
        "predictions-SPLIT.jsonl into the run folder.",
        "slimjax evaluate --workdir=runs/demo --data='text:books/*.txt'",
    )
    parser.add_argument("--workdir", required=True, help="the run folder")
    parser.add_argument("--data", help="other data, with labels if the task has some")
    parser.add_argument("--split", help="valid, test or all; all with --data")
    flags = parse(parser, argv).flags
    split = flags.split or ("all" if flags.data else "test")
    if split not in SPLITS:
        raise ConfigError(f"--split={split} is unknown. {suggest(split, SPLITS)}")
    if split == "all" and not flags.data:
        raise ConfigError(
            "--split=all would count training text; it needs --data=SOURCE."
        )
    refuse_trained(flags.workdir, flags.data)
    note_train("--data", flags.data)
    from slimjax.run.evaluate import evaluate_folder
    from slimjax.train.devices import prepare_devices

    prepare_devices()
    result = evaluate_folder(flags.workdir, source=flags.data, split=split)
    if flags.json:
        print_json(result)
        return
    domains, classes = result.pop("domains", []), result.pop("classes", [])
    for name, value in result.items():
        print(f"{name:16} {_show(value)}")
    for own in domains:
        name = own.pop("domain") or "no domain"
        facts = [f"{key} {_show(value)}" for key, value in own.items()]
        print(f"{name:16} {', '.join(facts)}")
    for own in classes:
        ends = own.pop("intervals")
        facts = [
            f"{key} {_show(value)}{_range(ends, key)}" for key, value in own.items()
        ]
        print(", ".join(facts))


def _range(ends: dict[str, list[float]], key: str) -> str:
    low, high = ends.get(key, (math.nan, math.nan))
    return "" if math.isnan(low) else f" ({low:.4f} to {high:.4f})"


def _show(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
