"""What was left out of a corpus: counts by reason, and the files to look at."""

from collections import Counter

from slimjax.text.files import show
from slimjax.text.reading import BadDocument

NUM_NAMED = 3


class Skips:
    """Counts of documents or examples that could not be read.

    Attributes:
        reasons: Number by reason.
    """

    def __init__(self):
        """Starts with none."""
        self.reasons: Counter[str] = Counter()
        self._reported: Counter[str] = Counter()
        self._files: dict[str, Counter[str]] = {}

    def add(self, bad: BadDocument, *, quietly: bool = False) -> None:
        """Counts one; `quietly`, it is not part of the sentence."""
        self.reasons[bad.reason] += 1
        if not quietly:
            self._reported[bad.reason] += 1
            self._files.setdefault(bad.reason, Counter())[bad.path] += 1

    def describe(self, setting: str, what: str) -> str:
        """Returns one line with counts, reasons and files, or "" where there is none.

        Args:
            setting: The setting that allows it, such as
                ``config.data.on_bad_document``.
            what: What was left out, in the plural.

        Examples:
            >>> skips = Skips()
            >>> skips.add(BadDocument("empty", "a.txt is empty.", "a.txt"))
            >>> skips.describe("config.data.on_bad_document", "documents")
            'config.data.on_bad_document=skip left out 1 documents: 1 empty (a.txt).'
        """
        total = self._reported.total()
        if not total:
            return ""
        parts = [
            f"{count:,} {reason} ({self._name_files(reason)})"
            for reason, count in self._reported.most_common()
        ]
        return f"{setting}=skip left out {total:,} {what}: {', '.join(parts)}."

    def _name_files(self, reason: str) -> str:
        files = self._files[reason]
        names = [show(path) for path, _ in files.most_common(NUM_NAMED)]
        more = len(files) - len(names)
        return ", ".join(names) + (f", and {more:,} more files" if more else "")
