"""Examples as people read them: mistakes, coloured entities, spans, translations."""

from collections.abc import Callable, Sequence

import numpy as np

from slimjax.report.answer_lines import (
    Entities,
    Line,
    answers_of,
    entities_of_line,
    is_list,
    is_span,
    label_of,
    labels_of,
    place_of_answer,
    references_of,
)
from slimjax.report.answers import Answers
from slimjax.report.markup import escape
from slimjax.report.quantities import ABSENT, format_decimal, format_percent

MAX_MISTAKES = 20
MAX_CHARS = 600
"""Characters of a text that are shown."""

MAX_HUES = 12
"""Colours of types of entities, see `slimjax.report.markup.STYLE`."""


def show_mistakes(answers: Answers) -> str:
    """Returns the costliest mistakes as a list; empty where all is right."""
    worst = rank_mistakes(answers)
    if not worst:
        return ""
    types = _find_types([answers.lines[i] for i in worst])
    items = [_show(answers, answers.lines[i], types) for i in worst]
    pictured = " pictured" * any("<img" in item for item in items)
    return f"{_legend(types)}<ol class='mistakes{pictured}'>{''.join(items)}</ol>"


def rank_mistakes(answers: Answers) -> list[int]:
    """Returns the wrong answers, by loss where it is known, else by how wrong."""
    losses = np.array([np.nan if x.loss is None else x.loss for x in answers.lines])
    costs = answers.costs
    is_known = np.isfinite(losses).all() and answers.kind.name not in (
        "values",
        "ranks",
    )
    order = np.argsort(-(losses if is_known else costs), kind="stable")
    return [i for i in order.tolist() if costs[i] > 0][:MAX_MISTAKES]


def _show(answers: Answers, line: Line, types: Sequence[str]) -> str:
    body = SHOWN[answers.kind.name](answers, line, types)
    if line.loss is not None:
        loss = f" <small>loss {line.loss:.2f} nats</small>"
        body = body.removesuffix("</p>") + loss + "</p>" * body.endswith("</p>")
    return f"<li>{answers.images.tag(line.number)}{body}</li>"


def show_some(answers: Answers) -> str:
    """Returns examples with their images, right or wrong; empty without images."""
    chosen = set(answers.images.shown) & set(answers.images.sources)
    lines = [line for line in answers.lines if line.number in chosen]
    if not lines:
        return ""
    items = [_show(answers, line, _find_types(lines)) for line in lines]
    return f"<ul class='mistakes pictured'>{''.join(items)}</ul>"


def _show_class(answers: Answers, line: Line, _: Sequence[str]) -> str:
    scores = line.fields["scores"]
    names = str(line.prediction), label_of(line)
    said, right = (f"{name} ({_share(scores.get(name))})" for name in names)
    shown = _marked_parts(answers, line) or _input(answers, line)
    return shown + _pair("predicted", said, "right", right)


def _marked_parts(answers: Answers, line: Line) -> str:
    """Returns a text in which the two parts of a relation are marked, if it has any."""
    text, spans = (answers.input_of(line, name) for name in ("text", "spans"))
    parts = [s for s in spans if is_span(s)] if is_list(spans) else []
    if not parts or not isinstance(text, str):
        return ""
    cut, moved = _around(text, [(s[0], s[1], str(i + 1)) for i, s in enumerate(parts)])
    return f"<p>{_mark(list(cut), '', moved, [m[2] for m in moved])}</p>"


def _show_several(answers: Answers, line: Line, _: Sequence[str]) -> str:
    said = ", ".join(map(str, line.prediction)) or "none"
    right = ", ".join(map(str, labels_of(line))) or "none"
    return _input(answers, line) + _pair("predicted", said, "right", right)


def _show_value(answers: Answers, line: Line, _: Sequence[str]) -> str:
    values = [
        format_decimal(float(v)) for v in (line.prediction, line.expected["value"])
    ]
    return _input(answers, line) + _pair("predicted", values[0], "right", values[1])


def _show_entities(answers: Answers, line: Line, types: Sequence[str]) -> str:
    found, right = entities_of_line(line)
    tokens = _units(answers, line)
    rows = (("predicted", found), ("right", right))
    return "".join(
        f"<p><b>{side}</b> {_mark(*tokens, entities, types)}</p>"
        for side, entities in rows
    )


def _show_span(answers: Answers, line: Line, _: Sequence[str]) -> str:
    question = _input(answers, line, "question")
    context = answers.input_of(line, "context")
    text = context if isinstance(context, str) else ""
    start, said = line.fields.get("start"), str(line.prediction)
    spans: Entities = []
    if isinstance(start, int) and said and text[start : start + len(said)] == said:
        spans = [(start, start + len(said), "predicted")]
    right = next((a for a in answers_of(line) if a), "")
    place = place_of_answer(line, text)
    if place is not None and not any(_overlap(place, span) for span in spans):
        spans.append((*place, "right"))
    cut, moved = _around(text, spans)
    shown = _mark(list(cut), "", moved, ("predicted", "right")) if text else ""
    sides = (("predicted", said), ("right", right))
    drawn = {kind for _, _, kind in spans}
    cells = [
        f"<b>{name}</b> <mark class='{hue if name in drawn else ''}'>"
        f"{escape(text or 'no answer')}</mark>"
        for hue, (name, text) in zip(("hue0", "hue1"), sides, strict=True)
    ]
    return f"{question}<p>{shown}</p><p>{' &nbsp; '.join(cells)}</p>"


