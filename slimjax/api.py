"""A whole run from one call: train, slim, report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slimjax.config import to_plain
from slimjax.paths import printable, user_path
from slimjax.processes import is_first
from slimjax.run.progress import Display
from slimjax.run.start import train
from slimjax.train.config import make_run_config
from slimjax.train.devices import prepare_devices


class Report(dict[str, Any]):
    """The content of ``report.json``, which shows itself in a notebook.

    Attributes:
        workdir: The run folder.
    """

    def __init__(self, content: Mapping[str, Any], workdir: Path):
        """Keeps the folder beside the content."""
        super().__init__(content)
        self.workdir = workdir

    def __repr__(self) -> str:
        """Returns the closing table as text."""
        lines = [self._title(), *("  ".join(row) for row in self._rows())]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Returns the closing table for a notebook."""
        from slimjax.report.markup import escape, write_table

        heads = ["", "start", "end", "end / start"]
        return f"<p>{escape(self._title())}</p>{write_table(heads, self._rows())}"

    def _title(self) -> str:
        return f"Report of {printable(self.workdir)}; the page is report.html there."

    def _rows(self) -> list[tuple[str, ...]]:
        from slimjax import report

        rows = report.make_table(report.read_run(self.workdir))
        return [tuple(row) for row in rows]


def fit(
    config: Mapping[str, Any], workdir: str | Path, *, quiet: bool = False
) -> Report:
    """Trains and slims a model into a run folder, or continues it.

    Args:
        config: Blocks of settings, such as a config file's ``get_config()`` returns.
            Values may be NumPy numbers, arrays and paths.
        workdir: The run folder; made if it is not there.
        quiet: Whether to show no progress on stderr.

    Returns:
        The content of ``report.json``, a dict; ``report.html`` stands beside it.

    Raises:
        SlimjaxError: For a mistake that the user can correct.
        StoppedError: After Ctrl-C; the state is saved, and the same call continues.
        KeyboardInterrupt: After a second Ctrl-C; what was saved before stays.
    """
    from slimjax import report

    prepare_devices()
    folder, run = user_path(workdir, "workdir"), make_run_config(to_plain(config))
    with Display(quiet=quiet or not is_first()) as display:
        result = train(run, folder, display=display)
    page = folder / "report.html"
    if is_first() and not page.is_file():
        report.write_report([report.read_run(folder)], page)
    return Report(result, folder)
