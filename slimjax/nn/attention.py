"""Self-attention whose heads and KV groups can be closed, and later cut out."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int

from slimjax.nn.attention_kernels import attend
from slimjax.nn.axes import named
from slimjax.nn.gates import gate, nest, sublayer_gate, write_gates
from slimjax.nn.gather import gather_width
from slimjax.nn.moments import note_moments, wants_moments
from slimjax.nn.norm import RMSNorm
from slimjax.nn.positions import rotation_table
from slimjax.nn.products import product, products


class Attention(nn.Module):
    """Pre-normalised, causal, grouped-query attention with rotary positions.

    Gates: ``kv_heads [K]``, one for each KV head with its query heads;
    ``heads [N]``, one for each query head;
    ``sublayer []``.

    Attributes:
        num_heads: Number of query heads, N = K * G; head n reads KV head n // G.
        num_kv_heads: Number of KV heads, K.
        head_dim: Width of one head, H; even.
        rope_base: Base of the rotary angles.
        dtype: Type of the operands of products; sums and the softmax are float32.
        impl: How attention is computed; all ways are exact.
        out_scale: Factor of the initial output weights, such as 1 / sqrt(2 L).

    References:
        Vaswani et al., "Attention Is All You Need", 2017, section 3.2.
        Ainslie et al., "GQA", 2023, section 2.2.
    """

    num_heads: int
    num_kv_heads: int
    head_dim: int
    rope_base: float = 10_000.0
    dtype: DTypeLike = jnp.float32
    impl: str = "auto"
    out_scale: float = 1.0

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B T D"],
        positions: Int[Array, "B T"],
        channels: Float[Array, " D"] | None = None,
    ) -> Float[Array, "B T D"]:
        """Returns what attention adds to the residual stream.

        Args:
            x: The residual stream.
            positions: 0, 1, 2 ... in each row.
            channels: Gates of the residual stream; None when all are open.
        """
        query_kernel, key_kernel, value_kernel, out_kernel = self._kernels(x.shape[-1])
        x = RMSNorm(name="norm")(x, channels)
        table = rotation_table(positions, self.head_dim, self.rope_base)
        use = partial(gather_width, dtype=self.dtype)
        query_kernel = use(query_kernel, "embed", "heads", "head_dim")
        key_kernel = use(key_kernel, "embed", "kv_heads", "head_dim")
        value_kernel = use(value_kernel, "embed", "kv_heads", "head_dim")
        query, key, value = self._split(x, query_kernel, key_kernel, value_kernel)
        # Weights are made with two tokens, which the fast kernels would refuse.
        impl = "reference" if self.is_initializing() else self.impl
        mixed = attend(query, key, value, rotation=table, dtype=self.dtype, impl=impl)
        out_kernel = write_gates(out_kernel, self._gates()[:, None, None], channels)
        out_kernel = use(out_kernel, "heads", "head_dim", "embed")
        mixed = mixed.reshape(*mixed.shape[:2], -1)
        if wants_moments(self):
            note_moments(self, "out", mixed)
        out_kernel = out_kernel.reshape(-1, out_kernel.shape[-1])
        return product(mixed, out_kernel, self.dtype)

    def _kernels(self, width: int) -> tuple[Array, Array, Array, Array]:
        """Returns the weights of query, key, value and output."""
        init = nn.initializers.lecun_normal(in_axis=0, out_axis=(1, 2))
        out_init = nn.initializers.variance_scaling(
            self.out_scale**2, "fan_in", "truncated_normal", in_axis=(0, 1), out_axis=2
        )
        heads = named(init, "embed", "heads", "head_dim")
        groups = named(init, "embed", "kv_heads", "head_dim")
        merge = named(out_init, "heads", "head_dim", "embed")
        full = (width, self.num_heads, self.head_dim)
        grouped = (width, self.num_kv_heads, self.head_dim)
        return (
            self.param("query", heads, full, jnp.float32),
            self.param("key", groups, grouped, jnp.float32),
            self.param("value", groups, grouped, jnp.float32),
            self.param("out", merge, (*full[1:], width), jnp.float32),
        )

    def _gates(self) -> Float[Array, " N"]:
        """Returns how far each query head is open, its group and all included."""
        groups = gate(self, "kv_heads", self.num_kv_heads)
        own = gate(self, "heads", self.num_heads)
        return nest(own, groups, self.num_heads) * sublayer_gate(self)

    def _split(self, x: Array, *kernels: Array) -> list[Array]:
        """Returns the products of ``x [B T D]`` in heads: B T N H, B T K H, B T K H."""
        flat = [kernel.reshape(kernel.shape[0], -1) for kernel in kernels]
        outs = products(x, flat, self.dtype)
        pairs = zip(outs, kernels, strict=True)
        return [out.reshape(*x.shape[:2], *kernel.shape[1:]) for out, kernel in pairs]
