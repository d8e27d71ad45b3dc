"""What a model answers to fixed random rows, before and after it was written."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from slimjax import native
from slimjax.errors import NotFeasibleError
from slimjax.models.adapters import DOMAIN
from slimjax.models.config import ModelConfig
from slimjax.models.reading import join_segments

ROWS, LENGTH = 2, 24
TOLERANCE = 1e-3
"""Largest difference of logits in float32, relative to the largest of them or to 1."""


def random_inputs(model: ModelConfig, pad_id: int = 0) -> dict[str, np.ndarray]:
    """Returns rows for all towers of a model, some with padding.

    Args:
        model: The model.
        pad_id: The id of padding.
    """
    rng, inputs = np.random.default_rng(0), {}
    texts = [t for t in model.towers if not t.reads_numbers]
    length = min([LENGTH, *(t.num_positions for t in texts if t.num_positions)])
    for tower in (tower for tower in model.towers if not tower.of):
        if tower.picture is not None:
            size = tower.picture.height, tower.picture.width, tower.picture.colors
            inputs[tower.reads] = rng.integers(0, 256, (ROWS, *size), np.uint8)
            continue
        if tower.reads_numbers:
            size = ROWS, tower.num_inputs
            inputs[tower.reads] = rng.normal(size=size).astype(np.float32)
            continue
        shape = ROWS, length
        tokens = rng.integers(0, max(tower.num_inputs, 1), shape).astype(np.int32)
        if tower.sees_all:
            there = np.ones(shape, np.int32)
            there[0, max(length // 2, 1) :] = 0
            tokens = np.where(there > 0, tokens, pad_id).astype(np.int32)
            inputs[f"{tower.reads}_segments"] = there
        inputs[tower.reads] = tokens
        if tower.token_bytes:
            codes = rng.integers(0, 257, (*shape, tower.token_bytes))
            inputs[f"{tower.reads}_bytes"] = codes.astype(np.int32)
        if tower.token_types > 1:
            types = np.broadcast_to(np.arange(length) >= length // 2, shape)
            inputs[f"{tower.reads}_types"] = types.astype(np.int32)
    if model.main.domains:
        numbers = np.arange(ROWS) % (len(model.main.domains) + 1) - 1
        inputs[DOMAIN] = numbers[::-1].astype(np.int32)
    return inputs


def answers_of(
    model: ModelConfig, variables: PyTree, inputs: Mapping[str, Any]
) -> np.ndarray:
    """Returns the logits of the first head, or vectors; of what is no padding.

    They are computed in float32, by the plain formulas, so that no weight is copied.

    Args:
        model: The model.
        variables: ``{"params": weights, "gates": gates}``.
        inputs: What it reads.
    """
    plain = dict(dtype="float32", attention_impl="reference", scan_layers=False)
    model = dataclasses.replace(model, **plain)
    head, network = model.heads[0], model.module()

    # Layers are compiled one shape at a time, outside of `jax.jit`. Inside of it, the
    # table of tokens is multiplied without being transposed.
    with native.off():
        arrays = {name: jnp.asarray(x) for name, x in inputs.items()}
        readout: Any = network.apply(variables, arrays)[head.name]
        logits = jax.jit(lambda readout: readout.logits())
        found = readout.x if head.table == "batch" else logits(readout)
    found = np.asarray(found, np.float32)
    there = join_segments(head.tower, model.by_name, inputs)
    return found if there is None or found.ndim < 3 else found[np.asarray(there) > 0]


def compare(before: np.ndarray, after: np.ndarray, *, is_exact: bool = True) -> float:
    """Returns the largest difference of answers.

    Args:
        before: Those of the model.
        after: Those of what was written.
        is_exact: Whether numbers were written as they are.

    Raises:
        NotFeasibleError: If rounding does not explain the difference.
    """
    difference = float(np.abs(before - after).max(initial=0.0))
    allowed = TOLERANCE * max(1.0, float(np.abs(before).max(initial=0.0)))
    if not np.isfinite(after).all() or (is_exact and difference > allowed):
        raise NotFeasibleError(
            f"What was written answers otherwise: logits differ by {difference:.1e}. "
            "Nothing is left of it. Please report this."
        )
    return difference
