"""``slimjax inspect``."""

from collections.abc import Sequence
from typing import Any

from slimjax.cli.flags import make_parser, parse, print_json
from slimjax.errors import CheckpointError


def main(argv: Sequence[str]) -> None:
    """Shows the architecture, the sizes, the seams and the config of a run."""
    parser = make_parser(
        "inspect",
        "Shows what a run's model looks like, and how it came to be so.",
        "slimjax inspect runs/demo",
    )
    parser.add_argument("workdir", help="the run folder")
    flags = parse(parser, argv).flags
    from slimjax.store.files import read_json
    from slimjax.store.run_folder import RunFolder

    folder = RunFolder(flags.workdir)
    folder.check_run()
    found = {
        "architecture": read_json(folder.architecture, list),
        "seams": folder.seams.read(),
        "newest": (folder.metrics.read() or [{}])[-1],
        "checkpoints": folder.checkpoints.list(),
        "finished": folder.report.is_file(),
        "config": read_json(folder.config, dict),
    }
    if flags.json:
        print_json(found)
        return
    try:
        _show(found)
    except (LookupError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder.root} is damaged: a file in it has a strange entry, {error}."
        ) from error


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from slimjax.train.seam import describe_loss_change

    console = Console(highlight=False)
    table = Table("layer", "heads", "KV heads", "head width", "MLP width")
    for i, layer in enumerate(found["architecture"]):
        heads = (layer["num_heads"], layer["num_kv_heads"], layer["head_dim"])
        heads = heads if layer["attention"] else ("-", "-", "-")
        width = layer["mlp_dim"] if layer["mlp"] else "-"
        table.add_row(str(i), *map(str, heads), str(width))
    console.print(table)
    for name in ("step", "loss", "params", "flops_per_token", "bytes"):
        if name in found["newest"]:
            console.print(f"{name:16} {found['newest'][name]:,}")
    console.print(f"{'finished':16} {found['finished']}")
    for seam in found["seams"]:
        console.print(
            f"seam at step {seam['step']}: {seam['reason']}; params "
            f"{seam['params_before']:,.0f} -> {seam['params_after']:,.0f}, "
            f"{describe_loss_change(seam)}"
        )
    for block, values in found["config"].items():
        console.print(f"config.{block}: {values}", markup=False)
