"""The model card of an exported folder: what it is, what it costs, its origin."""

from collections.abc import Mapping
from typing import Any

from slimjax.version import VERSION

SIZES = {
    "params": "parameters",
    "params_start": "parameters of the original",
    "flops_per_token": "FLOPs per token",
    "packed_file_bytes": "bytes of slimjax's packed file",
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


def _origin(report: Mapping[str, Any]) -> list[str]:
    source = report.get("imported")
    if not isinstance(source, Mapping):
        return [f"Trained by slimjax for the task `{report.get('task', 'lm')}`."]
    path, digest = source.get("path", "a model"), str(source.get("sha256", ""))
    return [f"Made of `{path}` (SHA-256 of its weights {digest[:16]}...)."]


def _rows(
    report: Mapping[str, Any], config: Mapping[str, Any]
) -> list[tuple[str, str]]:
    rows = [("class", f"`{(config.get('architectures') or ['?'])[0]}`")]
    size = report.get("size")
    size = size if isinstance(size, Mapping) else {}
    for key, label in SIZES.items():
        if isinstance(size.get(key), int | float):
            rows.append((label, f"{size[key]:,.0f}"))
    metrics = report.get("metrics")
    for metric in metrics if isinstance(metrics, list) else []:
        value = metric.get("test")
        if isinstance(value, int | float):
            low, high = metric.get("test_low"), metric.get("test_high")
            ends = f" [{low:.4f}, {high:.4f}]" if low is not None else ""
            rows.append((f"{metric.get('words')} on test", f"{value:.4f}{ends}"))
    return rows
