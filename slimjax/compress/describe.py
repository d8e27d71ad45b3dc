"""What came out of a compression, as the content of ``report.json``."""

from collections.abc import Mapping, Sequence
from typing import Any

from slimjax.compress.config import Request
from slimjax.compress.errors import Error
from slimjax.compress.offers import Choice
from slimjax.compress.seams import Seam, describe_seams
from slimjax.compress.settings import Settings
from slimjax.data.codecs import fingerprints
from slimjax.interop.card import origin_of
from slimjax.interop.run_folders import read_report
from slimjax.models.config import ModelConfig
from slimjax.objective.quantize import QuantizeConfig
from slimjax.objective.size import MEASURES
from slimjax.run.environment import machine, versions
from slimjax.store.run_folder import LOGGED

Sizes = Mapping[str, float]


def describe(
    request: Request,
    settings: Settings,
    budget: str,
    *,
    original: Any,
    slim: ModelConfig,
    choice: Choice,
    errors: tuple[Mapping[str, Error], Mapping[str, Error]],
    sizes: tuple[Sizes, Sizes],
    limits: Mapping[str, float],
    seams: Sequence[Seam],
    healing: Mapping[str, Any],
    rows_gone: Mapping[str, Any],
    decoding: list[dict[str, Any]],
    seconds: float,
) -> dict[str, Any]:
    """Returns the report of one budget.

    Args:
        request: What was asked for.
        settings: All settings.
        budget: As it was asked for.
        original: The original's layers, as plain data.
        slim: The shape of the result.
        choice: What it became.
        errors: Errors of the original, and of the result, by source.
        sizes: Sizes of both, by measure.
        limits: The largest size in each measure that has a budget.
        seams: What each cut on the way cost.
        healing: What healing took; empty without it.
        rows_gone: What there is to say of rows of the vocabulary that are gone.
        decoding: How many times as fast it writes, by format.
        seconds: Time that this budget took, statistics included.
    """
    (start, end), (before, after) = sizes, errors
    own_after = after[request.data]
    true_change = own_after.nats_per_target - before[request.data].nats_per_target
    return {
        "task": settings.run.task,
        "error": {"valid_nats_per_target": own_after.nats_per_target},
        "size": _describe_size(next(iter(limits)), start, end),
        "stages": [{"architecture": a} for a in (original, slim.architecture({}))],
        "data": {"source": request.data, "codecs": fingerprints(settings.model.codecs)},
        "strategy": "compress",
        "seed": settings.run.seed,
        "train": {"steps": 0, "wall_s": seconds},
        "compress": {
            "model": str(settings.folder.root),
            "origin": origin_of(read_report(settings.folder)),
            "budget": budget,
            "size": " and ".join(limits),
            "budgets": _describe_budgets(limits, end),
            "errors": _describe_errors(before, after),
            "predicted_loss_change": choice.nats,
            "predicted_loss_change_of_cut": choice.structure_nats,
            "true_loss_change": true_change,
            **_describe_request(request, settings),
            **_describe_bits(settings.quantize),
            "seams": list(seams),
            "healing": dict(healing),
            "decoding": decoding,
            "vocabulary": {"rows": slim.vocab_size, **rows_gone},
            "seam": _describe_seam(choice, true_change, start, end),
        },
        "versions": versions(),
        "machine": machine(),
    }


def _describe_request(request: Request, settings: Settings) -> dict[str, Any]:
    """Returns how much text was read, and what the user should know."""
    return {
        "dtype": settings.model.config.dtype,
        "rows": request.num_rows,
        "slope_rows": request.num_slope_rows,
        "heal_steps": request.heal_steps,
        "notes": list(request.notes),
    }


def _describe_bits(quantize: QuantizeConfig) -> dict[str, Any]:
    """Returns the bits to choose from, and which weights share a step."""
    names = "group_size", "group_axis", "minimum"
    own = {name: getattr(quantize, name) for name in names}
    return {"bits": list(quantize.bits), **own}


def _describe_errors(
    before: Mapping[str, Error], after: Mapping[str, Error]
) -> list[dict[str, Any]]:
    """Returns the errors of both models on each source."""
    found = []
    for source, start in before.items():
        end = after[source]
        entry = {"source": source, "before": start.as_dict(), "after": end.as_dict()}
        if not start.is_distance:
            entry["ratio"] = end.perplexity / start.perplexity
        found.append(entry)
    return found


def _describe_size(measure: str, start: Sizes, end: Sizes) -> dict[str, Any]:
    file = [name for name in end if name not in MEASURES]
    own = {name: int(end[name]) for name in file}
    own |= {f"{name}_start": int(start[name]) for name in file}
    return own | {
        "params": int(end["params"]),
        "params_start": int(start["params"]),
        "flops_per_token": end["flops"],
        "flops_per_token_start": start["flops"],
        "bytes": int(end["bytes"]),
        "bytes_start": int(start["bytes"]),
        "kv_bytes_per_token": int(end["kv_bytes"]),
        "kv_bytes_per_token_start": int(start["kv_bytes"]),
        "measure": measure,
        "fraction": end[measure] / start[measure],
    }


