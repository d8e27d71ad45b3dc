"""Answers for a whole source: in order, with own fields, and safe against a kill."""

import functools
import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from slimjax.data.cache import hash_json
from slimjax.data.inputs import Found
from slimjax.errors import ConfigError, DataError
from slimjax.nn.axes import to_host
from slimjax.paths import printable, user_path
from slimjax.predict.formats import ERROR, JSONL, check_lines, convert
from slimjax.predict.part import Part, to_line
from slimjax.predict.predictor import TRUNCATED, Predictor
from slimjax.predict.windows import Shapes
from slimjax.tasks.pixels import IMAGE
from slimjax.text.examples import Example
from slimjax.text.records import Format
from slimjax.text.source_images import SourceImage
from slimjax.text.sources import parse_sources
from slimjax.trees import hash_tree

VERSION = 2  # Part of what a `.part` depends on: other answers count it up.

Progress = Callable[[int], None]
"""Called with the number of examples that are answered."""


class Counts:
    """Counts of what was answered.

    Attributes:
        examples: All examples.
        bad: Those that could not be read.
        truncated: Those that were cut.
        first_error: What is wrong with the first bad one, or "".
        num_done: Examples of an earlier command that this one continued.
        seconds: Time of this command.
    """

    def __init__(self):
        """Starts with none."""
        self.examples = self.bad = self.truncated = 0
        self.num_done, self.seconds, self.first_error = 0, 0.0, ""

    def add(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Counts the lines of some examples."""
        for line in lines:
            self.examples += 1
            self.truncated += line.get(TRUNCATED) is True
            if TRUNCATED not in line:
                self.bad += 1
                self.first_error = self.first_error or str(line[ERROR])

    def describe(self) -> dict[str, Any]:
        """Returns all counts, and seconds."""
        names = ("examples", "bad", "truncated", "first_error")
        own = {name: getattr(self, name) for name in names}
        return own | {"continued_from": self.num_done, "seconds": self.seconds}

    def sentence(self, output: str) -> str:
        """Returns what a user reads at the end."""
        speed = (self.examples - self.num_done) / max(self.seconds, 1e-9)
        parts = [f"{printable(output)}: {self.examples:,} examples, {speed:,.0f}/s"]
        if self.num_done:
            parts.append(f"the first {self.num_done:,} were there already")
        if self.truncated:
            parts.append(f"{self.truncated:,} truncated (longer than data.seq_len)")
        return "; ".join(parts) + "."

    def check(self) -> None:
        """Raises `DataError` if an example was bad, or if there was none."""
        if not self.examples:
            raise DataError("There is no example to answer; the input is empty.")
        if self.bad:
            raise DataError(
                f"{self.bad:,} of {self.examples:,} examples could not be read, and "
                f"have an error in place of an answer. The first: {self.first_error}"
            )


def predict_lines(
    predictor: Predictor, found: Found, counts: Counts
) -> Iterator[dict[str, Any]]:
    """Yields the line of each example, and counts it."""
    for window in predictor.start().over(found):
        lines = predictor.lines(window)
        counts.add(lines)
        yield from lines


def predict_source(
    predictor: Predictor,
    source: str,
    output: Path,
    *,
    name: str = JSONL,
    overwrite: bool = False,
    progress: Progress = lambda _: None,
) -> Counts:
    """Writes the answers of a source into a file, or continues to.

    Args:
        predictor: The model.
        source: Such as ``csv:new.csv``.
        output: The file.
        name: Its format.
        overwrite: Whether a file that exists is replaced.
        progress: Called after each window.

    Raises:
        ConfigError: If the file must not be replaced, or the source is invalid.
        DataError: If a source does not exist.
    """
    files = list(_find_files(source, predictor.config.style))
    if any(output.exists() and output.samefile(file) for file in files):
        raise ConfigError(f"--output={printable(output)} is the input; name another.")
    key = {
        "model": _hash_model(predictor),
        "input": _hash_input(predictor, source, files),
        "settings": _describe_settings(predictor),
    }
    options: dict[str, Any] = dict(overwrite=overwrite, progress=progress)
    found = predictor.read_source(source)
    return write_answers(predictor, found, output, key, name=name, **options)


def write_answers(
    predictor: Predictor,
    found: Found,
    output: Path,
    key: Mapping[str, Any] | None,
    *,
    name: str = JSONL,
    overwrite: bool = False,
    progress: Progress = lambda _: None,
) -> Counts:
    """Writes the answers of examples into a file, by way of a `Part`.

    Args:
        predictor: The model.
        found: The examples.
        output: The file.
        key: What the answers depend on; None for examples that come only once.
        name: The format of the file.
        overwrite: Whether a file that exists is replaced.
        progress: Called after each window.
    """
    start, counts, part = time.perf_counter(), Counts(), Part(output, key)
    size = predictor.start().size
    with part.open(size, overwrite=overwrite) as num_done:
        counts.add(_read_lines(part.part))
        counts.num_done = num_done
        run = predictor.start(_to_shapes(part.about))
        for window in run.over(itertools.islice(found, num_done, None)):
            if run.shapes is not None and "shapes" not in part.about:
                part.note(shapes=run.shapes)
            lines = predictor.lines(window)
            if not counts.examples:
                check_lines(name, lines)
            part.append([to_line(line) for line in lines])
            counts.add(lines)
            progress(counts.examples)
        write = functools.partial(convert, name, fields=predictor.config.fields)
        part.finish(None if name == JSONL else write)
    counts.seconds = time.perf_counter() - start
    return counts


def _to_shapes(about: Mapping[str, Any]) -> Shapes | None:
    """Returns the shapes that an earlier command chose."""
    if "shapes" not in about:
        return None
    num_rows, lengths = about["shapes"]
    return Shapes(int(num_rows), tuple(map(int, lengths)))


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        yield from map(json.loads, file)


def _find_files(source: str, style: Format) -> Iterator[Path]:
    """Returns the files of a source, in the order in which they are read."""
    for parsed in parse_sources(source, "--input"):
        if parsed.scheme in ("idx", "images"):
            yield from _files_below(user_path(parsed.pattern, "--input"))
            continue
        for part in parsed.find_files(style):
            for path in map(Path, filter(None, part)):
                yield from _files_below(path) if path.is_dir() else [path]


def _files_below(folder: Path) -> list[Path]:
    """Returns the files of a folder, in a fixed order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _hash_input(predictor: Predictor, source: str, files: Iterable[Path]) -> str:
    """Returns a hash of the content of files, and of the images that they name.

    How a source is read is part of it, and where its files are is not.
    """
    parsed = parse_sources(source, "--input")
    digests = [repr((each.scheme, each.field)) for each in parsed]
    digests += [each.pattern for each in parsed if each.scheme == "tfds"]
    for path in files:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return hash_json([*digests, *_hash_images(predictor, source)])


def _hash_images(predictor: Predictor, source: str) -> list[str]:
    """Returns a hash of the images of all examples; none for tasks without images."""
    if not any(kind.startswith(IMAGE) for kind in predictor.schema.kinds.values()):
        return []
    whole = hashlib.sha256()
    for one in predictor.read_source(source):
        image = one.values.get(IMAGE) if isinstance(one, Example) else None
        found = image.digest if isinstance(image, SourceImage) else repr(one).encode()
        whole.update(hashlib.sha256(found).digest())
    return [whole.hexdigest()]


def _hash_model(predictor: Predictor) -> str:
    """Returns a hash of a model's weights, shape and codecs."""
    model = predictor.model
    codecs = {name: codec.fingerprint for name, codec in model.codecs.items()}
    return hash_json(hash_tree(to_host(model.params)), repr(model.config), codecs)


def _describe_settings(predictor: Predictor) -> dict[str, Any]:
    """Returns all else that decides the bytes of the answers.

    The format is none of it: until the end, answers stand as lines of JSON.
    """
    config = predictor.config
    return {
        "version": VERSION,
        "task": predictor.task.name,
        "batch_size": predictor.batch_size,
        "weights": predictor.weights,
        **({"decode": repr(predictor.decode)} if predictor.task.generates else {}),
        **({"candidates": predictor.candidates} if predictor.candidates else {}),
        "fields": hash_json(sorted((k, str(v)) for k, v in config.fields.items())),
        "reading": repr(config.style),
        "seq_len": config.seq_len,
        "jax": f"{jax.__version__} {jax.default_backend()}",
    }
