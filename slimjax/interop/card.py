"""The model card of an exported folder: what it is, what it costs, its origin."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from slimjax.store.run_folder import IMPORTED
from slimjax.version import VERSION

SIZES = {
    "params": "parameters",
    "params_start": "parameters of the original",
    "flops_per_token": "FLOPs per token",
    "packed_file_bytes": "bytes of slimjax's packed file",
    "gguf_bytes": "bytes of the GGUF file of its budget",
    "kv_bytes_per_token": "bytes of the KV cache per token",
}
PADDED = (
    "Layers that differ were padded with zero heads and hidden units to one shape, so "
    "that classes of uniform layers can load them. It computes what the small model "
    "computes, at the size and speed of the padded one."
)
RAGGED = (
    "Layers differ: `per_layer_config` in `config.json` has the shape of each. "
    "transformers 5.24 stores that setting but builds uniform layers, so it cannot "
    "load the weights; slimjax can. --format=hf-padded writes a twin that it loads."
)
ODD = (
    "Its heads do not fill the width, and this class of transformers wants that, so it "
    "cannot load the weights; slimjax can. --format=hf-padded writes a twin that it "
    "loads."
)
EXACT = (
    "Weights are {dtype}, {size:,} bytes. This format is exact but not small: bits "
    "below 16 are written as {dtype} numbers."
)


def make_card(
    name: str,
    report: Mapping[str, Any],
    *,
    notes: list[str],
    config: Mapping[str, Any],
    loads: str = "",
    library: str = "transformers",
) -> str:
    """Returns the text of ``README.md``.

    Args:
        name: Name of the model.
        report: ``report.json`` of the run, or {}.
        notes: Sentences about the export.
        config: ``config.json`` of the export.
        loads: A line of Python that loads it, if any.
        library: What loads it.
    """
    lines = ["---", f"library_name: {library}", "tags: [slimjax]", "---", ""]
    lines += [f"# {name}", "", *_origin(report), ""]
    lines += [f"{note}\n" for note in notes]
    lines += ["| | |", "|---|---|"]
    lines += [f"| {label} | {value} |" for label, value in _rows(report, config)]
    if loads:
        lines += ["", "```python", loads, "```"]
    lines += ["", f"Written by slimjax {VERSION}.", ""]
    return "\n".join(lines)


def origin_of(report: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Returns what an import wrote down of the source of a model's weights.

    A compressed model has the origin of its original.

    Args:
        report: ``report.json`` of the run.
    """
    origin = report.get(IMPORTED, _block(report, "compress").get("origin"))
    return origin if isinstance(origin, Mapping) else None


def _origin(report: Mapping[str, Any]) -> list[str]:
    """Returns a sentence that says where the weights are from."""
    source, is_small = origin_of(report), "compress" in report
    if source is None:
        start = _block(report, "init_from").get("folder")
        of = f", from the weights of `{PurePath(str(start)).name}`" if start else ""
        end = ", and then compressed" if is_small else ""
        task = report.get("task", "lm")
        return [f"Trained by slimjax for the task `{task}`{of}{end}."]
    path, digest = source.get("path", "a model"), str(source.get("sha256", ""))
    name = PurePath(str(path)).name
    end = ", and compressed by slimjax" if is_small else ""
    return [f"Made of `{name}` (SHA-256 of its weights {digest[:16]}...){end}."]


def _block(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    block = report.get(name)
    return block if isinstance(block, Mapping) else {}


def _rows(
    report: Mapping[str, Any], config: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Returns labels and values of the table."""
    classes = config.get("architectures")
    rows = [("class", f"`{classes[0]}`")] if classes else []
    size = _block(report, "size")
    for key, label in SIZES.items():
        if isinstance(size.get(key), int | float):
            rows.append((label, f"{size[key]:,.0f}"))
    rows += _rows_of_compression(report)
    metrics = report.get("metrics")
    for metric in metrics if isinstance(metrics, list) else []:
        value = metric.get("test")
        if isinstance(value, int | float):
            low, high = metric.get("test_low"), metric.get("test_high")
            ends = f" [{low:.4f}, {high:.4f}]" if low is not None else ""
            rows.append((f"{metric.get('words')} on test", f"{value:.4f}{ends}"))
    return rows


def _rows_of_compression(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns what `slimjax compress` has measured."""
    found, size = _block(report, "compress"), _block(report, "size")
    if not found:
        return []
    rows = [("budget", f"{found.get('budget')} ({found.get('size')})")]
    matrices = _block(found, "bits_by_matrix").values()
    if matrices:
        bits = sorted({own for several in matrices for own in several})
        mean = 8 * size["packed_file_bytes"] / size["params"]
        rows.append(("bits of matrices", ", ".join(map(str, bits))))
        rows.append(("bits per parameter, the whole packed file", f"{mean:.2f}"))
    for error in found.get("errors", ()):
        rows += _rows_of_error(error)
    return rows


def _rows_of_error(error: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns the errors of the original and of the result on one text."""
    before, after = _block(error, "before"), _block(error, "after")
    where = f"on `{error.get('source')}`".replace("|", "\\|")
    if "cosine" in after:
        return [(f"mean cosine to the original {where}", f"{after['cosine']:.5f}")]
    names = {"perplexity": "perplexity", "bits_per_byte": "bits per byte"}
    return [
        (f"{words} {where}, before and after", f"{before[key]:.4g}, {after[key]:.4g}")
        for key, words in names.items()
        if key in after and key in before
    ]