def _describe_seam(
    choice: Choice, true_change: float, start: Sizes, end: Sizes
) -> dict[str, Any]:
    """Returns the line of ``seams.jsonl``, as training writes them."""
    line: dict[str, Any] = {
        "step": 0,
        "strategy": "compress",
        "taken": True,
        "reason": "pays",
        "predicted_loss_change": choice.nats,
        "true_loss_change": true_change,
        "closed": {},
        "bits": {},
        "gone": [],
    }
    for when, sizes in (("before", start), ("after", end)):
        line |= {f"{words}_{when}": sizes[name] for name, words in LOGGED.items()}
    return line


def _describe_budgets(limits: Sizes, end: Sizes) -> dict[str, dict[str, float]]:
    """Returns the budget and the size of each measure that has one."""
    return {n: {"budget": limit, "size": end[n]} for n, limit in limits.items()}


def _describe_rows(rows: Mapping[str, Any]) -> list[str]:
    """Returns a line on rows of the vocabulary that are gone, if some are."""
    if "rows_start" not in rows:
        return []
    longer = ", ".join(f"{n}: {part:.3f} x" for n, part in rows["tokens"].items())
    return [
        f"  vocabulary {rows['rows_start']:,} -> {rows['rows']:,} rows; tokens of the "
        f"same text: {longer}"
    ]


def _describe_healing(healing: Mapping[str, Any]) -> list[str]:
    """Returns a line on what healing took, if there was some."""
    if not healing:
        return []
    return [
        f"  healing: {healing['steps']:,} steps, {healing['flops'] / 1e12:.3g} TFLOP, "
        f"loss {healing['first_loss']:.4f} -> {healing['last_loss']:.4f}"
    ]


def table(reports: list[dict[str, Any]]) -> list[str]:
    """Returns lines that tell what became of a model."""
    lines = []
    for report in reports:
        found, size = report["compress"], report["size"]
        lines.append(
            f"{found['budget']}: {size['params_start']:,} -> {size['params']:,} "
            f"parameters, {size['bytes_start'] / 1e6:.1f} -> "
            f"{size['bytes'] / 1e6:.1f} MB"
        )
        if len(found["budgets"]) > 1:
            lines += [
                f"  {name}: {one['size']:,.0f} of {one['budget']:,.0f}"
                for name, one in found["budgets"].items()
            ]
        lines += _describe_rows(found["vocabulary"])
        lines += describe_seams(found["seams"])
        lines += _describe_healing(found["healing"])
        lines += [_line(error) for error in found["errors"]]
        lines += [_describe_decoding(timed) for timed in found["decoding"]]
        lines += _describe_file(report.get("gguf"), found["errors"])
        lines += [f"  note: {note}" for note in found["notes"]]
        lines.append(
            f"  loss change {found['true_loss_change']:+.4f} nats a target, predicted "
            f"{found['predicted_loss_change']:+.4f}"
        )
    return lines


def _line(error: Mapping[str, Any]) -> str:
    """Returns what became of the error on one source, in words."""
    before, after = error["before"], error["after"]
    if "cosine" in after:
        return f"  {error['source']}: mean cosine to the original {after['cosine']:.5f}"
    line = (
        f"  {error['source']}: perplexity {before['perplexity']:.2f} -> "
        f"{after['perplexity']:.2f} ({error['ratio']:.3f} x)"
    )
    if "bits_per_byte" not in after:
        return line
    values = before["bits_per_byte"], after["bits_per_byte"]
    return f"{line}, {values[0]:.3f} -> {values[1]:.3f} bits per byte"


def _describe_file(
    file: Mapping[str, Any] | None, errors: list[dict[str, Any]]
) -> list[str]:
    """Returns lines on the exported file, if there is one."""
    if file is None:
        return []
    lines = [f"  {file['file']}: {file['bytes']:,} bytes"]
    for plain, rounded in zip(errors, file["errors"], strict=True):
        before, after = plain["after"]["perplexity"], rounded["perplexity"]
        lines.append(
            f"    {plain['source']}: perplexity {before:.2f} -> {after:.2f} when "
            f"rounded to {file['type']}"
        )
    return lines


def _describe_decoding(timed: Mapping[str, Any]) -> str:
    """Returns how many times as fast a model writes, in words."""
    return (
        f"  writes {timed['ratio']:.2f} x as fast in {timed['weights']} "
        f"({timed['low']:.2f} to {timed['high']:.2f}); a token reads "
        f"{timed['bytes_ratio']:.2f} x fewer bytes"
    )
