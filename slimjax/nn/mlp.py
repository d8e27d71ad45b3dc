"""The MLP of a layer, whose hidden units can be closed, and later cut out."""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int

from slimjax.nn.activations import activate
from slimjax.nn.axes import named
from slimjax.nn.gates import gate, sublayer_gate, write_bias, write_gates
from slimjax.nn.gather import gather_width
from slimjax.nn.moments import (
    add_slopes,
    note_input,
    note_moments,
    wants_inputs,
    wants_moments,
    wants_slopes,
)
from slimjax.nn.norm import EPSILON, make_norm
from slimjax.nn.products import product, products
from slimjax.nn.swiglu import swiglu


class Reading(NamedTuple):
    """What makes the hidden units: kernels ``[D F]`` and biases ``[F]``, or None."""

    gate: Array | None
    up: Array
    gate_bias: Array | None
    up_bias: Array | None


class MLP(nn.Module):
    """``down(act(gate(x)) * up(x))``, or ``down(act(up(x)))`` if not `gated`.

    Parameters: ``gate`` and ``up [D F]``, ``down [F D]``; with `bias` also
    ``gate_bias`` and ``up_bias [F]``, ``down_bias [1 D]``; those of ``norm``, if it
    normalises what it reads.
    Gates: ``mlp [F]``, one for each hidden unit, and ``sublayer []``.

    Attributes:
        mlp_dim: Hidden width, F.
        dtype: Type of the operands of products; sums are float32.
        out_scale: Factor of the initial output weights, such as 1 / sqrt(2 L); with 0
            it adds nothing at first.
        gated: Whether each unit is a product of two, of which one is activated.
        activation: Name of the activation, of `slimjax.nn.implementations`.
        bias: Whether units and outputs have biases.
        norm: Kind of the norm of what is read; None if the layer normalises elsewhere.
        epsilon: That of the norm.
        axis: Name of the width of the residual stream.

    References:
        Shazeer, "GLU Variants Improve Transformer", 2020, equations 5 and 6.
    """

    mlp_dim: int
    dtype: DTypeLike = jnp.float32
    out_scale: float = 1.0
    gated: bool = True
    activation: str = "silu"
    bias: bool = False
    norm: str | None = "rms"
    epsilon: float = EPSILON
    axis: str = "embed"

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "*batch D"],
        channels: Float[Array, " D"] | None = None,
        *,
        segments: Int[Array, "*batch"] | None = None,
    ) -> Float[Array, "*batch D"]:
        """Returns what the MLP adds to the residual stream.

        Args:
            x: The residual stream.
            channels: Its gates; None when all are open.
            segments: 0 for padding, which moments leave out; None where there is none.
        """
        gate_kernel, up_kernel, down_kernel = self._kernels(x.shape[-1])
        units, whole = gate(self, "mlp", self.mlp_dim), sublayer_gate(self)
        open_units = units * whole
        if self.norm is not None:
            norm = make_norm(
                self.norm, epsilon=self.epsilon, axis=self.axis, name="norm"
            )
            x = norm(x, channels)
        down_kernel = write_gates(down_kernel, open_units[:, None], channels)
        use = partial(gather_width, dtype=self.dtype)
        if gate_kernel is not None:
            gate_kernel = use(gate_kernel, self.axis, "mlp")
        up_kernel = use(up_kernel, self.axis, "mlp")
        down_kernel = use(down_kernel, "mlp", self.axis)
        reading = Reading(gate_kernel, up_kernel, *self._unit_biases())
        if wants_moments(self):
            note_moments(self, "down", self._hidden(x, reading), segments)
        is_asked = wants_inputs(self) or wants_slopes(self, "down")
        is_usual = self.activation == "silu" and not self.bias and not is_asked
        if gate_kernel is not None and is_usual:
            return swiglu(x, gate_kernel, up_kernel, down_kernel, self.dtype)
        hidden = self._hidden(x, reading)
        note_input(self, "up", x)
        note_input(self, "down", hidden)
        out = add_slopes(self, "down", product(hidden, down_kernel, self.dtype))
        if self.bias:
            init = named(nn.initializers.zeros, "bias", self.axis)
            bias = self.param("down_bias", init, (1, x.shape[-1]), jnp.float32)
            bias = write_bias(bias, units, whole, channels)
            bias = gather_width(bias, "bias", self.axis, dtype=jnp.float32)
            out += bias.reshape((1,) * (x.ndim - 1) + (-1,))
        return out

    def _kernels(self, width: int) -> tuple[Array | None, Array, Array]:
        """Returns the weights of gate, up and down."""
        read = named(nn.initializers.lecun_normal(), self.axis, "mlp")
        out_init = nn.initializers.zeros
        if self.out_scale:
            out_init = nn.initializers.variance_scaling(
                self.out_scale**2, "fan_in", "truncated_normal"
            )
        write = named(out_init, "mlp", self.axis)
        shape = (width, self.mlp_dim)
        return (
            self.param("gate", read, shape, jnp.float32) if self.gated else None,
            self.param("up", read, shape, jnp.float32),
            self.param("down", write, shape[::-1], jnp.float32),
        )

    def _unit_biases(self) -> tuple[Array | None, Array | None]:
        """Returns the biases of gate and up."""
        init = named(nn.initializers.zeros, "mlp")
        make = lambda name: self.param(name, init, (self.mlp_dim,), jnp.float32)
        return (
            make("gate_bias") if self.bias and self.gated else None,
            make("up_bias") if self.bias else None,
        )

    def _hidden(self, x: Array, reading: Reading) -> Float[Array, "*batch F"]:
        """Returns the hidden units of ``x [*batch D]``."""

        def add(x: Array, bias: Array | None) -> Array:
            return x if bias is None else x + jnp.expand_dims(bias, range(x.ndim - 1))

        if reading.gate is None:
            up = add_slopes(self, "up", product(x, reading.up, self.dtype))
            return activate(add(up, reading.up_bias), self.activation)
        opened, moved = products(x, (reading.gate, reading.up), self.dtype)
        opened = add_slopes(self, "gate", opened)
        moved = add_slopes(self, "up", moved)
        opened = activate(add(opened, reading.gate_bias), self.activation)
        return opened * add(moved, reading.up_bias)
