"""How long sublayers take here: measured once, when a run begins that counts latency.

What is timed is generating one token for one row, with a cache: a model without layers
for the base; models whose layers are all one attention, or all one MLP, of each width;
and the whole model, with a half, a quarter and an eighth of its units. The least time
of some rounds counts, in which all models take turns.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from slimjax.errors import ConfigError, NotFeasibleError
from slimjax.models.config import LayerConfig, ModelConfig
from slimjax.models.decoder import abstract_variables
from slimjax.models.frozen_decoder import FrozenDecoder, freeze_decoder
from slimjax.objective.inventory import take_inventory
from slimjax.objective.latency import LatencyTable, make_latency_fn
from slimjax.store.files import read_json, write_json
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import RunConfig

ROUNDS = 20
NUM_TOKENS = 64
DIVISORS = (8, 4, 2, 1)
"""Of which parts of the whole model are timed."""

MOST_LAYERS = 8
"""Layers of a timed model; more would not tell more."""


def find_latency(
    run: RunConfig, folder: RunFolder, vocab_size: int, fingerprint: str | None
) -> LatencyTable | None:
    """Returns the table of a run, measured if the run begins; None if none is needed.

    Args:
        run: The config.
        folder: Its folder, where the table is kept.
        vocab_size: Tokens of its corpus.
        fingerprint: The table that the run went on with so far; None at its beginning.

    Raises:
        ConfigError: If a table that is given is none, or of another model.
        NotFeasibleError: If the run's table is not what it was.
    """
    if not run.objective.counts_latency:
        return None
    model = run.model.build(vocab_size)
    if fingerprint is None and not folder.latency.is_file():
        table = _given_or_measured(run, model)
        write_json(folder.latency, table.as_json())
    if not folder.latency.is_file():
        raise NotFeasibleError(_changed(folder.latency))
    table = _read(folder.latency, str(folder.latency), model)
    if fingerprint not in (None, table.fingerprint):
        raise NotFeasibleError(_changed(folder.latency))
    return table


def _changed(path: Path) -> str:
    return (
        f"{path} is not what it was when this run began. Restore it, or start afresh "
        "in a new --workdir."
    )


def _given_or_measured(run: RunConfig, model: ModelConfig) -> LatencyTable:
    given = run.objective.latency_table
    if given:
        return _read(Path(given), f"config.objective.latency_table={given!r}", model)
    if jax.process_count() > 1:
        raise ConfigError(
            "config.objective.size='latency' is measured by one process, and this run "
            "has several: measure it in a run of one, and give its latency.json in "
            "config.objective.latency_table."
        )
    return measure_latency(model)


def _read(path: Path, where: str, model: ModelConfig) -> LatencyTable:
    try:
        table = LatencyTable.from_json(read_json(path), where)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{where} cannot be read: {error}.") from error
    head_dims = {layer.head_dim for layer in model.layers}
    theirs = table.width, table.vocab_size, {table.head_dim}
    if theirs != (model.width, model.vocab_size, head_dims):
        raise ConfigError(
            f"{where} is of another model: width, vocabulary and head_dim {theirs}, "
            f"not {(model.width, model.vocab_size, head_dims)}."
        )
    return table


def measure_latency(
    model: ModelConfig, rounds: int = ROUNDS, num_tokens: int = NUM_TOKENS
) -> LatencyTable:
    """Returns how long the sublayers of a model, and smaller ones, take here.

    Args:
        model: The model that a run starts from; its layers have heads of one width.
        rounds: How often each is timed.
        num_tokens: Tokens that are made each time.

    Raises:
        ConfigError: If heads have several widths.
    """
    head_dims = {layer.head_dim for layer in model.layers}
    if len(head_dims) > 1:
        raise ConfigError(
            "config.objective.size='latency' needs heads of one width, not of "
            f"{sorted(head_dims)}."
        )
    (head_dim,), layers = head_dims, model.layers
    kv_heads = _grid(max([x.num_kv_heads for x in layers if x.attention], default=1), 2)
    most = [x.num_heads // x.num_kv_heads for x in layers if x.attention]
    group = _grid(max(most, default=1), 1)
    units = _grid(max([x.mlp_dim for x in layers if x.mlp], default=1), 8)
    attention = [
        LayerConfig(k * g, k, head_dim, 0, mlp=False) for k in kv_heads for g in group
    ]
    mlps = [LayerConfig(0, 0, head_dim, f, attention=False) for f in units]
    depth = min(len(layers), MOST_LAYERS)
    stacks = [(), *((layer,) * depth for layer in (*attention, *mlps))]
    models = [replace(model, layers=stack) for stack in stacks]
    wholes = [_part_of(model, divisor) for divisor in DIVISORS]
    base, *rest = time_models([*models, *wholes], rounds, num_tokens)
    rest, times = rest[: len(stacks) - 1], rest[len(stacks) - 1 :]
    own = np.maximum(np.array(rest) - base, 0.0) / depth
    of_attention = own[: len(attention)].reshape(len(kv_heads), len(group))
    for axis in (0, 1):  # More work takes no less time, whatever a clock says.
        of_attention = np.maximum.accumulate(of_attention, axis=axis)
    table = LatencyTable(
        width=model.width,
        vocab_size=model.vocab_size,
        base=base,
        head_dim=head_dim,
        kv_heads=kv_heads,
        group=group,
        attention=tuple(map(tuple, of_attention.tolist())),
        units=units,
        mlp=tuple(np.maximum.accumulate(own[len(attention) :]).tolist()),
        device=jax.devices()[0].device_kind,
    )
    return _with_wholes(table, wholes, times)


def _with_wholes(
    table: LatencyTable, models: Sequence[ModelConfig], times: Sequence[float]
) -> LatencyTable:
    """Returns a table that knows what some whole models take, the base among them."""
    points = {table.base: table.base}
    for model, seconds in zip(models, times, strict=True):
        inventory = take_inventory(abstract_variables(model), seq_len=1)
        size_fn = make_latency_fn(inventory, table)
        points[float(size_fn(inventory.open_gates()))] = seconds
    sums = sorted(points)
    if len(sums) < 2:  # No layer takes any time that a clock could tell.
        return table
    wholes = np.maximum.accumulate([points[total] for total in sums])
    return replace(table, sums=tuple(sums), wholes=tuple(wholes.tolist()))


def _part_of(model: ModelConfig, divisor: int) -> ModelConfig:
    """Returns the model with a part of its KV groups and hidden units."""

    def part(layer: LayerConfig) -> LayerConfig:
        if layer.attention:
            group = layer.num_heads // layer.num_kv_heads
            num_groups = max(layer.num_kv_heads // divisor, 1)
            heads = dict(num_heads=num_groups * group, num_kv_heads=num_groups)
            layer = replace(layer, **heads)
        return replace(layer, mlp_dim=-(-layer.mlp_dim // divisor))

    return replace(model, layers=tuple(map(part, model.layers)))


def _grid(most: int, parts: int) -> tuple[int, ...]:
    """Returns widths to measure: halves of the most, down to one part of so many.

    Examples:
        >>> _grid(704, 8), _grid(4, 2), _grid(1, 1)
        ((88, 176, 352, 704), (1, 2, 4), (1,))
    """
    halves = {most // 2**i for i in range(parts.bit_length())}
    least = set() if parts > 2 else {1}
    return tuple(sorted(n for n in halves | least if n))


def time_models(
    models: Sequence[ModelConfig], rounds: int = ROUNDS, num_tokens: int = NUM_TOKENS
) -> list[float]:
    """Returns the seconds a token that each model takes, the least of all rounds."""
    runs = [_make_run(model, num_tokens) for model in models]
    seconds = np.full((rounds, len(runs)), np.inf)
    for i in range(-1, rounds):
        for j, run in enumerate(runs):
            start = time.perf_counter()
            run()
            if i >= 0:
                seconds[i, j] = (time.perf_counter() - start) / num_tokens
    return seconds.min(axis=0).tolist()


def _make_run(model: ModelConfig, num_tokens: int) -> Callable[[], Any]:
    """Returns a function that makes so many tokens with random weights, and waits."""
    boxed, source = abstract_variables(model), np.random.default_rng(0)
    shapes: Any = nn.meta.unbox(boxed)
    draw = lambda s: (0.02 * source.standard_normal(s.shape)).astype(np.float32)
    ones = lambda s: np.ones(s.shape, np.float32)
    variables = {
        "params": jax.tree.map(draw, shapes["params"]),
        "gates": jax.tree.map(ones, shapes["gates"]),
    }
    frozen = freeze_decoder(model, variables)
    return lambda: jax.block_until_ready(_make_tokens(frozen, num_tokens))


@partial(jax.jit, static_argnums=1)
def _make_tokens(model: FrozenDecoder, num_tokens: int) -> jax.Array:
    """Returns the last of the tokens that follow each other, the likeliest first."""

    def step(i: Any, carry: tuple) -> tuple:
        token, cache = carry
        x, cache = model(token[:, None], jnp.full((1, 1), i), cache)
        return jnp.argmax(model.logits(x[:, 0]), axis=-1).astype(jnp.int32), cache

    start = jnp.zeros(1, jnp.int32), model.make_cache(1, num_tokens)
    return jax.lax.fori_loop(0, num_tokens, step, start)[0]
