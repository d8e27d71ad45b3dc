"""The rows of language modelling by other names, for callers of before datasets."""

import dataclasses

from slimjax.data.dataset import Dataset
from slimjax.data.language import load_language_dataset
from slimjax.data.rows import Rows
from slimjax.data.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """Rows of tokens for each split, and what they were made from.

    Attributes:
        dataset: The same, as every task sees it.
    """

    dataset: Dataset

    @property
    def train(self) -> Rows:
        """Rows ``[R, T]`` without padding."""
        return self.dataset.splits["train"]["tokens"]

    @property
    def valid(self) -> Rows:
        """Rows whose last one is padded; none if the split was not asked for."""
        return self.dataset.splits["valid"]["tokens"]

    @property
    def test(self) -> Rows:
        """The same, for the split that nothing is chosen by."""
        return self.dataset.splits["test"]["tokens"]

    @property
    def tokenizer(self) -> Tokenizer:
        """Turns ids back into text."""
        return self.dataset.tokenizer

    @property
    def source(self) -> str:
        """Where the text came from."""
        return self.dataset.source

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all that determines the rows."""
        return self.dataset.fingerprint

    @property
    def num_tokens(self) -> dict[str, int]:
        """Tokens of each split's documents, eos counted, padding not."""
        return self.dataset.counts["tokens"]

    @property
    def num_bytes(self) -> dict[str, int]:
        """Raw UTF-8 bytes of each split's documents."""
        return self.dataset.counts["bytes"]

    @property
    def num_documents(self) -> dict[str, int]:
        """Documents of each split."""
        return self.dataset.counts["documents"]

    @property
    def skipped(self) -> dict[str, int]:
        """Bad documents that were left out, by reason."""
        return self.dataset.counts["skipped"]


def load_corpus(*args, **kwargs) -> Corpus:
    """Returns what `slimjax.data.language.load_language_dataset` returns, wrapped."""
    return Corpus(load_language_dataset(*args, **kwargs))
