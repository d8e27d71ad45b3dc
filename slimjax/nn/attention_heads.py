"""What self-attention and cross-attention share: heads, their gates and options."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from slimjax.nn.axes import named
from slimjax.nn.gates import gate, nest, sublayer_gate, write_bias, write_gates
from slimjax.nn.gather import gather_width
from slimjax.nn.moments import add_slopes, note_input, note_moments, wants_moments
from slimjax.nn.norm import EPSILON, make_norm, rms_norm
from slimjax.nn.positions import RopeScaling
from slimjax.nn.products import product, products


class Heads(nn.Module):
    """What self-attention and cross-attention share: heads, gates and options.

    Parameters: ``query [D N H]``, ``key`` and ``value [M K H]``, ``out [N H D]``, where
    M is the width of what keys and values read. With `bias` also ``query_bias [N H]``,
    ``key_bias`` and ``value_bias [K H]``; with `out_bias` ``out_bias [1 D]``; with
    `qk_norm` ``query_norm`` and ``key_norm [H]``; those of ``norm``, if it normalises
    its input.
    Gates: ``kv_heads [K]``, one for each KV head with its query heads;
    ``heads [N]``, one for each query head;
    ``sublayer []``.

    Attributes:
        num_heads: Number of query heads, N = K * G; head n reads KV head n // G.
        num_kv_heads: Number of KV heads, K.
        head_dim: Width of one head, H; even where positions are rotary.
        rope_base: Base of the rotary angles.
        rope_scaling: How they are slowed down; None for not at all.
        dtype: Type of the operands of products; sums and the softmax are float32.
        impl: How attention is computed; all ways are exact.
        out_scale: Factor of the initial output weights, such as 1 / sqrt(2 L).
        norm: Kind of the norm of what is read; None if the layer normalises elsewhere.
        epsilon: That of the norms.
        axis: Name of the width of the residual stream.
        bias: Whether queries, keys and values have biases.
        out_bias: Whether outputs have; None for as the others.
        qk_norm: Whether queries and keys are brought to unit mean square.
        scale: Factor of the scores; None for 1 / sqrt(H).
        dropout: Share of attention weights that is dropped where a call has a key.

    References:
        Vaswani et al., "Attention Is All You Need", 2017, section 3.2.
        Ainslie et al., "GQA", 2023, section 2.2.
        Henry et al., "Query-Key Normalization for Transformers", 2020, section 3.
    """

    num_heads: int
    num_kv_heads: int
    head_dim: int
    rope_base: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    dtype: DTypeLike = jnp.float32
    impl: str = "auto"
    out_scale: float = 1.0
    norm: str | None = "rms"
    epsilon: float = EPSILON
    axis: str = "embed"
    bias: bool = False
    out_bias: bool | None = None
    qk_norm: bool = False
    scale: float | None = None
    dropout: float = 0.0

    def _kernels(
        self, width: int, memory_width: int, memory_axis: str
    ) -> tuple[Array, Array, Array, Array]:
        """Returns the weights of query, key, value and output."""
        init = nn.initializers.lecun_normal(in_axis=0, out_axis=(1, 2))
        out_init = nn.initializers.variance_scaling(
            self.out_scale**2, "fan_in", "truncated_normal", in_axis=(0, 1), out_axis=2
        )
        heads = named(init, self.axis, "heads", "head_dim")
        groups = named(init, memory_axis, "kv_heads", "head_dim")
        merge = named(out_init, "heads", "head_dim", self.axis)
        full = (width, self.num_heads, self.head_dim)
        grouped = (memory_width, self.num_kv_heads, self.head_dim)
        return (
            self.param("query", heads, full, jnp.float32),
            self.param("key", groups, grouped, jnp.float32),
            self.param("value", groups, grouped, jnp.float32),
            self.param("out", merge, (*full[1:], width), jnp.float32),
        )

    def _normalise(self, x: Array, channels: Array | None) -> Array:
        """Returns what the heads read of the residual stream."""
        if self.norm is None:
            return x
        norm = make_norm(self.norm, epsilon=self.epsilon, axis=self.axis, name="norm")
        return norm(x, channels)

    def _split(self, x: Array, *kernels: Array) -> list[Array]:
        """Returns the products of ``x [B T D]`` in heads: B T N H, B T K H, B T K H."""
        flat = [kernel.reshape(kernel.shape[0], -1) for kernel in kernels]
        outs = products(x, flat, self.dtype)
        pairs = zip(outs, kernels, strict=True)
        return [out.reshape(*x.shape[:2], *kernel.shape[1:]) for out, kernel in pairs]

    def _finish_heads(
        self, query: Array, key: Array | None = None, value: Array | None = None
    ) -> list[Array]:
        """Returns queries, keys and values with their biases and norms.

        Queries alone, where the others come from a cache.
        """
        heads = {"query": query, "key": key, "value": value}
        heads = {n: add_slopes(self, n, x) for n, x in heads.items() if x is not None}
        if self.bias:
            for name, x in heads.items():
                axis = "heads" if name == "query" else "kv_heads"
                init = named(nn.initializers.zeros, axis, "head_dim")
                bias = self.param(f"{name}_bias", init, x.shape[2:], jnp.float32)
                heads[name] = x + bias[None, None]
        if self.qk_norm:
            for name in [name for name in ("query", "key") if name in heads]:
                init = named(nn.initializers.ones, "head_dim")
                scale = self.param(f"{name}_norm", init, (self.head_dim,), jnp.float32)
                heads[name] = rms_norm(heads[name], scale, self.epsilon)
        return list(heads.values())

    def _gates(self) -> tuple[Float[Array, " N"], Float[Array, ""]]:
        """Returns how far each query head is open with its group, and the sublayer."""
        groups = gate(self, "kv_heads", self.num_kv_heads)
        own = gate(self, "heads", self.num_heads)
        return nest(own, groups, self.num_heads), sublayer_gate(self)

    def _write(
        self,
        mixed: Array,
        out_kernel: Array,
        channels: Array | None,
        segments: Array | None = None,
    ) -> Float[Array, "B T D"]:
        """Returns what mixed values ``[B T N H]`` add to the residual stream."""
        units, whole = self._gates()
        open_units = (units * whole)[:, None, None]
        out_kernel = write_gates(out_kernel, open_units, channels)
        out_kernel = gather_width(
            out_kernel, "heads", "head_dim", self.axis, dtype=self.dtype
        )
        mixed = mixed.reshape(*mixed.shape[:2], -1)
        if wants_moments(self):
            note_moments(self, "out", mixed, segments)
        note_input(self, "out", mixed)
        width = out_kernel.shape[-1]
        out = product(mixed, out_kernel.reshape(-1, width), self.dtype)
        out = add_slopes(self, "out", out)
        if self.bias if self.out_bias is None else self.out_bias:
            init = named(nn.initializers.zeros, "bias", self.axis)
            bias = self.param("out_bias", init, (1, width), jnp.float32)
            bias = write_bias(bias, units, whole, channels)
            bias = gather_width(bias, "bias", self.axis, dtype=jnp.float32)
            out += bias[None]
        return out
