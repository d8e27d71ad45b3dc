"""Raw text: where it comes from, its documents, and their splits; no tokens yet.

Read the room from the bottom: `files` and `cutting` turn files into documents,
`documents` reads one file, `sources` names many, `corpus` reads all of them, `splits`
deals documents out,
`sample` picks passages for a tokenizer, `survey` is the first pass over a corpus, and
`compressors` measures a text with xz and zstd. Files of records have readers of their
own: `records` (JSON lines), `tables`, `conll`, `squad`, `parallel`, `coco` and
`image_folders`; `examples` makes examples of them, by the `kinds` of values that a task
reads. An image stays a file (`source_images`): `slimjax.data` decodes it.
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.text.corpus import iterate_documents
    from slimjax.text.sources import parse_source
    from slimjax.text.survey import survey_documents

_HOMES = {
    "iterate_documents": "corpus",
    "parse_source": "sources",
    "survey_documents": "survey",
}

__all__ = ["iterate_documents", "parse_source", "survey_documents"]

__getattr__ = exports(__name__, _HOMES)
