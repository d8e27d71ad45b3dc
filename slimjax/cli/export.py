"""``slimjax export``."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from slimjax.cli.flags import make_parser, parse, print_json
from slimjax.errors import ConfigError, suggest
from slimjax.paths import printable, user_path

FLAGS = {"hf": ("dtype",), "hf-padded": ("dtype",), "gguf": ("type", "data")}
"""Flags that only some formats have."""


def main(argv: Sequence[str]) -> None:
    """Writes the model of a run folder in a format of other software."""
    parser = make_parser(
        "export",
        "Writes the model of a run folder for other software: a folder for "
        "transformers (hf, hf-padded), a GGUF file, a program of StableHLO, or "
        "slimjax's packed file. What was written is read again, and its logits are "
        "compared.",
        "slimjax export --format=hf --workdir=runs/demo --output=models/demo",
    )
    add = parser.add_argument
    add("--format", required=True, help=f"one of {', '.join(EXPORTS)}")
    add("--workdir", required=True, help="the run folder")
    add("--output", required=True, help="the folder or file that is written")
    add("--dtype", help="of hf: float32 (default), bfloat16 or float16")
    add("--type", help="of gguf: F32, F16 (default), Q8_0, Q4_0 or Q4_1")
    add("--data", help="of gguf: text to calibrate the rounding on, and to measure on")
    flags = parse(parser, argv).flags
    if flags.format not in EXPORTS:
        hint = suggest(flags.format, EXPORTS)
        raise ConfigError(f"--format={flags.format!r} is unknown. {hint}")
    options = _options(flags)
    output = user_path(flags.output, "--output")
    from slimjax.train.devices import prepare_devices

    prepare_devices()
    result = EXPORTS[flags.format](flags.workdir, output, **options)
    if flags.json:
        print_json(result)
        return
    for note in result.get("notes", ()):
        print(note)
    if "perplexity" in result:
        before, after = (result["perplexity"][key] for key in ("before", "after"))
        print(f"perplexity on {flags.data}: {before:.3f} before, {after:.3f} after")
    print(
        f"largest difference of logits: {result['largest_difference']:.1e} "
        f"on random rows{_advice(flags)}"
    )
    if own := result.get("before"):
        print(f"{own['file']} of the run: {own['bytes']:,} bytes of weights")
    print(f"{printable(output)}: {result['bytes']:,} bytes of weights")


def _advice(flags: Any) -> str:
    """Returns how to learn more about a file whose weights are rounded."""
    is_rounded = flags.format == "gguf" and flags.type not in ("F32", "F16", None)
    if not is_rounded or flags.data is not None:
        return ""
    return ", where rounding shows most; --data=TEXT calibrates and measures it"


def _options(flags: Any) -> dict[str, Any]:
    """Returns the options of a format, and with text whether progress is hidden.

    Raises:
        ConfigError: If a flag is of another one.
    """
    own = FLAGS.get(flags.format, ())
    given = {name: getattr(flags, name) for name in ("dtype", "type", "data")}
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        if name not in own:
            raise ConfigError(f"--{name}={value} is not for --format={flags.format}.")
    return given | ({"quiet": flags.json} if "data" in given else {})


def _hf(workdir: str, output: Path, **options: str) -> dict[str, Any]:
    from slimjax.interop.hf_export import export_hf

    return export_hf(workdir, output, **options)  # pyright: ignore


def _hf_padded(workdir: str, output: Path, **options: str) -> dict[str, Any]:
    from slimjax.interop.hf_export import export_hf

    return export_hf(workdir, output, padded=True, **options)  # pyright: ignore


def _gguf(
    workdir: str,
    output: Path,
    type: str = "F16",
    data: str | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    if data is not None:
        from slimjax.compress.exporting import export_calibrated
        from slimjax.run.progress import Display

        with Display(quiet=quiet) as display:
            return export_calibrated(
                workdir, output, data, kind=type, report=display.prepare
            )
    from slimjax.interop.gguf_export import export_gguf

    return export_gguf(workdir, output, kind=type)


def _stablehlo(workdir: str, output: Path) -> dict[str, Any]:
    from slimjax.interop.stablehlo import export_stablehlo

    return export_stablehlo(workdir, output)


def _packed(workdir: str, output: Path) -> dict[str, Any]:
    from slimjax.interop.packed_export import export_packed

    return export_packed(workdir, output)


EXPORTS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "hf": _hf,
    "hf-padded": _hf_padded,
    "gguf": _gguf,
    "stablehlo": _stablehlo,
    "packed": _packed,
}
