"""The answer: which point a rule chooses, and what its size is worth, in words."""

import dataclasses
import math
from typing import Any

from slimjax.errors import NotFeasibleError, SlimjaxError
from slimjax.metrics.frontier import find_prices
from slimjax.report.quantities import format_decimal, format_percent, format_si
from slimjax.report.tune_table import held_out_unit
from slimjax.tune.curve import FILLERS, TEXT, Curve, Json, read_curve
from slimjax.tune.rules import RULES, WITH_NUMBER, Rule, parse_rule

UNITS = {"params": "", "flops": "FLOP", "bytes": "B", "kv_bytes": "B"}
WORDS = {"params": " parameters", "flops": " a target", "kv_bytes": " of KV cache"}
DECIDES_ALONE = 20.0
"""Ratio of the range of one part of a description length to that of the other."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a rule says.

    Attributes:
        rule: As it was written.
        number: The point's number.
        point: The point, as ``tune.json`` has it.
        prices: The prices between which it is the best; None if none chooses it.
        sentences: The answer in words, the most important first.
    """

    rule: str
    number: int
    point: Json
    prices: tuple[float, float] | None
    sentences: tuple[str, ...]

    def as_dict(self) -> Json:
        """Returns plain data."""
        names = ("name", "size", "fraction", "error", "alpha")
        prices = None if self.prices is None else list(self.prices)
        return {
            "rule": self.rule,
            **{name: self.point[name] for name in names},
            "prices": prices,
            "sentences": list(self.sentences),
        }


def answer(content: Json, text: str) -> Answer:
    """Returns what a rule chooses.

    Args:
        content: What ``tune.json`` holds.
        text: The rule, as it was written.

    Raises:
        ConfigError: If there is no such rule.
        NotFeasibleError: If no point meets it; names the nearest.
    """
    curve, rule = read_curve(content), parse_rule(text)
    number = rule.choose(curve)
    point = content["points"][number]
    axes = list(zip(curve.fractions, curve.errors.values, strict=True))
    prices = find_prices(axes).get(number)
    sentences = [
        _name_point(content, curve, number, text),
        *_name_worth(content, rule, point, prices),
        *_name_next(content, curve, number),
        *_name_end(content, number),
        *_name_reason(content, curve, rule, number),
    ]
    return Answer(text, number, point, prices, tuple(sentences))


def list_answers(content: Json) -> list[tuple[str, str]]:
    """Returns all rules without a number, and the point that each chooses."""
    found = []
    for name in RULES:
        if name in WITH_NUMBER:
            continue
        try:
            chosen = content["points"][Rule(name).choose(read_curve(content))]["name"]
        except SlimjaxError as error:
            chosen = str(error)
        found.append((name, chosen))
    return found


def show_size(content: Json, size: float) -> str:
    """Returns a size with its unit."""
    measure = content["measure"]
    if measure not in UNITS:  # A sum of measures.
        return f"{size:.4f} ({measure})"
    return f"{format_si(size, UNITS[measure])}{WORDS.get(measure, '')}"


def _unit(content: Json) -> str:
    return f"nats per {content['target']}"


def _name_point(content: Json, curve: Curve, number: int, rule: str) -> str:
    point, half = content["points"][number], curve.errors.half_width(number)
    error = _show(point["error"])
    wide = "" if half is None else f" ± {_show(half)}"
    return (
        f"{rule} chooses {point['name']}: {show_size(content, point['size'])}, "
        f"{format_percent(point['fraction'])} of the start, with {error}{wide} "
        f"{_unit(content)} on held-out {held_out_unit(content)}."
    )


def _name_worth(
    content: Json, rule: Rule, point: Json, prices: tuple[float, float] | None
) -> list[str]:
    """Returns what one per cent of the size is worth: by the curve, and at the seam.

    At a seam a price is found before the model has recovered, so it is the higher one.
    """
    unit, sentences = _unit(content), []
    if rule.name == "alpha" and rule.value is not None:
        sentences += [
            f"At alpha {_show(rule.value)}, 1 % of the size is worth "
            f"{_show(rule.value / 100)} {unit}."
        ]
    sentences.append(_name_prices(prices, unit))
    if point["alpha"] is not None:
        sentences.append(
            f"The budget's own price at the last seam was {_show(point['alpha'])}: "
            f"{_show(point['alpha'] / 100)} {unit} for 1 % of the size, before the "
            "model recovered."
        )
    return sentences


