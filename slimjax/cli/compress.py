"""``slimjax compress``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from slimjax.cli.flags import Parser, make_parser, parse, print_json
from slimjax.errors import ConfigError

if TYPE_CHECKING:
    from slimjax.compress.config import Request


def main(argv: Sequence[str]) -> None:
    """Makes a finished model smaller, and prints what that costs."""
    parser = make_parser(
        "compress",
        "Makes a finished or imported model small enough for one budget or several: "
        "cuts what costs least once the rest has taken over, refits the rest by least "
        "squares, and rounds it by second order. Calibrates on the training split of "
        "--data, measures on its validation split and on each --also, and writes a "
        "run folder for each budget. --config.a.b=VALUE sets bits, groups, limits and "
        "the rest.",
        "slimjax compress --model=runs/demo --data='text:books/*.txt' --size=params "
        "--budget=90%,80% --workdir=runs/slim",
    )
    _add_flags(parser)
    parsed = parse(parser, argv, config=True)
    flags = parsed.flags
    request = _make_request(flags, parsed.overrides)
    if request.data in request.also:
        raise ConfigError(f"--also={request.data} is --data itself. Leave it out.")
    from slimjax import report
    from slimjax.compress.describe import table
    from slimjax.compress.pipeline import compress
    from slimjax.run.progress import Display
    from slimjax.train.devices import prepare_devices

    prepare_devices()
    with Display(quiet=flags.json) as display:
        for note in request.notes:
            display.say(f"note: {note}")
        reports = compress(request, display.prepare)
    for budget in request.targets:
        folder = request.folder_of(budget)
        report.write_report([report.read_run(folder)], folder / "report.html")
    if flags.json:
        print_json({"results": reports})
        return
    print("\n".join(table(reports)))


def _add_flags(parser: Parser) -> None:
    parser.add_argument("--model", required=True, help="folder of the model's run")
    parser.add_argument(
        "--data", required=True, help="text to calibrate and measure on"
    )
    parser.add_argument(
        "--also", action="append", default=[], help="another text to measure on"
    )
    parser.add_argument(
        "--size",
        default="bytes",
        help="what is counted: bytes, params, flops, kv_bytes, or gguf_bytes, those "
        "of the GGUF file that is exported",
    )
    parser.add_argument(
        "--budget", default="", help="largest size, or several: 50M,35M or 80%%"
    )
    parser.add_argument(
        "--workdir", required=True, help="the new run folder, or folders"
    )
    parser.add_argument(
        "--type", default="", help="of gguf_bytes: F32, F16, Q8_0, Q4_0 or Q4_1"
    )
    parser.add_argument(
        "--skip_speed", action="store_true", help="do not time how fast it writes"
    )
    parser.add_argument("--rows", type=int, default=240, help="rows to calibrate on")
    parser.add_argument(
        "--slope_rows", type=int, default=48, help="rows that gradients are taken of"
    )
    parser.add_argument(
        "--error_rows", type=int, default=36, help="rows that errors are measured on"
    )
    parser.add_argument(
        "--seams", type=int, default=1, help="cuts on the way to a budget"
    )
    parser.add_argument(
        "--heal_steps", type=int, default=0, help="steps of learning from the original"
    )
    parser.add_argument(
        "--vocabulary",
        default="keep",
        help="rows of the vocabulary: keep, or price, so that they may go too",
    )


def _make_request(flags: Any, overrides: list[tuple[str, str]]) -> "Request":
    from slimjax.compress.config import Request

    return Request(
        model=flags.model,
        data=flags.data,
        workdir=flags.workdir,
        budgets=tuple(part.strip() for part in flags.budget.split(",") if flags.budget),
        size=flags.size,
        also=tuple(flags.also),
        num_rows=flags.rows,
        num_slope_rows=flags.slope_rows,
        num_error_rows=flags.error_rows,
        num_seams=flags.seams,
        heal_steps=flags.heal_steps,
        kind=flags.type,
        times_decoding=not flags.skip_speed,
        vocabulary=flags.vocabulary,
        overrides=tuple(overrides),
    )
