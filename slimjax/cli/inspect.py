"""``slimjax inspect``; it loads no jax."""

from collections.abc import Iterator, Sequence
from typing import Any

from slimjax.cli.flags import make_parser, parse, print_json
from slimjax.errors import CheckpointError

FIGURES = ("step", "loss", "params", "flops_per_token", "bytes")
COLUMNS = {"heads": "num_heads", "KV heads": "num_kv_heads", "head width": "head_dim"}


def main(argv: Sequence[str]) -> None:
    """Shows the architecture, the sizes, the seams and the config of a run."""
    parser = make_parser(
        "inspect",
        "Shows the model of a run layer by layer, its sizes, its seams and its config.",
        "slimjax inspect runs/demo",
    )
    parser.add_argument("workdir", help="the run folder")
    flags = parse(parser, argv).flags
    from slimjax.store.files import read_json
    from slimjax.store.run_folder import RunFolder

    folder = RunFolder(flags.workdir)
    folder.check_run()
    found = {
        "architecture": read_json(folder.architecture, list | dict),
        "seams": folder.seams.read(),
        "newest": (folder.metrics.read() or [{}])[-1],
        "checkpoints": folder.checkpoint_names,
        "finished": folder.report.is_file(),
        "config": read_json(folder.config, dict),
    }
    if flags.json:
        print_json(found)
        return
    try:
        lines = list(_describe(found))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder.root} is damaged: a file in it has a strange entry, {error}."
        ) from error
    print("\n".join(lines))


def _describe(found: dict[str, Any]) -> Iterator[str]:
    """Yields the lines; none of them is wrapped, so that a pipe can search them."""
    from slimjax.report.history import describe_loss_change

    yield from _align([["layer", *COLUMNS, "MLP width"], *_list_layers(found)])
    for name in FIGURES:
        if name in found["newest"]:
            yield f"{name:16} {found['newest'][name]:,}"
    yield f"{'finished':16} {found['finished']}"
    yield f"{'checkpoints':16} {', '.join(found['checkpoints']) or 'none'}"
    for seam in found["seams"]:
        yield (
            f"seam at step {seam['step']}: {seam['reason']}; params "
            f"{seam['params_before']:,.0f} -> {seam['params_after']:,.0f}, "
            f"{describe_loss_change(seam)}"
        )
    for block, values in found["config"].items():
        settings = values.items() if isinstance(values, dict) else [("", values)]
        for name, value in settings:
            yield f"config.{block}{'.' * bool(name)}{name} = {value!r}"


def _list_layers(found: dict[str, Any]) -> Iterator[list[str]]:
    from slimjax.report.layers import read_layers

    layers = read_layers(found["architecture"])
    if not layers:
        raise ValueError("architecture.json has no layers")
    for layer in layers:
        is_whole = layer.get("attention", False)
        heads = [str(layer[key]) if is_whole else "-" for key in COLUMNS.values()]
        width = str(layer["mlp_dim"]) if layer.get("mlp", True) else "-"
        yield [f"{layer.get('tower', '')} {layer['index']}".strip(), *heads, width]


def _align(rows: list[list[str]]) -> Iterator[str]:
    """Yields the lines of a table, its columns as wide as their longest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        yield "  ".join(cell.rjust(width) for cell, width in cells)
