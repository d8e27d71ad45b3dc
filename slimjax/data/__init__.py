"""From documents to batches, in NumPy, with no model in sight.

Read the room from the bottom: `pieces` and `tokenizer` make numbers of the documents
of `slimjax.text`, `rows` lays these out on disk, `cache` keeps them, `corpus` does all
of it in turn, and `batches` says which rows a step takes.

    corpus = load_corpus(DataConfig(source="text:books/*.txt", vocab_size=2048))
    batch = make_batch(corpus.train, step=0, batch_size=16, seed=0)  # tokens [B T]
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.data.batches import iterate_rows, make_batch
    from slimjax.data.config import DataConfig
    from slimjax.data.corpus import Corpus, load_corpus
    from slimjax.data.tokenizer import load_tokenizer

_HOMES = {
    "Corpus": "corpus",
    "DataConfig": "config",
    "iterate_rows": "batches",
    "load_corpus": "corpus",
    "load_tokenizer": "tokenizer",
    "make_batch": "batches",
}

__all__ = [
    "Corpus",
    "DataConfig",
    "iterate_rows",
    "load_corpus",
    "load_tokenizer",
    "make_batch",
]

__getattr__ = exports(__name__, _HOMES)
