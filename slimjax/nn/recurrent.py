"""Recurrent sublayers: a state that is carried from position to position.

With z = x W + h U + b for each part of a cell, and s the sigmoid:

    rnn    h = tanh(z)
    gru    r, u = s(z_r), s(z_u);  n = tanh(x W_n + b_n + r (h U_n))
           h = (1 - u) n + u h
    lstm   i, f, o = s(z_i), s(z_f), s(z_o);  c = f c + i tanh(z_g)
           h = o tanh(c)

A unit is one number of the state. Its gate multiplies what its state is read with: the
weights to the next state of all units, and those that write to the residual stream. So
a closed unit leaves no trace, and a fractional gate can be folded into these weights.

References:
    Elman, "Finding Structure in Time", 1990.
    Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014,
    section 2.3; the reset gate stands behind the product, as in cuDNN.
    Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997, with the forget gate of
    Gers et al., "Learning to Forget", 2000.
    Schuster and Paliwal, "Bidirectional Recurrent Neural Networks", 1997.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, DTypeLike, Float, Int

from slimjax.nn.axes import named
from slimjax.nn.cache import has_cache, recall, replace
from slimjax.nn.gates import PAST, gate, sublayer_gate, write_bias, write_gates
from slimjax.nn.gather import gather_width
from slimjax.nn.implementations import PARTS, STATES
from slimjax.nn.moments import note_moments, wants_moments
from slimjax.nn.norm import EPSILON, make_norm
from slimjax.nn.products import product, sums

State = tuple[Float[Array, "B R C"], ...]
"""What is carried: h, or h and c."""


class Recurrent(nn.Module):
    """A recurrent layer over positions, from the past or from both sides.

    Parameters: ``reading [D R P C]``, ``carrying [C R P C]`` and ``reading_bias [R P
    C]``, for R directions, P parts of a cell and C units; ``out [R C D]``, with `bias`
    also ``out_bias [1 D]``; those of ``norm``, if it normalises its input. Gates:
    ``state [C]``, one for each unit of all directions; ``sublayer []``.

    Attributes:
        units: Numbers of the state, C.
        cell: rnn, gru or lstm.
        both_ways: Whether a second state comes from the end of the row.
        dtype: Type of the operands of products; sums and states are float32.
        out_scale: Factor of the initial output weights.
        norm: Kind of the norm of what is read; None if the layer normalises elsewhere.
        epsilon: That of the norm.
        axis: Name of the width of the residual stream.
        bias: Whether it adds a bias to the residual stream.
    """

    units: int
    cell: str = "gru"
    both_ways: bool = False
    dtype: DTypeLike = jnp.float32
    out_scale: float = 1.0
    norm: str | None = "rms"
    epsilon: float = EPSILON
    axis: str = "embed"
    bias: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B T D"],
        channels: Float[Array, " D"] | None = None,
        *,
        segments: Int[Array, "B T"] | None = None,
    ) -> Float[Array, "B T D"]:
        """Returns what the layer adds to the residual stream.

        Args:
            x: The residual stream.
            channels: Gates of the residual stream; None when all are open.
            segments: Positions of one segment share a state, and 0 is padding, which
                changes none; None when there is nothing to separate.
        """
        reading, carrying, bias, out = self._kernels(x.shape[-1])
        units, whole = gate(self, "state", self.units), sublayer_gate(self)
        if self.norm is not None:
            norm = make_norm(
                self.norm, epsilon=self.epsilon, axis=self.axis, name="norm"
            )
            x = norm(x, channels)
        reading = gather_width(
            reading, self.axis, "directions", "cell", "state", dtype=self.dtype
        )
        shape = reading.shape[1:]
        read = product(x, reading.reshape(len(reading), -1), self.dtype)
        read = read.reshape(*x.shape[:2], *shape) + bias[None, None]
        carrying = carrying * jnp.expand_dims(units, (1, 2, 3))
        states = self._run(read, carrying, segments)
        out = write_gates(out, (units * whole)[None, :, None], channels)
        out = gather_width(out, "directions", "state", self.axis, dtype=self.dtype)
        flat = states.reshape(*x.shape[:2], -1)
        if wants_moments(self):
            note_moments(self, "out", flat, segments)
        added = product(flat, out.reshape(-1, out.shape[-1]), self.dtype)
        if self.bias:
            init = named(nn.initializers.zeros, "bias", self.axis)
            vector = self.param("out_bias", init, (1, x.shape[-1]), jnp.float32)
            vector = write_bias(vector, units, whole, channels)
            added += gather_width(vector, "bias", self.axis, dtype=jnp.float32)[None]
        return added

    @property
    def _directions(self) -> int:
        return 2 if self.both_ways else 1

    def _kernels(self, width: int) -> tuple[Array, Array, Array, Array]:
        """Returns the weights of input and state, the bias, and those of the output."""
        ways, parts, units = self._directions, PARTS[self.cell], self.units
        fan = dict(in_axis=0, out_axis=(1, 2, 3))
        init: Any = nn.initializers.lecun_normal(**fan)
        out_init = nn.initializers.variance_scaling(
            self.out_scale**2, "fan_in", "truncated_normal", (0, 1), 2
        )
        read = named(init, self.axis, "directions", "cell", "state")
        carry = named(init, PAST, "directions", "cell", "state")
        start = named(_bias_init(self.cell), "directions", "cell", "state")
        write = named(out_init, "directions", "state", self.axis)
        shape = ways, parts, units
        return (
            self.param("reading", read, (width, *shape), jnp.float32),
            self.param("carrying", carry, (units, *shape), jnp.float32),
            self.param("reading_bias", start, shape, jnp.float32),
            self.param("out", write, (ways, units, width), jnp.float32),
        )

    def _run(
        self, read: Float[Array, "B T R P C"], carrying: Array, segments: Array | None
    ) -> Float[Array, "B T R C"]:
        """Returns the state h after each position, in both directions."""
        num_rows, num_steps = read.shape[:2]
        zeros = jnp.zeros((num_rows, self._directions, self.units), jnp.float32)
        start: State = (zeros,) * len(STATES[self.cell])
        cached = has_cache(self, "h")
        if cached:
            start = tuple(recall(self, *STATES[self.cell]))
        numbers = segments
        if numbers is None:
            numbers = jnp.ones((num_rows, num_steps), jnp.int32)
        if self.both_ways:  # The second direction reads the row from its end.
            read = jnp.stack([read[:, :, 0], read[:, ::-1, 1]], axis=2)
            numbers = jnp.stack([numbers, numbers[:, ::-1]], axis=2)
        else:
            numbers = numbers[..., None]
        before = numbers if cached else jnp.roll(numbers, 1, axis=1)
        goes_on = (numbers == before) | (numbers == 0)
        rounded = carrying.astype(self.dtype)

        def step(state: State, now: tuple[Array, ...]) -> tuple[State, Array]:
            read, is_there, goes_on = (x[..., None] for x in now)
            state = tuple(jnp.where(goes_on, x, 0.0) for x in state)
            new = take_step(self.cell, read[..., 0], state, rounded)
            new = tuple(
                jnp.where(is_there, a, b) for a, b in zip(new, state, strict=True)
            )
            return new, new[0]

        steps = (read, numbers > 0, goes_on)
        steps = tuple(jnp.moveaxis(x, 1, 0) for x in steps)
        last, states = lax.scan(step, start, steps)
        if cached:
            replace(self, **dict(zip(STATES[self.cell], last, strict=True)))
        states = jnp.moveaxis(states, 0, 1)
        if self.both_ways:
            states = jnp.stack([states[:, :, 0], states[:, ::-1, 1]], axis=2)
        return states


def take_step(
    cell: str, read: Float[Array, "B R P C"], state: State, carrying: Array
) -> State:
    """Returns the next state.

    Args:
        cell: The kind of cell.
        read: What a position's vector gives to each part, biases included.
        state: The state before.
        carrying: Weights of the state, ``[C R P C]``, of the type of operands.
    """
    h = state[0]
    dtype = carrying.dtype
    carried = jnp.einsum("BRC,CRPE->BRPE", h.astype(dtype), carrying, **sums(dtype))
    if cell == "rnn":
        return (jnp.tanh((read + carried)[:, :, 0]),)
    if cell == "gru":
        r, u = jnp.moveaxis(jax.nn.sigmoid((read + carried)[:, :, :2]), 2, 0)
        new = jnp.tanh(read[:, :, 2] + r * carried[:, :, 2])
        return ((1 - u) * new + u * h,)
    i, f, o, g = jnp.moveaxis(read + carried, 2, 0)
    c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def _bias_init(cell: str) -> Any:
    """Returns the initializer of biases: 1 for the forget gate of an lstm, else 0."""

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        del key
        zeros = jnp.zeros(shape, dtype)
        return zeros.at[:, 1].set(1.0) if cell == "lstm" else zeros

    return init
