"""``slimjax prepare``."""

from collections.abc import Sequence

from slimjax.cli.flags import make_parser, parse, print_json
from slimjax.paths import user_path


def main(argv: Sequence[str]) -> None:
    """Prepares a data set by a builder of TensorFlow Datasets, for ``tfds:NAME``."""
    parser = make_parser(
        "prepare",
        "Prepares a data set by a builder of TensorFlow Datasets, so that "
        "data.source=tfds:NAME reads it without TensorFlow. A builder is code and is "
        "run, so take only those that you trust; it may download what it names.",
        "slimjax prepare --tfds_builder=mine.reviews --output=data/tfds",
    )
    parser.add_argument(
        "--tfds_builder",
        required=True,
        help="package.module with one builder, or package.module:Class",
    )
    parser.add_argument("--tfds_config", default="", help="a config of the builder")
    parser.add_argument(
        "--output", required=True, help="the folder of data sets, data.tfds_dir"
    )
    flags = parse(parser, argv).flags
    from slimjax.text.tfds_prepare import prepare

    output = user_path(flags.output, "--output")
    done = prepare(flags.tfds_builder, output, flags.tfds_config)
    if flags.json:
        found = {"source": done.source, "folder": str(done.folder)}
        print_json(found | {"splits": done.splits})
        return
    splits = ", ".join(f"{name} {number:,}" for name, number in done.splits.items())
    print(f"{done.folder}: {splits}")
    print(
        f"Train with --config.data.source={done.source} --config.data.tfds_dir={output}"
    )
