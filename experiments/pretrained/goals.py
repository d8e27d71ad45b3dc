"""The bars of the study, what was reached, and the best of the others."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

TEXT, CALIBRATION = "Persuasion", "novels-240-48"
FEWER = f"{CALIBRATION}-48"
"""Refitted on 48 rows, as the peers are."""

STRUCTURE = {"90%": 1.055, "80%": 1.19, "70%": 1.33}
BITS = {8.5: 1.002, 4.5: 1.08, 3.5: 1.33, 2.7: 3.6, 2.5: None}
VOCABULARY = {"86%": 1.06, "80%": 1.12, "70%": 1.25}
TWO_STEPS, ALONE = ("prune-round", "round-prune"), ("round",)
"""Arms that packed files of ours are to be better than."""

SIZES = ("50", "35", "25")

NEAR = 0.15
"""Bits by which others may differ from a bar's, to be compared with it. The tokenizer
in files of llama.cpp is 0.1 of them."""

MRR, DECODE = 0.78, 0.8
PACKAGE = "int8 ONNX package"
Result = dict


class Goal(NamedTuple):
    """A bar; figures are None where nothing was run.

    Attributes:
        name: What is measured.
        bar: What is to be reached; None for the best other.
        reached: Our figure.
        other: The best figure of others.
        unit: Behind figures.
        is_low: Whether low figures are good.
    """

    name: str
    bar: float | None
    reached: float | None
    other: float | None = None
    unit: str = " x"
    is_low: bool = True

    @property
    def verdict(self) -> str:
        """Whether it is reached, in a word."""
        bars = [bar for bar in (self.bar, self.other) if bar is not None]
        if self.reached is None or not bars:
            return "not run"
        sign = 1 if self.is_low else -1
        return "yes" if all(sign * self.reached <= sign * b for b in bars) else "no"

    def row(self) -> str:
        """Returns a line of a table."""
        show = lambda x: "" if x is None else f"{x:.3f}{self.unit}"
        bar = "the best other" if self.bar is None else show(self.bar)
        cells = self.name, bar, show(self.reached), show(self.other), self.verdict
        return f"| {' | '.join(cells)} |"


def list_goals(results: list[Result]) -> list[str]:
    """Returns the table of bars, and by how much they were missed or met."""
    lines = ["| figure | bar | reached | best other | met |", "|---|---|---|---|---|"]
    makers = (of_structure, of_bits, of_vocabulary, of_sizes, of_vectors, of_decoding)
    return lines + [goal.row() for make in makers for goal in make(results)]


def part(results: list[Result], name: str) -> list[Result]:
    """Returns the results of one kind."""
    return [result for result in results if result.get("part") == name]


def least(results: list[Result]) -> float | None:
    """Returns the best ratio to the original's perplexity; None for no results."""
    ratios = [result["errors"][TEXT]["ratio"] for result in results]
    return min(ratios) if ratios else None


def is_ours(result: Result, *calibrations: str) -> bool:
    """Whether a result is of ours, with the usual calibration or one of others."""
    is_own = result["arm"].startswith("ours") and result.get("refit", True)
    return is_own and result["calibration"] in (calibrations or (CALIBRATION,))


def of_structure(results: list[Result]) -> Iterator[Goal]:
    """Yields the bars of models with fewer parameters; others with or without refit."""
    for budget, bar in STRUCTURE.items():
        own = [r for r in part(results, "structure") if r["budget"] == budget]
        name = f"{budget} of the parameters"
        yield Goal(name, bar, least([r for r in own if is_ours(r)]))
        others = [r for r in own if not r["arm"].startswith("ours")]
        others = least([r for r in others if r["calibration"] == FEWER])
        ours = least([r for r in own if is_ours(r, FEWER)])
        yield Goal(f"{name}, refitted on 48 rows", None, ours, others)


def of_bits(results: list[Result]) -> Iterator[Goal]:
    """Yields the bars of models with fewer bits."""
    for bits, bar in BITS.items():
        own = [r for r in part(results, "bits") if abs(r["bits"] - bits) < NEAR]
        others = [r for r in own if not r["arm"].startswith("ours")]
        priced = [r for r in own if r["arm"] == "ours"]
        ours = least([r for r in priced if is_ours(r, CALIBRATION, FEWER)])
        yield Goal(f"{bits} bits", bar, ours, least(others))


def of_vocabulary(results: list[Result]) -> Iterator[Goal]:
    """Yields the bars of models with fewer rows of the vocabulary, too."""
    for budget, bar in VOCABULARY.items():
        own = [r for r in part(results, "vocabulary") if r["budget"] == budget]
        ours = least([r for r in own if is_ours(r, CALIBRATION, FEWER)])
        yield Goal(f"{budget} of the parameters, vocabulary priced", bar, ours)


def of_sizes(results: list[Result]) -> Iterator[Goal]:
    """Yields the bars of packed files, each calibrated and refitted on equal rows."""
    found = part(results, "sizes")
    for rows, healed, few in itertools.product((False, True), repeat=3):
        words = (", the same rows cut" if rows else "") + healed * ", healed"
        words += "" if few else ", refitted on 240 rows"
        kind = rows, healed, FEWER if few else CALIBRATION
        for size in SIZES:
            own = [r for r in found if r["megabytes"] == size and kind_of(r) == kind]
            ours = least([r for r in own if r["arm"] == "ours"])
            steps = [r for r in own if r["arm"] in TWO_STEPS]
            others = least(steps + alone(found, kind, size))
            if few or (ours and others):
                yield Goal(f"{size} MB{words}", None, ours, others)


def alone(results: list[Result], kind: tuple, size: str) -> list[Result]:
    """Returns models of fewer bits alone: they have nothing to heal."""
    rows, _, calibration = kind
    found = [r for r in results if r["arm"] in ALONE and r["megabytes"] == size]
    return [r for r in found if kind_of(r) == (rows, False, calibration)]


def kind_of(result: Result) -> tuple[bool, bool, str]:
    """Returns what must be equal where packed files are compared."""
    is_cut, is_healed = bool(result.get("kept_rows")), bool(result.get("heal_tflop"))
    return is_cut, is_healed, result["calibration"]


def of_vectors(results: list[Result]) -> Iterator[Goal]:
    """Yields the bars of MiniLM."""
    arms = next((r["arms"] for r in part(results, "vectors")), {})
    known = [own for name, own in arms.items() if name.startswith("ours")]
    ours = max(known, key=lambda own: own["cosine"], default=None)
    other = arms.get(PACKAGE)
    pick = lambda own, key: None if own is None else own[key]
    figures = pick(ours, "cosine"), pick(other, "cosine")
    yield Goal("MiniLM: cosine to the original", None, *figures, unit="", is_low=False)
    yield Goal("MiniLM: MRR", MRR, pick(ours, "mrr"), unit="", is_low=False)
    in_mb = lambda own: None if own is None else own["bytes"] / 1e6
    sizes = in_mb(ours), in_mb(other)
    yield Goal("MiniLM: size", None, *sizes, unit=" MB")


def of_decoding(results: list[Result]) -> Iterator[Goal]:
    """Yields the bars of speeds: a part of how many times fewer bytes are read."""
    for own in part(results, "decode"):
        for timed in own["timed"]:
            name = f"writing, {own['budget']} of the parameters, {timed['weights']}"
            bar = DECODE * timed["bytes_ratio"]
            yield Goal(name, bar, timed["ratio"], is_low=False)