def _show_rank(answers: Answers, line: Line, _: Sequence[str]) -> str:
    ranking = line.fields.get("ranking")
    best = ranking[0] if is_list(ranking) and ranking else {}
    first = best.get("text") if isinstance(best, dict) else best
    rows = [("query", answers.input_of(line, "text"))]
    rows += [("first", first), ("right", answers.input_of(line, "text_pair"))]
    cells = [f"<dt>{n}</dt><dd>{_cut(str(text or ABSENT))}</dd>" for n, text in rows]
    rank = f"<dt>rank</dt><dd>{line.fields['rank']:,}</dd>"
    return f"<dl>{''.join(cells)}{rank}</dl>"


def _show_sentences(answers: Answers, line: Line, _: Sequence[str]) -> str:
    sentences = answers.input_of(line, "sentences")
    right = [i for i, mark in enumerate(line.expected["labels"]) if mark]
    texts = []
    for numbers in (line.fields["chosen"], right):
        known = sentences if is_list(sentences) else []
        own = [known[i] if i < len(known) else f"sentence {i}" for i in numbers]
        texts.append(" ".join(map(str, own)) or "none")
    rows = [("document", answers.text_of(line)), ("chosen", texts[0])]
    rows += [("right", texts[1])]
    cells = [f"<dt>{name}</dt><dd>{_cut(text)}</dd>" for name, text in rows]
    return f"<dl>{''.join(cells)}</dl>"


def _show_text(answers: Answers, line: Line, _: Sequence[str]) -> str:
    rows = [("source", answers.text_of(line)), ("predicted", str(line.prediction))]
    rows += [("right", text) for text in references_of(line)[:3]]
    cells = [f"<dt>{name}</dt><dd>{_cut(text)}</dd>" for name, text in rows]
    return f"<dl>{''.join(cells)}</dl>"


SHOWN: dict[str, Callable[[Answers, Line, Sequence[str]], str]] = {
    "classes": _show_class,
    "several": _show_several,
    "values": _show_value,
    "entities": _show_entities,
    "spans": _show_span,
    "ranks": _show_rank,
    "sentences": _show_sentences,
    "summaries": _show_text,
    "texts": _show_text,
}


def _find_types(lines: Sequence[Line]) -> list[str]:
    """Returns the types of entities in some lines."""
    if not any({"tags", "entities"} & set(line.expected) for line in lines):
        return []
    sides = [side for line in lines for side in entities_of_line(line)]
    return sorted({kind for side in sides for _, _, kind in side})


def _legend(types: Sequence[str]) -> str:
    marks = [
        f"<mark class='hue{i % MAX_HUES}'>{escape(t)}</mark>"
        for i, t in enumerate(types)
    ]
    return f"<p>{' '.join(marks)}</p>" if marks else ""


def _units(answers: Answers, line: Line) -> tuple[list[str], str]:
    """Returns what places of entities count, and what stands between two of them."""
    tokens = answers.input_of(line, "tokens")
    if isinstance(tokens, list) and "tags" in line.expected:
        return [str(token) for token in tokens], " "
    text = answers.input_of(line, "text")
    if isinstance(text, str):
        return list(text), ""
    return [str(t) for t in tokens] if isinstance(tokens, list) else [], " "


def _mark(
    units: list[str], joint: str, entities: Entities, types: Sequence[str]
) -> str:
    """Returns a text in which entities are coloured by type."""
    parts, place = [], 0
    for start, end, kind in sorted(entities):
        start, end = max(start, place), min(end, len(units))
        if start >= end:
            continue
        parts.append(escape(joint.join(units[place:start])))
        hue = list(types).index(kind) % MAX_HUES if kind in types else 0
        inside = escape(joint.join(units[start:end]))
        parts.append(f"<mark class='hue{hue}' title='{escape(kind)}'>{inside}</mark>")
        place = end
    parts.append(escape(joint.join(units[place:])))
    return joint.join(part for part in parts if part)


def _overlap(place: tuple[int, int], span: tuple[int, int, str]) -> bool:
    return span[0] < place[1] and place[0] < span[1]


def _around(text: str, spans: Entities) -> tuple[str, Entities]:
    """Cuts a long text to the neighbourhood of the spans."""
    if len(text) <= MAX_CHARS:
        return text, spans
    first = min((span[0] for span in spans), default=0)
    begin = max(0, min(first - MAX_CHARS // 3, len(text) - MAX_CHARS))
    moved = [(start - begin, end - begin, kind) for start, end, kind in spans]
    return text[begin : begin + MAX_CHARS], moved


def _input(answers: Answers, line: Line, name: str = "") -> str:
    text = answers.input_of(line, name) if name else answers.text_of(line)
    if not text and answers.images.tag(line.number):
        return ""
    return f"<p>{_cut(str(text or ABSENT))}</p>"


def _pair(*cells: str) -> str:
    pairs = zip(cells[::2], cells[1::2], strict=True)
    parts = [f"<span><b>{name}</b> {_cut(text)}</span>" for name, text in pairs]
    return f"<p>{' '.join(parts)}</p>"


def _cut(text: str) -> str:
    return escape(text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]} ...")


def _share(value: object) -> str:
    is_number = isinstance(value, float | int)
    return format_percent(value) if is_number else ABSENT
