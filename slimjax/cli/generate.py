"""``slimjax generate``."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from slimjax.cli.flags import Parser, make_parser, parse, print_json
from slimjax.errors import ConfigError, DataError, suggest
from slimjax.generate.options import DEFAULTS, Options, check_prompt
from slimjax.paths import printable, user_path

STDIN = "-"


def main(argv: Sequence[str]) -> None:
    """Writes text after a prompt, as it is made; or after many prompts at once."""
    flags = parse(_make_parser(), argv).flags
    options, prompts = _read_options(flags), _read_prompts(flags)
    from slimjax.generate.check import check_generates
    from slimjax.generate.model import load
    from slimjax.train.devices import prepare_devices

    check_generates(flags.workdir)
    prepare_devices()
    model = load(flags.workdir)
    is_streamed = len(prompts) == options.num_samples == 1 and not flags.json
    if not is_streamed or flags.prompts_file is not None:
        texts = model.generate(prompts, **vars(options))
        shown = [""] * len(prompts) if options.chat and not flags.json else prompts
        _show(shown, texts, options.num_samples, as_json=flags.json)
        return
    pieces = model.stream(prompts[0], options)
    first = next(pieces)  # What cannot be done is refused before a word is written.
    _write(first if options.chat else prompts[0] + first)
    for piece in pieces:
        _write(piece)
    _write("\n")


def _make_parser() -> Parser:
    parser = make_parser(
        "generate",
        "Writes the text that a run's model adds to a prompt, up to the end of text.",
        "slimjax generate --workdir=runs/demo --prompt='def ' --temperature=0.7",
    )
    add = parser.add_argument
    add("--workdir", required=True, help="the run folder")
    add("--prompt", help="the text to continue")
    add("--prompt_file", help="a UTF-8 file that is one prompt; - reads stdin")
    add("--prompts_file", help="a UTF-8 file with one prompt per line; - reads stdin")
    add("--max_new_tokens", type=int, default=DEFAULTS.max_new_tokens)
    add("--num_samples", type=int, default=1, help="texts for each prompt")
    add("--stop", action="append", default=[], help="end before this text; repeatable")
    add("--temperature", type=float, default=DEFAULTS.temperature, help="0: greedy")
    add("--top_k", type=int, default=DEFAULTS.top_k, help="0: off")
    add("--top_p", type=float, default=DEFAULTS.top_p, help="1: off")
    add(
        "--chat",
        action="store_true",
        help="the prompt is a message, in the chat template of a pretrained model",
    )
    add("--seed", type=int, default=DEFAULTS.seed)
    add(
        "--weights",
        default=DEFAULTS.weights,
        help="float32, bfloat16 or int8 (fewer bytes, more tokens per second); by "
        "default the dtype of the model",
    )
    return parser


def _read_options(flags: argparse.Namespace) -> Options:
    """Returns how to write.

    Raises:
        ConfigError: If a flag is out of range.
    """
    names = vars(DEFAULTS)
    options = Options(**{name: getattr(flags, name) for name in names})
    if options.weights:
        from slimjax.nn.frozen import FORMATS

        if options.weights not in FORMATS:
            hint = suggest(options.weights, FORMATS)
            raise ConfigError(f"--weights={options.weights!r} is unknown. {hint}")
    return options


def _read_prompts(flags: argparse.Namespace) -> list[str]:
    """Returns the prompts that one of three flags gives.

    Raises:
        ConfigError: If it is not exactly one of them, or no UTF-8.
        DataError: If a file cannot be read.
    """
    given = [flags.prompt, flags.prompt_file, flags.prompts_file]
    if sum(value is not None for value in given) != 1:
        raise ConfigError(
            "slimjax generate needs --prompt, --prompt_file or --prompts_file, and "
            "one of them only."
        )
    if flags.prompt is not None:
        return [check_prompt(flags.prompt)]
    if flags.prompt_file is not None:
        text = _read_text(flags.prompt_file, "--prompt_file")
        return [text.removesuffix("\n").removesuffix("\r")]
    lines = _read_text(flags.prompts_file, "--prompts_file").split("\n")
    lines = lines[:-1] if lines[-1] == "" else lines
    if not lines:
        raise DataError(
            f"--prompts_file={flags.prompts_file} is empty; write one prompt per line."
        )
    return [line.removesuffix("\r") for line in lines]


def _read_text(name: str, flag: str) -> str:
    """Returns the text of a file or of stdin, without a byte order mark."""
    where = f"{flag}={printable(name)}"
    try:
        if name == STDIN:
            content = sys.stdin.buffer.read()
        else:
            content = user_path(name, flag).read_bytes()
        return content.decode("utf-8").removeprefix("\ufeff")
    except OSError as error:
        raise DataError(f"{where} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where} is not UTF-8 at byte {error.start}; convert it first, as with "
            "iconv -t UTF-8."
        ) from error


def _show(
    prompts: list[str], texts: list[str], num_samples: int, *, as_json: bool
) -> None:
    """Prints all texts, each after its prompt."""
    repeated = [prompt for prompt in prompts for _ in range(num_samples)]
    pairs = list(zip(repeated, texts, strict=True))
    if as_json:
        results: list[Any] = [{"prompt": p, "text": t} for p, t in pairs]
        print_json({"results": results})
        return
    for prompt, text in pairs:
        _write(f"{prompt}{text}\n---\n")


def _write(text: str) -> None:
    """Writes a piece of text at once."""
    sys.stdout.write(text)
    sys.stdout.flush()