def _name_prices(prices: tuple[float, float] | None, unit: str) -> str:
    """Returns the prices that choose a point, and what they say of its size.

    Examples:
        >>> _name_prices((0.5, math.inf), "nats")
        'Prices above 0.5000 choose it: 1 % of the size is worth more than 0.0050 nats.'
    """
    if prices is None:
        return "No price chooses it: it lies above the lower hull."
    low, high = prices
    if high == math.inf and not low:
        return "Every price chooses it: no larger point is better."
    words = f"{_show(low)} to {_show(high)}"
    worth = f"{_show(low / 100)} to {_show(high / 100)}"
    if high == math.inf:
        words, worth = f"above {_show(low)}", f"more than {_show(low / 100)}"
    elif not low:
        words, worth = f"below {_show(high)}", f"less than {_show(high / 100)}"
    return f"Prices {words} choose it: 1 % of the size is worth {worth} {unit}."


def _show(value: float) -> str:
    return format_decimal(value, digits=4)


def _name_next(content: Json, curve: Curve, number: int) -> list[str]:
    """Returns what the next smaller point costs."""
    if number + 1 >= len(curve.sizes):
        return []
    point, after = (content["points"][i] for i in (number, number + 1))
    more = after["error"] - point["error"]
    half = curve.errors.half_width(number + 1, number)
    wide = "" if half is None else f" ± {_show(half)}"
    saved = 1 - after["size"] / point["size"]
    size = show_size(content, after["size"])
    return [
        f"The next smaller one, {after['name']}, has {size} ({format_percent(saved)} "
        f"less) and costs {more:+.4f}{wide} {_unit(content)}."
    ]


def _name_end(content: Json, number: int) -> list[str]:
    if 0 < number < len(content["points"]) - 1:
        return []
    end, side = ("first", "larger") if number == 0 else ("last", "smaller")
    return [
        f"It is the {end} point of the path: the best size may lie beyond it, and be "
        f"{side}."
    ]


def _name_reason(content: Json, curve: Curve, rule: Rule, number: int) -> list[str]:
    if rule.name == "description_length":
        return _name_parts(curve, number)
    keeps_all = rule.name == "one_standard_error" and number == curve.least == 0
    if keeps_all and content["task"] == TEXT:
        return [
            "That is the largest model: where a text is seen about once, the largest "
            "has nearly always the least error, and this rule keeps it all. "
            "description_length and alpha=A weigh size as well."
        ]
    return []


def _name_parts(curve: Curve, number: int) -> list[str]:
    """Returns both parts of a description length, and which of them decides."""
    model, text = curve.model_bits, curve.text_bits
    parts = (
        f"Model file {format_si(model[number], 'bit')}, training text "
        f"{format_si(text[number], 'bit')}, together "
        f"{format_si(model[number] + text[number], 'bit')}."
    )
    ranges = [max(part) - min(part) for part in (model, text)]
    sentences = [parts]
    if ranges[1] > DECIDES_ALONE * ranges[0]:
        sentences.append(
            "The text decides alone: its bits differ by "
            f"{format_si(ranges[1], 'bit')} between the points, those of the model "
            f"file by {format_si(ranges[0], 'bit')}."
        )
    elif ranges[0] > DECIDES_ALONE * ranges[1]:
        sentences.append(
            "The model file decides alone: its bits differ by "
            f"{format_si(ranges[0], 'bit')} between the points, those of the text by "
            f"{format_si(ranges[1], 'bit')}."
        )
    return sentences


def describe_end(root: Any, chosen: str, task: str) -> str:
    """Returns the command that uses the chosen model.

    Examples:
        >>> describe_end("runs/a", "chosen", "mlm")
        'slimjax evaluate --workdir=runs/a/chosen --data=SOURCE'
    """
    if task == TEXT:
        return f"slimjax generate --workdir={root}/{chosen} --prompt='...'"
    if task in FILLERS:
        return f"slimjax evaluate --workdir={root}/{chosen} --data=SOURCE"
    return f"slimjax predict --workdir={root}/{chosen} --input=SOURCE --output=FILE"


def describe_unmet(text: str, error: NotFeasibleError) -> Json:
    """Returns, as plain data, that no point meets a rule.

    Args:
        text: The rule, as it was written.
        error: What it raised, with the nearest point.
    """
    return {"rule": text, "name": None, "sentences": [str(error)]}
