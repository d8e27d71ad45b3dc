"""``slimjax predict``."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from slimjax.cli.flags import Parser, make_parser, parse, print_json
from slimjax.cli.streams import write_error
from slimjax.cli.unnamed_splits import note_train
from slimjax.errors import ConfigError, suggest
from slimjax.paths import user_path

if TYPE_CHECKING:
    from slimjax.predict.predictor import Predictor
    from slimjax.predict.source import Counts

READING = ("fields", "header", "delimiter", "quote", "encoding", "tfds_dir")
READING += ("image_dir",)
"""Settings of data that say how a file is read; they may differ from the run's."""


def main(argv: Sequence[str]) -> None:
    """Writes one line for each example, in order: its own fields and the answer."""
    parsed = parse(_make_parser(), argv, config=True)
    flags, changes = parsed.flags, _check_changes(parsed.overrides)
    _check_flags(flags)
    note_train("--input", flags.input)
    from slimjax.predict.formats import choose_format
    from slimjax.predict.predictor import open_predictor
    from slimjax.predict.source import Counts
    from slimjax.train.devices import prepare_devices

    prepare_devices()
    predictor = open_predictor(
        flags.workdir,
        batch_size=flags.batch_size,
        weights=flags.weights,
        reading=changes,
    )
    if flags.candidates is not None:
        from slimjax.predict.candidates import rank_among

        predictor = rank_among(predictor, flags.candidates, write_error)
    known = predictor.task.formats
    name = choose_format(flags.format, flags.output or "", known)
    if flags.output is None:
        counts = Counts()
        _print_lines(predictor, flags, name, counts)
        summary = {"examples": counts.examples, "bad": counts.bad}
        summary |= {"truncated": counts.truncated}
        if flags.json:
            print_json(summary)
        counts.check()
    else:
        _write_file(predictor, flags, name)


def _make_parser() -> Parser:
    parser = make_parser(
        "predict",
        "Answers examples with a run's model: one line out for each example in, in "
        "the same order, with the example's own fields. Labels are not needed. The "
        "same command continues a file that was interrupted.",
        "slimjax predict --workdir=runs/demo --input=csv:new.csv --output=new.jsonl",
    )
    add = parser.add_argument
    add("--workdir", required=True, help="the run folder")
    add("--input", help="a source, as in data.source; of text:GLOB, each line")
    add("--text", action="append", help="one example; repeatable")
    add("--candidates", help="texts to rank: a file of lines, .jsonl, .csv or SOURCE")
    add("--output", help="the file; by default lines go to stdout")
    add("--format", default="", help="jsonl, text, conll or squad; by the ending")
    add("--batch_size", type=int, default=32, help="rows computed together")
    add(
        "--weights",
        default="",
        help="float32, bfloat16 or int8; by default as the model has them",
    )
    add("--overwrite", action="store_true", help="replace --output where it exists")
    return parser


def _check_changes(overrides: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Returns changes of settings that say how files are read and answers written.

    Raises:
        ConfigError: If there are others.
    """
    from slimjax.generate.decode_config import DecodeConfig

    known = [f"data.{key}" for key in READING]
    known += [f"decode.{field.name}" for field in dataclasses.fields(DecodeConfig)]
    for name, _ in overrides:
        if name not in known:
            hint = suggest(name, known, prefix="config.")
            raise ConfigError(
                f"--config.{name} is not a setting of slimjax predict. {hint}"
            )
    return overrides


def _check_flags(flags: argparse.Namespace) -> None:
    if flags.input is not None and flags.text is not None:
        raise ConfigError("--input and --text are two inputs; give one of them.")
    if flags.input is None and flags.text is None and sys.stdin.isatty():
        raise ConfigError(
            "slimjax predict needs --input=SOURCE, --text=TEXT, or lines on stdin."
        )


def _print_lines(
    predictor: "Predictor", flags: argparse.Namespace, name: str, counts: "Counts"
) -> None:
    """Writes lines to stdout."""
    from slimjax.predict.formats import write_lines
    from slimjax.predict.source import predict_lines

    found = _read(predictor, flags)
    lines, fields = predict_lines(predictor, found, counts), predictor.config.fields
    write_lines(name, lines, sys.stdout.buffer, fields)
    sys.stdout.buffer.flush()


def _write_file(predictor: "Predictor", flags: argparse.Namespace, name: str) -> None:
    """Writes the file, and progress to stderr."""
    from slimjax.predict.source import predict_source, write_answers
    from slimjax.run.progress import Display

    output = user_path(flags.output, "--output")
    with Display() as display:
        options: dict[str, Any] = dict(name=name, overwrite=flags.overwrite)
        options["progress"] = display.count
        if flags.input is None:
            found = _read(predictor, flags)
            counts = write_answers(predictor, found, output, None, **options)
        else:
            counts = predict_source(predictor, flags.input, output, **options)
    summary = counts.describe() | {"output": flags.output}
    if flags.json:
        print_json(summary)
    else:
        print(counts.sentence(flags.output))
    counts.check()


def _read(predictor: "Predictor", flags: argparse.Namespace) -> Any:
    if flags.input is not None:
        return predictor.read_source(flags.input)
    if flags.text is not None:
        return predictor.read(map(_to_item, flags.text), "--text")
    return predictor.read(_read_stdin(), "stdin")


def _read_stdin() -> Iterator[Any]:
    """Yields the lines of stdin: texts, or objects where a line is one of JSON.

    Bytes that are not UTF-8 are passed on as they are, which is no example.
    """
    lines: Iterable[bytes] = sys.stdin.buffer
    for number, line in enumerate(lines):
        data = line.removesuffix(b"\n").removesuffix(b"\r")
        data = data.removeprefix(b"\xef\xbb\xbf") if number == 0 else data
        try:
            yield _to_item(data.decode("utf-8"))
        except UnicodeDecodeError:
            yield data


def _to_item(text: str) -> Any:
    """Returns the object that a line of JSON is, or the text itself."""
    if not text.startswith("{"):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text
