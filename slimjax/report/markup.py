"""HTML for the pages: tables and the frame; all text passes through `escape`."""

import html

STYLE = """
:root { color-scheme: light; --ink: #2b3440; --muted: #687382; --line: #dfe4ea; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.2rem 4rem; max-width: 60rem; color: var(--ink);
  background: #fff; font: 16px/1.55 system-ui, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .7rem; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
.summary { font-size: 1.1rem; margin: 0 0 1.4rem; }
.warning { border-left: 4px solid #e2832a; background: #fdf4ea; padding: .4rem .8rem; }
.muted, figcaption, small { color: var(--muted); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums;
  font-size: .92rem; }
th, td { padding: .32rem .8rem; border-bottom: 1px solid var(--line);
  text-align: right; white-space: nowrap; }
th { font-weight: 600; white-space: normal; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.many { font-size: .84rem; }
.many th + th, .many td + td { padding: .32rem .4rem; }
.words { text-align: left; white-space: normal; min-width: 11rem; }
figure { margin: 1.2rem 0 2rem; }
figure img { display: block; width: 100%; max-width: 900px; height: auto; }
figcaption { font-size: .9rem; max-width: 46rem; margin-top: .3rem; }
pre { background: #f6f8fa; border: 1px solid var(--line); border-radius: 6px;
  padding: .8rem 1rem; white-space: pre-wrap; overflow-wrap: anywhere;
  font: .87rem/1.5 ui-monospace, Menlo, Consolas, monospace; }
details { margin: .6rem 0; }
.mistakes { padding-left: 1.6rem; }
dl { display: grid; grid-template-columns: 6rem 1fr; gap: .1rem .6rem; }
.mistakes span + span { margin-left: .8rem; }
.pictured { display: grid; gap: .8rem 2rem; font-size: .92rem;
  grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)); }
ul.pictured { list-style: none; padding-left: 0; }
.pictured span, .pictured small { display: block; }
.pictured span + span { margin-left: 0; }
.pictured dl { grid-template-columns: max-content 1fr; }
.seen { display: block; min-width: 6rem; max-width: 14rem; height: auto;
  image-rendering: pixelated; border: 1px solid var(--line); }
.mistakes li { margin: 0 0 .9rem; overflow-wrap: anywhere; }
.mistakes p, .mistakes dl { margin: .1rem 0; }
dt { color: var(--muted); }
dd { margin: 0; }
mark { background: none; color: inherit; border-radius: 3px; padding: .05em .15em; }
.hue0 { background: #cfe3f5; } .hue1 { background: #fbe0c3; }
.hue2 { background: #c9e8e3; } .hue3 { background: #f2d0ca; }
.hue4 { background: #d9ecd4; } .hue5 { background: #e3d9f2; }
.hue6 { background: #f5ecb8; } .hue7 { background: #dfe4ea; }
.hue8 { background: #f7cfe3; } .hue9 { background: #c3d1f7; }
.hue10 { background: #dcd0bd; } .hue11 { background: #b7e6f0; }
small { white-space: nowrap; }
summary { cursor: pointer; }
@media (max-width: 40rem) { body { padding: 1.2rem .8rem 3rem; font-size: 15px; }
  th, td { padding: .28rem .5rem; } }
@media print { body { max-width: none; padding: 0; font-size: 11pt; }
  figure, tr, pre { break-inside: avoid; } }
"""

MANY = 8
"""Columns of a table beyond which they stand closer together."""


def escape(text: str) -> str:
    """Makes any text safe inside HTML; control characters become visible marks."""
    shown = (
        c if c.isprintable() or c in "\n\t " else "\N{REPLACEMENT CHARACTER}"
        for c in text
    )
    return html.escape("".join(shown), quote=True)


def write_table(heads, rows, *, words: int | None = None) -> str:
    """Writes a table; the column `words`, if any, holds text and may wrap."""

    def cell(tag: str, column: int, text: str) -> str:
        look = " class='words'" if column == words else ""
        return f"<{tag}{look}>{escape(text)}</{tag}>"

    def line(tag: str, cells) -> str:
        return f"<tr>{''.join(cell(tag, i, text) for i, text in enumerate(cells))}</tr>"

    body = "".join(line("td", row) for row in rows)
    head = f"<thead>{line('th', heads)}</thead>"
    look = " class='many'" if len(heads) > MANY else ""
    return f"<div class='wide'><table{look}>{head}<tbody>{body}</tbody></table></div>"


def write_page(title: str, parts: list[str]) -> str:
    """Returns the whole page: a title, and parts that are HTML already."""
    body = "\n".join(parts)
    return (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )
