"""One tower: a stem that makes a residual stream, layers, and a norm at its end."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from slimjax.models.adapters import DOMAIN
from slimjax.models.context import Context
from slimjax.models.depth import apply_layers
from slimjax.models.layer import Layer, Streams
from slimjax.models.paths import layer_name
from slimjax.models.stems import FeatureStem, Sinusoids, StreamStem, make_image_stem
from slimjax.models.tower_config import Compute, TowerConfig
from slimjax.nn.cache import CACHE
from slimjax.nn.characters import Characters
from slimjax.nn.dropout import dropout, fold_name
from slimjax.nn.embed import PositionTable, TiedEmbedding, TypeTable
from slimjax.nn.moments import wants_moments
from slimjax.nn.norm import make_norm

Table = Callable[[Array, Array], Array]
"""From tokens and the gates of channels to vectors."""


class Tower(nn.Module):
    """A residual stream and the layers that write to it.

    Inputs are found by the name that the tower reads: ``tokens`` int32 ``[B T]``, say,
    with ``tokens_segments`` (0 for padding) and ``tokens_types`` beside it, which may
    be left out; ``features`` ``[B F]``, of one position; or ``image`` ``[B H W C]``.

    Attributes:
        tower: The shape.
        compute: How it computes.
        memory_axis: Name of the width of what cross-attention reads.
        source_axes: Names of the widths of other towers' streams, if it reads these.
    """

    tower: TowerConfig
    compute: Compute
    memory_axis: str = ""
    source_axes: tuple[str, ...] = ()

    def setup(self) -> None:
        """Makes the parts."""
        tower, dtype = self.tower, jnp.dtype(self.compute.dtype)
        if tower.stem == "features":
            self.stem = FeatureStem(tower, dtype, name="features")
        elif tower.picture is not None:
            self.stem = make_image_stem(tower, dtype)
        elif tower.of:
            self.joined = StreamStem(tower, self.source_axes, dtype, name="streams")
        elif tower.table_of is None and tower.has_table:
            self.embed = TiedEmbedding(
                *(tower.num_inputs, tower.width, tower.embed_scale, dtype),
                axis=tower.axis,
                name="tokens",
            )
        if tower.stem == "characters":
            sizes = tower.width, tower.byte_dim, tower.token_bytes
            self.spelled = Characters(*sizes, dtype, tower.axis, name="characters")
        if tower.num_positions:
            sizes = tower.num_positions, tower.axis
            if tower.style.positions == "learned":
                offset = tower.position_offset
                self.places = PositionTable(*sizes, offset, name="positions")
            else:
                sizes = *sizes, tower.embed_scale
                self.places = Sinusoids(*sizes, name="positions")
        if tower.token_types:
            self.types = TypeTable(tower.token_types, tower.axis, name="types")
        axis, out_scale = self.memory_axis, (2 * max(len(tower.layers), 1)) ** -0.5
        self.layers = [
            Layer(layer, tower, self.compute, axis, out_scale, name=layer_name(i))
            for i, layer in enumerate(tower.layers)
        ]
        if tower.norms_end:
            self.norm = make_norm(tower.style.norm, **self._norm_options)
        if tower.norms_embedding:
            self.embed_norm = make_norm(
                tower.style.norm, writes=True, **self._norm_options
            )

    @property
    def _norm_options(self) -> dict:
        return dict(axis=self.tower.axis, epsilon=self.tower.epsilon)

    def __call__(
        self,
        inputs: Mapping[str, Array],
        channels: Float[Array, " D"],
        memory: Context | None = None,
        key: Array | None = None,
        *,
        table: Table | None = None,
        positions: Int[Array, "B T"] | None = None,
        sources: Sequence[Float[Array, "B _ _"]] = (),
        segments: Int[Array, "B S"] | None = None,
        keep: bool = True,
    ) -> Streams:
        """Returns the residual stream before the first layer and after each.

        Args:
            inputs: All that the model reads.
            channels: Gates of the residual stream.
            memory: The stream that cross-attention reads, its segments and channels.
            key: Root of random numbers; None for none.
            table: Another tower's table of tokens, if this one reads that.
            positions: Where the tokens stand; 0, 1, 2 ... by default.
            sources: Last streams of other towers, if it reads these.
            segments: Segments of these; None for all of them together.
            keep: Whether streams between layers are asked for; if not, only the last
                one is sure to be there.
        """
        if self.tower.of:
            x = self.joined(sources, channels)
            x = self._add_positions(x, channels, positions)
        else:
            x = self._embed(inputs, channels, table, positions)
            segments = self.segments(inputs)
        x = dropout(x, self.compute.dropout, fold_name(key, "embedding"))
        context = self._context(x, channels, segments, memory, key, positions)
        context = self._with_domains(context, inputs)
        xs = [x]
        has_cache = self.is_mutable_collection(CACHE)
        if self.is_initializing() or wants_moments(self) or has_cache:
            for i, layer in enumerate(self.layers):
                xs.append(layer(xs[-1], context.of_layer(i)))
            return xs
        return xs + apply_layers(
            *(self.tower, self.compute, self.variables, x, context),
            keep=keep,
            memory_axis=self.memory_axis,
        )

    def begin(
        self,
        inputs: Mapping[str, Array],
        channels: Float[Array, " D"],
        memory: Context | None = None,
        table: Table | None = None,
    ) -> tuple[Float[Array, "*batch D"], Context]:
        """Returns the residual stream before the first layer, and what layers get."""
        x = self._embed(inputs, channels, table, None)
        segments = self.segments(inputs)
        context = self._context(x, channels, segments, memory, None, None)
        return x, self._with_domains(context, inputs)

    def _with_domains(self, context: Context, inputs: Mapping[str, Array]) -> Context:
        if not self.tower.domains:
            return context
        return dataclasses.replace(context, domains=inputs.get(DOMAIN))

    def finish(
        self, x: Float[Array, "*batch D"], channels: Float[Array, " D"]
    ) -> Float[Array, "*batch D"]:
        """Returns the last residual stream as heads and other towers read it."""
        return self.norm(x, channels) if self.tower.norms_end else x

    def segments(self, inputs: Mapping[str, Array]) -> Array | None:
        """Returns which positions belong together, 0 for padding; None for all."""
        return inputs.get(f"{self.tower.reads}_segments")

    def _embed(
        self,
        inputs: Mapping[str, Array],
        channels: Float[Array, " D"],
        table: Table | None,
        positions: Int[Array, "B T"] | None,
    ) -> Float[Array, "*batch D"]:
        values = inputs[self.tower.reads]
        if self.tower.stem == "features":
            return self.stem(values, channels)
        scaled = self.tower.embed_scale * channels
        if self.tower.picture is not None:
            x, scaled = self.stem(values, channels), channels
            x = _give_all_rows(x, inputs)
        else:
            x = self._vectors(inputs, channels, table)
        if self.tower.token_types:
            kinds = inputs.get(f"{self.tower.reads}_types", jnp.zeros_like(values))
            x += self.types(kinds, scaled)
        return self._add_positions(x, channels, positions, scaled)

    def _add_positions(
        self,
        x: Float[Array, "B T D"],
        channels: Float[Array, " D"],
        positions: Int[Array, "B T"] | None,
        scaled: Float[Array, " D"] | None = None,
    ) -> Float[Array, "B T D"]:
        """Returns a stream with the vectors of its positions, as layers begin with it.

        Args:
            x: The stream.
            channels: Its gates.
            positions: Where its positions stand; 0, 1, 2 ... by default.
            scaled: What the vectors of positions are multiplied by, if not the gates.
        """
        if self.tower.num_positions:
            shared = jnp.arange(x.shape[1])[None]
            places = shared if positions is None else positions
            x += self.places(places, channels if scaled is None else scaled)
        return self.embed_norm(x, channels) if self.tower.norms_embedding else x

    def _vectors(
        self,
        inputs: Mapping[str, Array],
        channels: Float[Array, " D"],
        table: Table | None,
    ) -> Float[Array, "B T D"]:
        """Returns the vectors of tokens, by a table, by their bytes, or by both."""
        values, tower = inputs[self.tower.reads], self.tower
        if tower.stem != "characters":
            return (table or self.embed)(values, channels)
        spelled = self.spelled(inputs[f"{tower.reads}_bytes"], channels)
        return spelled + self.embed(values, channels) if tower.has_table else spelled

    def _context(
        self,
        x: Float[Array, "*batch D"],
        channels: Float[Array, " D"],
        segments: Int[Array, "B T"] | None,
        memory: Context | None,
        key: Array | None,
        positions: Int[Array, "B T"] | None,
    ) -> Context:
        if positions is None:
            shape = x.shape[:2]
            positions = jnp.broadcast_to(jnp.arange(shape[1]), shape)
        context = Context(positions, channels, segments)
        if key is not None and self.compute.dropout:
            context = dataclasses.replace(context, key=jax.random.fold_in(key, 1))
        if memory is None:
            return context
        return dataclasses.replace(
            context,
            memory=memory.memory,
            memory_segments=memory.memory_segments,
            memory_channels=memory.memory_channels,
        )


def _give_all_rows(
    x: Float[Array, "R T D"], inputs: Mapping[str, Array]
) -> Float[Array, "B T D"]:
    """Returns the stream of images for all rows; those that share one stand together.

    Args:
        x: One for each image.
        inputs: All that is read, of which some have more rows than there are images.
    """
    rows = {value.shape[0] for value in inputs.values()}
    if rows == {x.shape[0]}:
        return x
    return jnp.repeat(x, max(rows) // x.shape[0], axis=0)
