"""Attention whose heads and KV groups can be closed, and later cut out."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from slimjax.nn.attention_heads import Heads
from slimjax.nn.attention_kernels import attend
from slimjax.nn.cache import LayerCache, has_cache, recall, replace, write
from slimjax.nn.gather import gather_width
from slimjax.nn.moments import note_input
from slimjax.nn.positions import Rotation, rotate, rotation_table
from slimjax.nn.relative import RelativeBias


class Attention(Heads):
    """Attention of a residual stream to itself, see `Heads`.

    Attributes:
        rotary: Whether queries and keys are turned by their positions.
        causal: Whether a position sees only itself and those before it.
        window: How many positions it sees, counted from itself: backwards, and without
            `causal` forwards too; None for all.
        relative: Buckets and longest distance of a table of relative positions, in
            ``relative/table [buckets N]``; None for none.
    """

    rotary: bool = True
    causal: bool = True
    window: int | None = None
    relative: tuple[int, int] | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B T D"],
        positions: Int[Array, "B T"],
        channels: Float[Array, " D"] | None = None,
        *,
        segments: Int[Array, "B T"] | None = None,
        bias: Float[Array, "#B N T T"] | None = None,
        key: Array | None = None,
    ) -> Float[Array, "B T D"]:
        """Returns what attention adds to the residual stream.

        Args:
            x: The residual stream.
            positions: 0, 1, 2 ... in each row; read only if positions are rotary.
            channels: Gates of the residual stream; None when all are open.
            segments: A position sees only those of its own segment, and 0 is padding;
                None when there is nothing to separate.
            bias: What is added to the scores, beside relative positions of its own.
            key: Key of this call's dropout; None for no dropout.
        """
        width = x.shape[-1]
        query_kernel, key_kernel, value_kernel, out_kernel = self._kernels(
            width, width, self.axis
        )
        x = self._normalise(x, channels)
        note_input(self, "query", x)
        table = self._rotation(positions) if self.rotary else None
        use = partial(gather_width, dtype=self.dtype)
        query_kernel = use(query_kernel, self.axis, "heads", "head_dim")
        key_kernel = use(key_kernel, self.axis, "kv_heads", "head_dim")
        value_kernel = use(value_kernel, self.axis, "kv_heads", "head_dim")
        heads = self._split(x, query_kernel, key_kernel, value_kernel)
        if has_cache(self):
            mixed = self._attend_to_cache(heads, positions)
            return self._write(mixed, out_kernel, channels)
        # Weights are made with two tokens, which the fast kernels would refuse.
        mixed = attend(
            *self._finish_heads(*heads),
            causal=self.causal,
            window=self.window,
            query_segments=segments,
            key_segments=segments,
            rotation=table,
            scale=self.scale,
            bias=self._bias(x.shape[1], bias),
            dropout=self.dropout,
            dropout_key=key,
            dtype=self.dtype,
            impl="reference" if self.is_initializing() else self.impl,
        )
        return self._write(mixed, out_kernel, channels, segments)

    def _attend_to_cache(
        self, heads: list[Array], positions: Int[Array, "B T"]
    ) -> Float[Array, "B T N H"]:
        """Returns mixed values of all that stands in the cache, and of `heads`.

        Positions are consecutive in each row.
        """
        query, key, value = self._finish_heads(*heads)
        if self.rotary:
            table = self._rotation(positions)
            query, key = rotate(query, table), rotate(key, table)
        cache = write(LayerCache(*recall(self, "key", "value")), key, value, positions)
        replace(self, key=cache.key, value=cache.value)
        bias = None
        if self.relative is not None:
            bias = self._relative(query.shape[1], cache.key.shape[1], positions)
        return attend(
            *(query, cache.key, cache.value),
            causal=self.causal,
            window=self.window,
            query_positions=positions,
            scale=self.scale,
            bias=bias,
            dtype=self.dtype,
            impl="auto" if query.shape[1] > 1 else "reference",
        )

    def _rotation(self, positions: Int[Array, "B T"]) -> Rotation:
        """Returns cosines and sines of the angles of positions."""
        options = self.head_dim, self.rope_base, self.rope_scaling
        return rotation_table(positions, *options)

    def _bias(self, length: int, bias: Array | None) -> Array | None:
        """Returns what is added to the scores, relative positions included."""
        if self.relative is None:
            return bias
        own = self._relative(length, length)
        return own if bias is None else own + bias

    def _relative(
        self, num_queries: int, num_keys: int, positions: Array | None = None
    ) -> Float[Array, "#B N T S"]:
        assert self.relative is not None
        options = *self.relative, self.causal
        table = RelativeBias(self.num_heads, *options, name="relative")
        return table(num_queries, num_keys, positions)


class CrossAttention(Heads):
    """Attention of a residual stream to another one, the memory; see `Heads`.

    It has no positions of its own, and no position of the memory is hidden but padding.

    Attributes:
        memory_axis: Name of the width of the memory.
    """

    memory_axis: str = "encoder_embed"

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B T D"],
        memory: Float[Array, "B S M"] | None,
        channels: Float[Array, " D"] | None = None,
        *,
        segments: Int[Array, "B T"] | None = None,
        memory_segments: Int[Array, "_ S"] | None = None,
        key: Array | None = None,
    ) -> Float[Array, "B T D"]:
        """Returns what attention to the memory adds to the residual stream.

        Args:
            x: The residual stream.
            memory: What is read, 0 in closed channels, as its last norm leaves it. None
                where its keys and values stand in a cache. `x` may then have several
                rows for each row of the cache, one after the other.
            channels: Gates of the residual stream; None when all are open.
            segments: A position sees only those of the memory with its own number, and
                0 is padding. By default all are 1.
            memory_segments: Those of the memory; by default all are 1.
            key: Key of this call's dropout; None for no dropout.
        """
        width = self._memory_width() if memory is None else memory.shape[-1]
        query_kernel, key_kernel, value_kernel, out_kernel = self._kernels(
            x.shape[-1], width, self.memory_axis
        )
        x = self._normalise(x, channels)
        note_input(self, "query", x)
        use = partial(gather_width, dtype=self.dtype)
        query_kernel = use(query_kernel, self.axis, "heads", "head_dim")
        if memory is None:
            (query,) = self._finish_heads(*self._split(x, query_kernel))
            mixed = self._attend_to_cache(query, memory_segments)
            return self._write(mixed, out_kernel, channels)
        key_kernel = use(key_kernel, self.memory_axis, "kv_heads", "head_dim")
        value_kernel = use(value_kernel, self.memory_axis, "kv_heads", "head_dim")
        note_input(self, "key", memory)
        heads = self._split(x, query_kernel)
        heads += self._split(memory, key_kernel, value_kernel)
        query, keys, values = self._finish_heads(*heads)
        if has_cache(self):
            dtype = recall(self, "key")[0].dtype
            replace(self, key=keys.astype(dtype), value=values.astype(dtype))
        if segments is not None or memory_segments is not None:
            ones = lambda x: jnp.ones(x.shape[:2], jnp.int32)
            segments = ones(x) if segments is None else segments
            memory_segments = (
                ones(memory) if memory_segments is None else memory_segments
            )
        mixed = attend(
            *(query, keys, values),
            causal=False,
            query_segments=segments,
            key_segments=memory_segments,
            scale=self.scale,
            dropout=self.dropout,
            dropout_key=key,
            dtype=self.dtype,
            impl="reference" if self.is_initializing() else self.impl,
        )
        return self._write(mixed, out_kernel, channels, segments)

    def _attend_to_cache(
        self, query: Float[Array, "R T N H"], memory_segments: Array | None
    ) -> Float[Array, "R T N H"]:
        """Returns mixed values of the cache, for one or several rows of each of its."""
        key, value = recall(self, "key", "value")
        together = query.reshape(len(key), -1, *query.shape[2:])
        segments = None
        if memory_segments is not None:
            segments = jnp.ones(together.shape[:2], jnp.int32)
        mixed = attend(
            *(together, key, value),
            causal=False,
            query_segments=segments,
            key_segments=memory_segments,
            scale=self.scale,
            dtype=self.dtype,
            impl="auto" if together.shape[1] > 16 else "reference",
        )
        return mixed.reshape(query.shape)

    def _memory_width(self) -> int:
        """Returns the width of the memory, from the weights that read it."""
        return self.get_variable("params", "key").shape[0]
