"""The one network: towers that read inputs and each other, and heads that read them."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from slimjax.models.adapters import DOMAIN
from slimjax.models.context import Context
from slimjax.models.head import HeadConfig
from slimjax.models.heads import Head
from slimjax.models.layer import Streams
from slimjax.models.reading import join_segments
from slimjax.models.tower import Tower
from slimjax.models.tower_config import Compute, TowerConfig
from slimjax.nn.copying import Source
from slimjax.nn.dropout import dropout, fold_name
from slimjax.nn.gates import gate
from slimjax.nn.pooling import pool
from slimjax.nn.random_bits import is_kept
from slimjax.nn.readout import Readout

Inputs = Mapping[str, Array]
"""Arrays by the names that towers read; see `slimjax.models.tower.Tower`."""


class Network(nn.Module):
    """Towers and heads.

    Collections: ``params`` (weights) and ``gates`` (see `slimjax.nn.gates`). The main
    tower and the gates of all residual streams stand at the root, other towers under
    their names, and a head with parameters of its own under its name and ``_head``.

    Attributes:
        towers: Each after those that it reads.
        heads: What is answered.
        compute: How it computes.
    """

    towers: tuple[TowerConfig, ...]
    heads: tuple[HeadConfig, ...]
    compute: Compute

    def setup(self) -> None:
        """Makes the parts."""
        widths = {tower.axis: tower.width for tower in self.towers}
        self.channels = {
            axis: gate(self, axis, width) for axis, width in widths.items()
        }
        parts = {}
        for tower in self.towers:
            axis = self._memory_axis(tower)
            sources = tuple(self._tower(name).axis for name in tower.of)
            name = tower.name or None
            parts[tower.name] = Tower(tower, self.compute, axis, sources, name=name)
        self.parts = parts
        nn.share_scope(self, self.parts[""])
        dtype = jnp.dtype(self.compute.dtype)
        self.readers = [
            Head(
                *(head, self._tower(head.tower), dtype),
                memory_axis=self._memory_axis(self._tower(head.tower)),
                name=head.module,
            )
            for head in self.heads
        ]

    def __call__(self, inputs: Inputs, key: Array | None = None) -> dict[str, Readout]:
        """Returns the readout of each head.

        Args:
            inputs: All that the towers read.
            key: Root of all randomness inside of the model; None for none of it.
        """
        return self._read(self._run(inputs, key, keep=False), inputs, key)

    def outputs(
        self, inputs: Inputs, key: Array | None = None
    ) -> tuple[dict[str, Readout], Streams]:
        """Returns the readouts and the residual streams of the main tower."""
        streams = self._run(inputs, key, keep=True)
        return self._read(streams, inputs, key), streams[""]

    def streams(
        self, inputs: Inputs, key: Array | None = None, *, keep: bool = True
    ) -> Streams:
        """Returns the main tower's stream before the first layer and after each.

        If not `keep`, only the last one is sure to be there.
        """
        return self._run(inputs, key, keep=keep)[""]

    def advance(
        self,
        inputs: Inputs,
        positions: Int[Array, "B T"],
        memory_segments: Int[Array, "_ S"] | None = None,
    ) -> Float[Array, "B T D"]:
        """Returns what heads read of the main tower at the next positions of rows.

        What came before stands in the collection ``cache``, and so do keys and values
        of what cross-attention reads.

        Args:
            inputs: The tokens that follow.
            positions: Where they stand, consecutive in each row.
            memory_segments: Segments of the memory, a row for each of its texts, which
                several beams may share; None if none of it is padding.
        """
        tower, options = self._tower(""), dict[str, Any](positions=positions)
        if tower.table_of is not None:
            options["table"] = self.parts[tower.table_of].embed
        if tower.memory is not None:
            options["memory"] = Context(None, None, memory_segments=memory_segments)
        channels = self.channels[tower.axis]
        streams = self.parts[""](inputs, channels, keep=False, **options)
        return self.parts[""].finish(streams[-1], channels)

    def answer(
        self, x: Float[Array, "*batch D"], source: Source | None = None
    ) -> Readout:
        """Returns the readout of the first head from what `advance` returned.

        Args:
            x: That, or some of its rows.
            source: What may be copied; its memory is in the cache.
        """
        head, tower = self.heads[0], self._tower("")
        table = self._table(tower) if head.table == "tied" else None
        return self.readers[0](x, self.channels[tower.axis], table, source)

    def begin(
        self, inputs: Inputs, tower: str = "", memory: Any = None
    ) -> tuple[Float[Array, "*batch D"], Context]:
        """Returns a tower's stream before its layers, and what these are given.

        Args:
            inputs: All that the towers read.
            tower: Name of the tower.
            memory: The last stream of the tower that it reads, if there is one.
        """
        own, options = self._tower(tower), dict[str, Any]()
        if own.table_of is not None:
            options["table"] = self.parts[own.table_of].embed
        if own.memory is not None:
            options["memory"] = self._memory(own.memory, {own.memory: [memory]}, inputs)
        return self.parts[tower].begin(inputs, self.channels[own.axis], **options)

    def end(self, x: Float[Array, "*batch D"], inputs: Inputs) -> Readout:
        """Returns the readout of the first head from the main tower's last stream."""
        readouts = self._read({"": [x]}, inputs, None)
        return readouts[self.heads[0].name]

    def _memory_axis(self, tower: TowerConfig) -> str:
        return "" if tower.memory is None else self._tower(tower.memory).axis

    def vectors(self, inputs: Inputs, kind: str = "mean") -> Array:
        """Returns one vector for each row, ``[B D]``: the last stream of a tower.

        It is the main tower, or the one that its cross-attention reads.

        Args:
            inputs: All that the tower reads, and those before it.
            kind: How positions become one: mean, max or first.
        """
        name = self._tower("").memory or ""
        x = self._end(name, self._run(inputs, None, keep=False, last=name))
        return pool(x, kind, self._segments(name, inputs)) if x.ndim > 2 else x

    def _segments(self, name: str, inputs: Inputs) -> Array | None:
        towers = {tower.name: tower for tower in self.towers}
        return join_segments(name, towers, inputs)

    def _tower(self, name: str) -> TowerConfig:
        return next(tower for tower in self.towers if tower.name == name)

    def _run(
        self, inputs: Inputs, key: Array | None, *, keep: bool, last: str | None = None
    ) -> dict[str, Streams]:
        """Returns the streams of all towers, or of those up to one of them."""
        streams: dict[str, Streams] = {}
        inputs = self._skip_adapters(inputs, key)
        for i, tower in enumerate(self.towers):
            part, options = self.parts[tower.name], dict[str, Any](keep=keep)
            if tower.table_of is not None:
                options["table"] = self.parts[tower.table_of].embed
            if key is not None:
                options["key"] = jax.random.fold_in(key, i)
            if tower.memory is not None:
                options["memory"] = self._memory(tower.memory, streams, inputs)
            if tower.of:
                options["sources"] = [self._end(name, streams) for name in tower.of]
                options["segments"] = self._segments(tower.name, inputs)
            streams[tower.name] = part(inputs, self.channels[tower.axis], **options)
            if tower.name == last:
                break
        return streams

    def _skip_adapters(self, inputs: Inputs, key: Array | None) -> Inputs:
        """Returns inputs in which a share of the rows has no domain, in training."""
        key, share = fold_name(key, DOMAIN), self.compute.adapter_skip
        if key is None or not share or DOMAIN not in inputs:
            return inputs
        domains = inputs[DOMAIN]
        kept = is_kept(key, share, domains.shape)
        return {**inputs, DOMAIN: jnp.where(kept, domains, -1)}

    def _memory(
        self, name: str, streams: Mapping[str, Streams], inputs: Inputs
    ) -> Context:
        """Returns what cross-attention reads of a tower."""
        return Context(
            positions=None,
            channels=None,
            memory=self._end(name, streams),
            memory_segments=self._segments(name, inputs),
            memory_channels=self.channels[self._tower(name).axis],
        )

    def _end(self, name: str, streams: Mapping[str, Streams]) -> Float[Array, "..."]:
        """Returns the last stream of a tower, as others read it."""
        channels = self.channels[self._tower(name).axis]
        return self.parts[name].finish(streams[name][-1], channels)

    def _read(
        self, streams: Mapping[str, Streams], inputs: Inputs, key: Array | None
    ) -> dict[str, Readout]:
        readouts = {}
        for head, reader in zip(self.heads, self.readers, strict=True):
            tower = self._tower(head.tower)
            channels = self.channels[tower.axis]
            x = self._end(head.tower, streams)
            if head.at != "each" and x.ndim > 2:
                x = pool(x, head.at, self._segments(head.tower, inputs))
            x = dropout(x, self.compute.dropout, fold_name(key, head.module))
            table = self._table(tower) if head.table == "tied" else None
            source = None
            if head.copy_dim and tower.memory is not None:
                seen = self._memory(tower.memory, streams, inputs)
                tokens = inputs[self._tower(tower.memory).reads]
                source = Source(tokens, seen.memory, seen.memory_segments)
            readouts[head.name] = reader(x, channels, table, source)
        return readouts

    def _table(self, tower: TowerConfig) -> Array:
        owner = tower.name if tower.table_of is None else tower.table_of
        return self.parts[owner].embed.embedding
