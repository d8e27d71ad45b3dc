"""The gated MLP, whose hidden units can be closed, and later cut out."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from slimjax.nn.axes import named
from slimjax.nn.gates import gate, sublayer_gate, write_gates
from slimjax.nn.gather import gather_width
from slimjax.nn.moments import note_moments, wants_moments
from slimjax.nn.norm import RMSNorm
from slimjax.nn.swiglu import hidden_units, swiglu


class GatedMLP(nn.Module):
    """Pre-normalised SwiGLU: ``down(silu(gate(x)) * up(x))``.

    Gates: ``mlp [F]``, one for each hidden unit, and ``sublayer []``.

    Attributes:
        mlp_dim: Hidden width, F.
        dtype: Type of the operands of products; sums are float32.
        out_scale: Factor of the initial output weights, such as 1 / sqrt(2 L).
    """

    mlp_dim: int
    dtype: DTypeLike = jnp.float32
    out_scale: float = 1.0

    @nn.compact
    def __call__(
        self, x: Float[Array, "B T D"], channels: Float[Array, " D"] | None = None
    ) -> Float[Array, "B T D"]:
        """Returns what the MLP adds to the residual stream, through its channels."""
        width, init = x.shape[-1], nn.initializers.lecun_normal()
        read = named(init, "embed", "mlp")
        out_init = nn.initializers.variance_scaling(
            self.out_scale**2, "fan_in", "truncated_normal"
        )
        write = named(out_init, "mlp", "embed")
        gate_kernel = self.param("gate", read, (width, self.mlp_dim), jnp.float32)
        up_kernel = self.param("up", read, (width, self.mlp_dim), jnp.float32)
        down_kernel = self.param("down", write, (self.mlp_dim, width), jnp.float32)
        units = gate(self, "mlp", self.mlp_dim) * sublayer_gate(self)

        x = RMSNorm(name="norm")(x, channels)
        down_kernel = write_gates(down_kernel, units[:, None], channels)
        use = partial(gather_width, dtype=self.dtype)
        gate_kernel = use(gate_kernel, "embed", "mlp")
        up_kernel = use(up_kernel, "embed", "mlp")
        down_kernel = use(down_kernel, "mlp", "embed")
        if wants_moments(self):
            hidden = hidden_units(x, gate_kernel, up_kernel, self.dtype)
            note_moments(self, "down", hidden)
        return swiglu(x, gate_kernel, up_kernel, down_kernel, self.dtype)
