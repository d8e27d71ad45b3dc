"""Records of COCO's files of captions: one for each image, with all its captions.

References: Lin et al., "Microsoft COCO: Common Objects in Context", 2014; Chen et al.,
"Microsoft COCO Captions: Data Collection and Evaluation Server", 2015.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

from slimjax.text.files import READ_ERRORS, open_bytes, show
from slimjax.text.reading import (
    BadDocument,
    Line,
    decode,
    make_empty,
    make_unreadable,
)
from slimjax.text.records import Format, Record

_HINT = (
    'A file of COCO is {"images": [{"id", "file_name"}], "annotations": [{"image_id", '
    '"caption"}]}.'
)


def read_coco(path: str, style: Format) -> Iterator[Record | BadDocument]:
    """Yields ``image``, a path, ``target``, its captions, and ``id`` of each image.

    An image without a caption has no ``target``. Paths are below
    ``config.data.image_dir``, or else below the folder of the file.
    """
    content = _load(path, style)
    if isinstance(content, BadDocument):
        yield content
        return
    parts = content if isinstance(content, dict) else {}
    images, notes = parts.get("images"), parts.get("annotations", [])
    if not isinstance(images, list) or not isinstance(notes, list) or not images:
        yield Line("", 1, path).bad("missing_field", f"holds no list images. {_HINT}")
        return
    captions: dict[Any, list[str]] = {}
    for number, note in enumerate(notes, start=1):
        is_note = isinstance(note, dict) and isinstance(note.get("caption"), str)
        if not is_note or not isinstance(note.get("image_id"), int | str):
            line = Line("", number, path, unit="annotation")
            yield line.bad("wrong_type", f"is {show(note)}, not a caption. {_HINT}")
            continue
        captions.setdefault(note["image_id"], []).append(note["caption"].strip())
    folder = style.image_dir or os.path.dirname(path) or "."
    for number, image in enumerate(images, start=1):
        yield _to_record(image, captions, folder, Line("", number, path, unit="image"))
    for key in captions.keys() - {_id_of(image) for image in images}:
        line = Line("", 1, path, unit="annotation")
        problem = f"of the image {show(key)} has no entry in images."
        yield line.bad("no_image", problem)


def _to_record(
    image: Any, captions: dict[Any, list[str]], folder: str, line: Line
) -> Record | BadDocument:
    if not isinstance(image, dict) or not isinstance(image.get("file_name"), str):
        return line.bad("wrong_type", f"is {show(image)}, without a file_name. {_HINT}")
    values = {"image": image["file_name"], "id": image.get("id")}
    own = captions.get(_id_of(image))
    return Record(values | ({"target": own} if own else {}), line, folder=folder)


def _id_of(image: Any) -> Any:
    found = image.get("id") if isinstance(image, dict) else None
    return found if isinstance(found, int | str) else None


def _load(path: str, style: Format) -> Any:
    """Returns the JSON of a file, or what is wrong with it."""
    try:
        with open_bytes(path, style.encoding) as file:
            text = decode(file.read(), path, 1, 0)
        if isinstance(text, BadDocument):
            return text
        if not text.strip():
            return make_empty(path)
        return json.loads(text.removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        why = f"{error.msg}, column {error.colno}"
        line = Line("", error.lineno, path)
        return line.bad("broken_json", f"is not JSON: {show(why)}.")
    except (*READ_ERRORS, ValueError, RecursionError) as error:
        return make_unreadable(path, error)
