"""``slimjax generate``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slimjax.cli.flags import Parser, make_parser, parse, print_json
from slimjax.errors import ConfigError, DataError, suggest


def main(argv: Sequence[str]) -> None:
    """Writes text after a prompt, as it is made; or after many prompts at once."""
    flags = parse(_make_parser(), argv).flags
    _check(flags)
    prompts = [flags.prompt]
    if flags.prompts_file is not None:
        prompts = _read_prompts(flags.prompts_file)
    options = _read_options(flags)
    from slimjax.generate.model import load
    from slimjax.train.devices import prepare_devices

    prepare_devices()
    model = load(flags.workdir)
    if flags.prompts_file is not None or flags.json:
        _show(prompts, model.generate(prompts, **options), as_json=flags.json)
        return
    _write(prompts[0].encode())
    for piece in model.stream(prompts[0], **options):
        _write(piece)
    _write(b"\n")


def _make_parser() -> Parser:
    parser = make_parser(
        "generate",
        "Writes what a run's model says after a prompt, until the end of the text.",
        "slimjax generate --workdir=runs/demo --prompt='def ' --temperature=0.7",
    )
    parser.add_argument("--workdir", required=True, help="the run folder")
    parser.add_argument("--prompt", help="the text to go on from")
    parser.add_argument("--prompts_file", help="a UTF-8 file, one prompt a line")
    parser.add_argument("--max_new_tokens", type=int, default=128)
    parser.add_argument("--temperature", type=float, default=0.8, help="0 is greedy")
    parser.add_argument("--top_k", type=int, default=0, help="0 is off")
    parser.add_argument("--top_p", type=float, default=1.0, help="1 is off")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--weights",
        default="",
        help="float32, bfloat16 or int8 (fewer bytes, more tokens a second); by "
        "default the dtype of the model",
    )
    return parser


def _check(flags: argparse.Namespace) -> None:
    """Refuses what needs no model to be refused.

    Raises:
        ConfigError: Naming the flag.
    """
    if (flags.prompt is None) == (flags.prompts_file is None):
        raise ConfigError(
            "slimjax generate needs --prompt or --prompts_file, one only."
        )
    if flags.max_new_tokens < 1:
        raise ConfigError(f"--max_new_tokens={flags.max_new_tokens} must be 1 or more.")
    if not 0 <= flags.seed < 2**32:
        raise ConfigError(f"--seed={flags.seed} must be in [0, 2^32).")


def _read_options(flags: argparse.Namespace) -> dict[str, Any]:
    """Returns how to write.

    Raises:
        ConfigError: If a flag cannot be meant.
    """
    from slimjax.generate.sampling import Sampling
    from slimjax.nn.frozen import FORMATS

    if flags.weights and flags.weights not in FORMATS:
        hint = suggest(flags.weights, FORMATS)
        raise ConfigError(f"--weights={flags.weights!r} is unknown. {hint}")
    return {
        "max_new_tokens": flags.max_new_tokens,
        "sampling": Sampling(flags.temperature, flags.top_k, flags.top_p),
        "seed": flags.seed,
        "weights": flags.weights,
    }


def _read_prompts(path: str) -> list[str]:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--prompts_file={path} cannot be read: {error}.") from error
    if not lines:
        raise DataError(f"--prompts_file={path} is empty; write one prompt a line.")
    return lines


def _show(prompts: list[str], texts: list[str], *, as_json: bool) -> None:
    pairs = zip(prompts, texts, strict=True)
    if as_json:
        print_json({"results": [{"prompt": p, "text": t} for p, t in pairs]})
        return
    for prompt, text in pairs:
        _write(f"{prompt}{text}\n---\n".encode())


def _write(content: bytes) -> None:
    """Writes bytes at once: a piece may end within a character."""
    sys.stdout.buffer.write(content)
    sys.stdout.flush()
