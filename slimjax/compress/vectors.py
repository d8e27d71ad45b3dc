"""Rows of a model without a head: texts, and the vectors that it has for them now."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from slimjax import tasks
from slimjax.compress.config import Request
from slimjax.compress.rows import Rows, Text
from slimjax.data.codecs import special_of
from slimjax.data.encoding import encode_examples
from slimjax.data.inputs import TEXT, iterate_inputs, prepare_inputs
from slimjax.data.schema import Schema
from slimjax.errors import DataError
from slimjax.generate.model import Model
from slimjax.tasks.inputs import read_row
from slimjax.text.examples import Example, refuse_or_skip
from slimjax.text.splits import hash_document, hash_to_fraction, place_borders
from slimjax.train.config import RunConfig

LEAST_TEXTS = 12
"""Fewest texts that an error is reported of, or that a model is calibrated on."""


def read_vectors(request: Request, run: RunConfig, model: Model) -> dict[str, Text]:
    """Returns the rows to calibrate on, under an empty name, and held-out rows.

    A line of a text file is a text, and so is the field ``text`` of other files. Texts
    are dealt to splits by their content, those of ``--also`` are all held out.

    Args:
        request: What is asked for.
        run: The settings.
        model: The original.

    Raises:
        DataError: If there are fewer than `LEAST_TEXTS`.
    """
    own = f"--data={request.data}"
    splits = _deal(_read(run, model, request.data, "--data"), run)
    found = {
        "": _rows(run, model, splits["train"], request.num_rows, own),
        request.data: _rows(run, model, splits["valid"], request.num_error_rows, own),
    }
    for source in request.also:
        texts, name = _read(run, model, source, "--also"), f"--also={source}"
        found[source] = _rows(run, model, texts, request.num_error_rows, name)
    return {name: Text(rows) for name, rows in found.items()}


def _schema(run: RunConfig) -> Schema:
    whole = tasks.get(run.task).schema(run.data, run.head)
    return Schema({TEXT: whole.kinds[TEXT]}, whole.prepare)


def _read(run: RunConfig, model: Model, source: str, flag: str) -> list[Example]:
    """Returns the texts of a source that are not empty, each once."""
    found: dict[str, Example] = {}
    parts = run.data, _schema(run), model.codecs, source, flag
    for example in iterate_inputs(*parts):
        if not isinstance(example, Example):
            refuse_or_skip(example, run.data.on_bad_example, None)
        elif example.values[TEXT].strip():
            found.setdefault(example.values[TEXT], example)
    return list(found.values())


def _deal(texts: Sequence[Example], run: RunConfig) -> dict[str, list[Example]]:
    """Returns texts by split."""
    hashes = [hash_to_fraction(hash_document(t.values[TEXT])) for t in texts]
    dealt: dict[str, list[Example]] = {"train": [], "valid": [], "test": []}
    if len(texts) < LEAST_TEXTS:
        return dealt | {"train": list(texts)}
    fractions = run.data.valid_fraction, run.data.test_fraction
    borders = place_borders(np.array(hashes), *fractions)
    for text, fraction in zip(texts, hashes, strict=True):
        dealt[borders.choose(fraction)].append(text)
    return dealt


def _rows(
    run: RunConfig, model: Model, texts: Sequence[Example], num_rows: int, name: str
) -> Rows:
    """Returns rows spread over some texts, with the model's vectors as targets."""
    if len(texts) < LEAST_TEXTS:
        raise DataError(
            f"{name} has {len(texts)} texts in a split; {LEAST_TEXTS} are needed. Give "
            "more text, or another config.data.valid_fraction."
        )
    numbers = np.linspace(0, len(texts) - 1, min(num_rows, len(texts))).round()
    chosen = [texts[i] for i in np.unique(numbers.astype(int))]
    columns = prepare_inputs(run.data, _schema(run), model.codecs)
    tokens = np.asarray(encode_examples(columns, chosen).arrays["tokens"], np.int32)
    special = special_of(model.codecs)
    longest = int((tokens != special["pad"]).sum(1).max())
    inputs = read_row({"tokens": jnp.asarray(tokens[:, :longest])}, special)
    arrays = {name: np.asarray(values) for name, values in inputs.items()}
    ones = np.ones(len(tokens), np.float32)
    rows = Rows(arrays, np.zeros((len(tokens), model.config.width), np.float32), ones)
    return rows._replace(targets=vectors_of(model, rows))


def vectors_of(model: Model, rows: Rows) -> Float[np.ndarray, "R D"]:
    """Returns the vectors of length 1 that a model has for rows."""
    network, head = model.config.module(), model.config.heads[0].name
    step = jax.jit(lambda variables, inputs: network.apply(variables, inputs)[head].x)
    found = [step(model.params, dict(batch.inputs)) for batch in rows.batches()]
    return np.concatenate([np.asarray(part, np.float32) for part in found])
