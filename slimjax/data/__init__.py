"""From documents to batches, in NumPy, with no model in sight.

Read the room from the bottom: `pieces` and `tokenizer` make numbers of the documents
of `slimjax.text`, `rows` lays these out on disk, `cache` keeps them, `batches` decides
which rows a step takes, and `dataset` holds all that a run must know of its data.
`language` makes one for language modelling. `labelled` makes one of labelled examples:
`schema` is what a task reads, `pools` (and `idx`) read it, `dealing` splits it, and
`columns`, with `labels` and `scaling`, makes arrays of it, which `encoding` joins.
Images are decoded once (`image_decoding`) into a table (`image_table`), and rows hold
their numbers (`image_columns`). `inputs` reads examples without targets, for a finished
model; `buckets` sorts rows by length, and `overview` describes what a person checks
first.

    config = DataConfig(source="text:books/*.txt", vocab_size=2048)
    dataset = load_language_dataset(config)
    batch = dataset.batch("train", step=0, batch_size=16, seed=0)  # tokens [B T]
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.data.batches import iterate_rows, make_batch
    from slimjax.data.config import DataConfig
    from slimjax.data.dataset import Dataset, Field
    from slimjax.data.labelled import load_labelled_dataset
    from slimjax.data.language import load_language_dataset
    from slimjax.data.tokenizer import load_tokenizer

_HOMES = {
    "DataConfig": "config",
    "Dataset": "dataset",
    "Field": "dataset",
    "iterate_rows": "batches",
    "load_labelled_dataset": "labelled",
    "load_language_dataset": "language",
    "load_tokenizer": "tokenizer",
    "make_batch": "batches",
}

__all__ = [
    "DataConfig",
    "Dataset",
    "Field",
    "iterate_rows",
    "load_labelled_dataset",
    "load_language_dataset",
    "load_tokenizer",
    "make_batch",
]

__getattr__ = exports(__name__, _HOMES)
