"""Rules: which size to take, from what is known of all sizes.

Each rule is a function of a `Curve` alone, so that asking another one costs nothing.

References:
    Breiman et al., "Classification and Regression Trees", 1984, section 3.4.3 (one
    standard error).
    Rissanen, "Modeling by shortest data description", 1978 (description length).
    Satopaa et al., "Finding a 'Kneedle' in a Haystack", 2011 (knee).
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

from slimjax.errors import ConfigError, NotFeasibleError, suggest
from slimjax.metrics.frontier import LEAST
from slimjax.report.quantities import format_decimal, format_si
from slimjax.tune.curve import Curve

FOR_TEXT, FOR_TASKS = "description_length", "one_standard_error"
"""The rules of those who name none."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule and its number.

    Attributes:
        name: One of `RULES`.
        value: Its number; None if it has none.
        text: As it was written.
    """

    name: str
    value: float | None = None
    text: str = ""

    def choose(self, curve: Curve) -> int:
        """Returns the number of the point that the rule chooses.

        Raises:
            NotFeasibleError: If no point meets it; names the nearest.
            ConfigError: If it needs a standard error and there is none.
        """
        function = RULES[self.name]
        return function(curve) if self.value is None else function(curve, self.value)


def description_length(curve: Curve) -> int:
    """Returns the point with the least bits of model file and text together.

    Examples:
        >>> from slimjax.tune.pooled import Errors
        >>> errors = Errors((1.0, 1.1, 2.0), None, None, 1, 1)
        >>> curve = Curve((3, 2, 1), 3, errors, (900.0, 500.0, 300.0), 1000)
        >>> [round(bits) for bits in curve.text_bits], description_length(curve)
        ([1443, 1587, 2885], 1)
    """
    total = lambda i: curve.model_bits[i] + curve.text_bits[i]
    return min(range(len(curve.sizes)), key=lambda i: (total(i), curve.sizes[i]))


def one_standard_error(curve: Curve) -> int:
    """Returns the smallest point whose error is within one standard error of the least.

    The standard error is that of the difference between the two.

    Examples:
        >>> from slimjax.tune.pooled import Errors
        >>> cov = [[0.0, 0.0, 0.0], [0.0, 0.01, 0.0], [0.0, 0.0, 0.01]]
        >>> errors = Errors((1.0, 1.1, 1.2), cov, None, 9, 3)
        >>> one_standard_error(Curve((3, 2, 1), 3, errors, (1, 1, 1), 1))
        1
    """
    least, errors = curve.least, curve.errors
    if errors.num_folds < 2 or errors.standard_error(least) is None:
        raise ConfigError(
            f"--rule={FOR_TASKS} with --folds=1: there is no standard error. Take "
            "--folds=3."
        )

    def is_near(i: int) -> bool:
        deviation = errors.standard_error(i, least) or 0.0
        return errors.values[i] - errors.values[least] <= deviation * (1 + 1e-9)

    near = [i for i in range(len(curve.sizes)) if i == least or is_near(i)]
    return min(near, key=lambda i: curve.sizes[i])


def at_alpha(curve: Curve, alpha: float) -> int:
    """Returns the point of the least ``alpha * size fraction + error``.

    Examples:
        >>> from slimjax.tune.pooled import Errors
        >>> curve = Curve((4, 2), 4, Errors((1.0, 1.2), None, None, 1, 1), (1, 1), 1)
        >>> at_alpha(curve, 0.3), at_alpha(curve, 0.5)
        (0, 1)
    """
    cost = lambda i: alpha * curve.fractions[i] + curve.errors.values[i]
    return min(range(len(curve.sizes)), key=lambda i: (cost(i), curve.sizes[i]))


def error_within(curve: Curve, part: float) -> int:
    """Returns the smallest point whose error is at most such a part above the least.

    Examples:
        >>> from slimjax.tune.pooled import Errors
        >>> errors = Errors((1.0, 1.01, 1.05), None, None, 1, 1)
        >>> error_within(Curve((3, 2, 1), 3, errors, (1, 1, 1), 1), 0.02)
        1
    """
    limit = curve.errors.values[curve.least] * (1 + part) * (1 + 1e-12)
    near = [i for i, error in enumerate(curve.errors.values) if error <= limit]
    return min(near, key=lambda i: curve.sizes[i])


def size_below(curve: Curve, limit: float) -> int:
    """Returns the point of the least error among those of at most this size.

    Examples:
        >>> from slimjax.tune.pooled import Errors
        >>> errors = Errors((1.0, 1.01, 1.05), None, None, 1, 1)
        >>> size_below(Curve((3, 2, 1), 3, errors, (1, 1, 1), 1), 2.5)
        1
    """
    small = [i for i, size in enumerate(curve.sizes) if size <= limit]
    if not small:
        nearest = min(range(len(curve.sizes)), key=lambda i: curve.sizes[i])
        raise NotFeasibleError(
            f"--rule=size_below={format_si(limit)}: no point is so small. The nearest "
            f"is point{nearest}, {format_si(curve.sizes[nearest])}, with "
            f"{format_decimal(curve.errors.values[nearest])} nats per target."
        )
    return min(small, key=lambda i: (curve.errors.values[i], curve.sizes[i]))


def knee(curve: Curve) -> int:
    """Returns the point farthest below the chord of the curve.

    The chord joins the largest and the smallest point. Both axes are logarithmic, and
    scaled to 1 between the least and the largest value.

    Examples:
        >>> from slimjax.tune.pooled import Errors
        >>> errors = Errors((1.0, 1.1, 4.0), None, None, 1, 1)
        >>> knee(Curve((16, 4, 1), 16, errors, (1, 1, 1), 1))
        1
    """
    sizes, errors = (_scale(v) for v in (curve.sizes, curve.errors.values))
    order = sorted(range(len(sizes)), key=lambda i: sizes[i])
    (x0, y0), (x1, y1) = ((sizes[i], errors[i]) for i in (order[0], order[-1]))
    length = math.hypot(x1 - x0, y1 - y0)
    below = lambda i: (
        ((x1 - x0) * (y0 - errors[i]) - (x0 - sizes[i]) * (y1 - y0)) / length
        if length
        else 0.0
    )
    return max(order, key=lambda i: (round(below(i), 12), -sizes[i]))


def _scale(values: Sequence[float]) -> list[float]:
    logs = [math.log(max(value, LEAST)) for value in values]
    low, high = min(logs), max(logs)
    return [(each - low) / (high - low) if high > low else 0.0 for each in logs]


RULES: dict[str, Callable[..., int]] = {
    "description_length": description_length,
    "one_standard_error": one_standard_error,
    "alpha": at_alpha,
    "error_within": error_within,
    "size_below": size_below,
    "knee": knee,
}
"""Functions from a curve, and a number where there is one, to a point's number."""

