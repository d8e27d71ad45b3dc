"""The part of a page that shows what a model answered."""

from collections.abc import Sequence

from slimjax.metrics.extra import describe_left_out
from slimjax.metrics.texts import describe_settings
from slimjax.report.answer_figures import (
    name_left_out,
    name_renamed,
    plot_confusion,
    plot_curves,
    plot_hits,
    plot_lengths,
    plot_values,
)
from slimjax.report.answer_lines import references_of
from slimjax.report.answer_tables import make_class_table, make_metric_table
from slimjax.report.answer_texts import rank_mistakes, show_mistakes, show_some
from slimjax.report.answers import MAX_LINES, Answers
from slimjax.report.images import embed
from slimjax.report.markup import escape, write_table
from slimjax.report.metrics import SPLITS
from slimjax.report.overfitting import explain_gaps, make_gap_table
from slimjax.report.read import Run
from slimjax.report.versus import HEADS, NOTE, compare_answers, explain_unpaired

CAPTIONS = {
    "confusion": "Right classes (rows) by predicted classes (columns). The colour is "
    "the part of the row, the number counts examples.",
    "curves": "ROC curves and reliability. Left: how many examples of a class are "
    "found, by how many others are taken for it. Right: accuracy by confidence; on the "
    "dashed line, a model is right as often as it is sure.",
    "lengths": "The headline metric by length of what was read, with 95 % intervals.",
    "hits": "How often the right candidate is among the first k.",
    "values": "Predicted by right values. On the dashed line both are equal.",
}

WRITTEN = ("texts", "summaries")
"""Kinds that are compared to references word by word."""

MISTAKES = {
    "texts": "Examples with the highest loss",
    "ranks": "Queries whose right candidate comes late",
    "values": "Values that are furthest off",
}


def write_answers(
    run: Run, answers: Answers | None, images: dict[str, bytes], *, prefix: str
) -> list[str]:
    """Returns the answers of a run as HTML; only the gaps where there are none."""
    parts = _write_gaps([run])
    if answers is None:
        return parts
    where = SPLITS[answers.split]
    title = f"<h3>Answers: {len(answers.lines):,} examples of {escape(where)}</h3>"
    parts += [title, *_notes(answers), write_table(*make_metric_table(answers))]
    parts += _draw(answers, images, prefix)
    by_class = make_class_table(answers)
    if by_class is not None:
        word = "type" if answers.kind.name == "entities" else "class"
        parts += [f"<h3>By {word}</h3>", write_table(*by_class)]
    some = show_some(answers)
    if some:
        parts += ["<h3>Some examples</h3>", some]
    return parts + _write_mistakes(answers)


def write_pairs(runs: Sequence[Run], known: Sequence[Answers | None]) -> list[str]:
    """Returns the comparison of runs on the same examples as HTML."""
    gaps = _write_gaps(runs)
    if not any(known):
        return gaps
    rows, notes = compare_answers(runs, known)
    notes += [NOTE] if rows else []
    notes += [explain_unpaired(runs, known)]
    table = [write_table(HEADS, rows)] if rows else []
    notes = [f"<p class='muted'>{escape(note)}</p>" for note in notes if note]
    return ["<h2>On the same examples</h2>", *table, *notes, *gaps]


def _write_gaps(runs: Sequence[Run]) -> list[str]:
    heads, rows = make_gap_table(runs)
    if not rows:
        return []
    note = f"<p class='muted'>{escape(explain_gaps(runs))}</p>"
    return ["<h3>Training beside validation</h3>", write_table(heads, rows), note]


def _notes(answers: Answers) -> list[str]:
    """Returns what is left out of the numbers below, and how texts were cut."""
    notes = []
    if answers.is_cut:
        notes.append(
            f"Only the first {MAX_LINES:,} lines of predictions-{answers.split}.jsonl "
            f"are shown and counted here; metrics-{answers.split}.json counts all."
        )
    if answers.num_left_out:
        notes.append(f"Lines without an answer, left out: {answers.num_left_out:,}.")
    if answers.kind.name in WRITTEN:
        left_out = describe_left_out()
        notes += [f"Left out: {left_out}"] if left_out else []
    notes = [f"<p class='warning'>{escape(note)}</p>" for note in notes if note]
    if answers.kind.name in WRITTEN:
        settings = describe_settings([references_of(line) for line in answers.lines])
        text = "; ".join(
            f"{name.replace('_', ' ')}: {value}" for name, value in settings.items()
        )
        notes.append(f"<p class='muted'>{escape(text)}</p>")
    return notes


def _draw(answers: Answers, images: dict[str, bytes], prefix: str) -> list[str]:
    plots = {"lengths": plot_lengths}
    if answers.kind.name == "classes":
        plots = {"confusion": plot_confusion, "curves": plot_curves} | plots
    if answers.kind.name == "several":
        plots = {"curves": plot_curves} | plots
    if answers.kind.name == "ranks":
        plots = {"hits": plot_hits} | plots
    if answers.kind.name == "values":
        plots = {"values": plot_values} | plots
    figures = [(name, plot(answers)) for name, plot in plots.items()]
    renamed = name_renamed(answers) if "curves" in plots else ""
    captions = {n: f"{CAPTIONS[n]}{'' if n == 'lengths' else renamed}" for n in plots}
    if "confusion" in captions:
        captions["confusion"] += name_left_out(answers)
    return [
        embed(figure, f"{prefix}{name}", captions[name], images)
        for name, figure in figures
        if figure is not None
    ]


def _write_mistakes(answers: Answers) -> list[str]:
    shown = show_mistakes(answers)
    if not shown:
        return []
    num = len(rank_mistakes(answers))
    title = MISTAKES.get(answers.kind.name, "The costliest mistakes")
    return [f"<h3>{title} ({num})</h3>", shown]
