"""``slimjax import``."""

import importlib
from collections.abc import Sequence

from slimjax.cli.flags import make_parser, parse, print_json
from slimjax.errors import ConfigError, suggest
from slimjax.paths import check_utf8, user_path

READERS = {"hf": ("hf_reading", "read_folder"), "gguf": ("gguf_reading", "read_gguf")}
"""The file of `slimjax.interop` that reads a format, and its function."""


def main(argv: Sequence[str]) -> None:
    """Makes a run folder of a pretrained model."""
    parser = make_parser(
        "import",
        "Makes a run folder of a pretrained model: a folder of Hugging Face, or a GGUF "
        "file. Evaluate, generate, predict, compress and train take it.",
        "slimjax import --format=hf --input=models/smollm2 --output=runs/smollm2",
    )
    parser.add_argument("--format", required=True, help="hf or gguf")
    parser.add_argument("--input", required=True, help="the folder or the file")
    parser.add_argument("--output", required=True, help="the run folder that is made")
    flags = parse(parser, argv).flags
    if flags.format not in READERS:
        hint = suggest(flags.format, READERS)
        raise ConfigError(f"--format={flags.format!r} is unknown. {hint}")
    output = check_utf8(user_path(flags.output, "--output"), "--output")
    from slimjax.interop.importing import understand
    from slimjax.interop.run_folders import check_new, write_run_folder
    from slimjax.train.devices import prepare_devices

    check_new(output)
    file, name = READERS[flags.format]
    read = getattr(importlib.import_module(f"slimjax.interop.{file}"), name)
    prepare_devices()
    imported = understand(read(flags.input), str(output))
    report = write_run_folder(imported, output, flags.format)
    if flags.json:
        print_json(report)
        return
    for note in imported.notes:
        print(note)
    params, task = report["size"]["params"], report["task"]
    print(f"{output}: {params:,} parameters, task {task}")
