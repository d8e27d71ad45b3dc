"""A tune on one page: the answer, the figure, the table, and what other rules say."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from slimjax.errors import ConfigError
from slimjax.metrics.frontier import find_corner, hypervolume
from slimjax.paths import user_path
from slimjax.report.images import embed
from slimjax.report.markup import escape, write_page, write_table
from slimjax.report.quantities import format_si
from slimjax.report.tune_figure import plot_tune, plot_tunes
from slimjax.report.tune_table import (
    MEASURES,
    Json,
    explain_tune,
    loss_unit,
    make_tune_table,
)
from slimjax.store.files import write_atomic

CAPTION = (
    "Held-out error against size. Bars are 95 % intervals over what is held out in all "
    "folds. It is the same for all points, so differences are surer than the bars "
    "look. The line joins the points that some price chooses; grey points are "
    "dominated: another one is neither larger nor worse."
)
RULE_HEADS = ("rule", "chooses")


def write_tune(
    content: Json,
    answer: Mapping[str, object],
    others: Sequence[tuple[str, str]],
    command: str,
    output: str | Path,
) -> list[Path]:
    """Writes the page, and its figure as a PNG file.

    Args:
        content: What ``tune.json`` holds.
        answer: The answer of a rule: ``name`` of the point, None if no point meets
            it, and ``sentences``.
        others: Rules, and the points that they choose.
        command: What uses the chosen model; empty without one.
        output: The page, such as ``tune.html``; beside it is ``tune.png``.

    Returns:
        The files written, the page first.
    """
    output, images = user_path(output), {}
    sentences = answer["sentences"]
    assert isinstance(sentences, Sequence)
    figure = plot_tune(content, str(answer["name"]))
    parts = [
        f"<p class='summary'>{escape(str(sentences[0]))}</p>",
        *(f"<p>{escape(str(sentence))}</p>" for sentence in sentences[1:]),
        *([f"<pre>{escape(command)}</pre>"] if command else []),
        embed(figure, "tune", CAPTION, images),
        write_table(*make_tune_table(content)),
        *(f"<p class='muted'>{escape(text)}</p>" for text in explain_tune(content)),
        "<h2>What other rules choose</h2>",
        write_table(RULE_HEADS, others),
        *_compare(content),
    ]
    title = f"How much is size worth? {content['task']}, {content['measure']}"
    image = output.with_suffix(".png")
    write_atomic(image, images["tune"])
    write_atomic(output, write_page(title, parts).encode("utf-8", errors="replace"))
    return [output, image]


def _compare(content: Json) -> list[str]:
    """Returns the path beside other curves; nothing without some."""
    if not content["compared"]:
        return []
    curves = {"path": content, **content["compared"]}
    rows = [[name, f"{curve['hypervolume']:.4f}"] for name, curve in curves.items()]
    parts = ["<h2>Beside the path</h2>", write_table(["", "hypervolume"], rows)]
    for name, curve in content["compared"].items():
        heads, lines = make_tune_table(content | curve)
        parts += [f"<h3>{escape(name)}</h3>", write_table(heads, lines)]
    return parts


def write_tunes(
    contents: Sequence[Json], names: Sequence[str], output: str | Path
) -> list[Path]:
    """Writes a page that lays several tunes over each other.

    Args:
        contents: What their ``tune.json`` hold.
        names: What they are called.
        output: The page; beside it is the figure as a PNG file.

    Raises:
        ConfigError: If they count another size or another error.
    """
    for key in ("measure", "target"):
        found = {str(content[key]) for content in contents}
        if len(found) > 1:
            raise ConfigError(
                f"These tunes have different {key}s, {' and '.join(sorted(found))}, "
                "and cannot be laid over each other."
            )
    output, images = user_path(output), {}
    curves = [[(p["size"], p["error"]) for p in c["points"]] for c in contents]
    corner = find_corner(curves)
    rows = [
        [name, f"{hypervolume(curve, corner):.4f}"]
        for name, curve in zip(names, curves, strict=True)
    ]
    measure = MEASURES.get(contents[0]["measure"], contents[0]["measure"])
    note = (
        f"Hypervolume: the area between a curve and the corner of {measure} "
        f"{format_si(corner[0])} and {corner[1]:.3f} {loss_unit(contents[0])}, both "
        "axes logarithmic. More is better."
    )
    parts = [
        embed(plot_tunes(contents, names), "tunes", CAPTION, images),
        write_table(["tune", "hypervolume"], rows),
        f"<p class='muted'>{escape(note)}</p>",
    ]
    for name, content in zip(names, contents, strict=True):
        parts += [f"<h2>{escape(name)}</h2>", write_table(*make_tune_table(content))]
        texts = explain_tune(content)
        parts += [f"<p class='muted'>{escape(text)}</p>" for text in texts]
    image = output.with_suffix(".png")
    write_atomic(image, images["tunes"])
    title = f"{len(contents)} tunes" if len(contents) > 1 else f"Tune {names[0]}"
    page = write_page(title, parts)
    write_atomic(output, page.encode("utf-8", errors="replace"))
    return [output, image]