WITH_NUMBER = {
    "alpha": "a price in nats, 0 or more, such as alpha=0.5",
    "error_within": "a part above 0, such as error_within=2%",
    "size_below": "a size above 0, such as size_below=2M",
}


def parse_rule(text: str) -> Rule:
    """Returns the rule that a flag asks for.

    Raises:
        ConfigError: Naming the nearest rule, or the range of its number.

    Examples:
        >>> parse_rule("error_within=2%"), parse_rule("knee").value
        (Rule(name='error_within', value=0.02, text='error_within=2%'), None)
    """
    name, equals, number = text.partition("=")
    if name not in RULES:
        raise ConfigError(f"--rule={text} is unknown. {suggest(name, RULES)}")
    if name not in WITH_NUMBER:
        if equals:
            raise ConfigError(f"--rule={text}: {name} has no number. Leave it out.")
        return Rule(name, None, text)
    value = _parse_number(number, percent=name == "error_within")
    is_valid = value >= 0 if name == "alpha" else value > 0
    if not is_valid or not math.isfinite(value):
        raise ConfigError(f"--rule={text} needs {WITH_NUMBER[name]}.")
    return Rule(name, value, text)


def _parse_number(text: str, *, percent: bool) -> float:
    """Returns a number with an end such as k, M or %; NaN if it is none."""
    ends = {"%": 0.01, "": 1.0}
    if not percent:
        from slimjax.objective.config import SUFFIXES  # It loads jax.

        ends = SUFFIXES
    end = max((end for end in ends if text.endswith(end)), key=len)
    try:
        return float(text.removesuffix(end)) * ends[end]
    except ValueError:
        return math.nan
