"""What each cut on the way to a budget cost, and how far its prediction was off.

Each sublayer is priced as if all others were whole, so the sum of prices is too low.
The loss is measured on held-out text after each cut; the *level* of cut k is

    level_k = (true change of cut k) / (predicted change of cut k)

and the corrected prediction of the next cut is its own times ``level_k``. Choices do
not use it: one factor for all prices changes no choice under a budget.
"""

from collections.abc import Sequence

from slimjax.compress.errors import measure
from slimjax.compress.preparing import Work
from slimjax.compress.slimming import Slim

Seam = dict[str, float]
"""What one cut cost, in nats a target, and the sizes after it."""


def measure_seam(work: Work, slim: Slim, before: Sequence[Seam]) -> Seam:
    """Returns what the last cut cost.

    Args:
        work: Has the held-out text, and the original's error on it.
        slim: The model after the cut and its refit.
        before: The cuts before it. Rows of the vocabulary go with the first one.
    """
    text, start = work.texts[work.request.data], work.before[work.request.data]
    nats = measure(slim.model, slim.variables, text.rows).nats
    change = (nats - start.nats) / start.num_targets
    own = slim.choice.nats + (0.0 if before else nats_of_rows(work))
    sizes = slim.sizes(slim.bits, work.settings.quantize.grid)
    seam = {
        "predicted_loss_change": own,
        "true_loss_change": change - sum(s["true_loss_change"] for s in before),
        "params": sizes["params"],
        "bytes": sizes["bytes"],
    }
    known = [one["level"] for one in before if "level" in one]
    if known:
        seam["corrected_loss_change"] = own * known[-1]
    return seam | level_of(seam)


def level_of(seam: Seam) -> Seam:
    """Returns the level of a cut; nothing if a change is not positive.

    Examples:
        >>> level_of({"predicted_loss_change": 0.1, "true_loss_change": 0.15})
        {'level': 1.5}
        >>> level_of({"predicted_loss_change": 0.1, "true_loss_change": -0.01})
        {}
    """
    predicted, true = seam["predicted_loss_change"], seam["true_loss_change"]
    return {"level": round(true / predicted, 4)} if min(predicted, true) > 0 else {}


def nats_of_rows(work: Work) -> float:
    """Returns what rows of the vocabulary that are gone are predicted to cost."""
    return float(work.rows_gone.get("predicted_loss_change", 0.0))


def describe_seams(seams: Sequence[Seam]) -> list[str]:
    """Returns a line for each of several cuts."""
    if len(seams) < 2:
        return []
    return [f"  seam {i + 1}: {_describe(seam)}" for i, seam in enumerate(seams)]


def _describe(seam: Seam) -> str:
    line = (
        f"{seam['params']:,.0f} parameters, loss change {seam['true_loss_change']:+.4f}"
        f", predicted {seam['predicted_loss_change']:+.4f}"
    )
    if "corrected_loss_change" not in seam:
        return line
    return f"{line}, corrected {seam['corrected_loss_change']:+.4f}"
