"""A table of domains: what the model is worth on each, and what adapters it kept."""

from typing import Any

from slimjax.report.markup import escape, write_table
from slimjax.report.quantities import format_count, format_decimal, number
from slimjax.report.read import Run

NOTE = (
    "Examples that name none of the model's domains are answered by the trunk alone. "
    "An adapter is counted in hidden units, of all its sublayers together."
)
NO_DOMAIN = "none"
MOST_METRICS = 3


def show_domains(run: Run) -> list[str]:
    """Returns the parts of the page about domains; nothing for a run without any."""
    found = run.report.get("domains")
    rows = [own for own in found if isinstance(own, dict)] if found else []
    if not rows:
        return []
    metrics = (run.report.get("metrics") or [])[:MOST_METRICS]
    names = {m["key"]: m["words"] for m in metrics} | {"nats_per_target": "error"}
    heads = ["domain", "test examples", *names.values(), "adapter, start", "end"]
    table = write_table(heads, [_describe(own, list(names)) for own in rows])
    return ["<h3>Domains</h3>", table, f"<p class='muted'>{escape(NOTE)}</p>"]


def _describe(own: dict[str, Any], keys: list[str]) -> list[str]:
    """Returns the row of one domain."""
    count = lambda *path: format_count(number(own, *path))
    values = [format_decimal(number(own, "test", key)) for key in keys]
    name, units = own.get("domain"), ("units_start", "units")
    adapters = [count("adapter", key) for key in units]
    shown = NO_DOMAIN if name is None else str(name)
    return [shown, count("test", "num_examples"), *values, *adapters]
