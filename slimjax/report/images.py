"""Figures inside a page, and beside it as PNG files."""

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

from slimjax.report.markup import escape
from slimjax.store.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 180  # Twice what a common screen shows at 900 px, so print is sharp.


def embed(figure: "Figure", name: str, caption: str, images: dict[str, bytes]) -> str:
    """Adds a figure to the images, and returns it as HTML.

    Args:
        figure: What to draw.
        name: Its name among the images.
        caption: A text; its first sentence is the text in place of the figure.
        images: PNG files by name.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    figure.set_dpi(DOTS_PER_INCH)
    FigureCanvasAgg(figure).print_png(buffer)
    images[name] = buffer.getvalue()
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    caption = escape(caption)
    title = caption.partition(". ")[0]
    return (
        f"<figure><img alt='{title}' src='{source}'>"
        f"<figcaption>{caption}</figcaption></figure>"
    )


def write_with_images(output: Path, page: str, images: dict[str, bytes]) -> list[Path]:
    """Writes the images, then the page; each file appears whole or not at all.

    Returns:
        The files written, the page first; ``report.html`` has ``report_NAME.png``.
    """
    written = [output]
    for name, image in images.items():
        path = output.with_name(f"{output.stem}_{name}.png")
        write_atomic(path, image)
        written.append(path)
    write_atomic(output, page.encode("utf-8", errors="replace"))
    return written
