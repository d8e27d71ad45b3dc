"""Bad steps: a loss or a gradient that is not finite, or a loss that leaps.

What to do about them is the config's to say. To leave a step out is decided on the
device, inside the compiled step, so that the host waits for no number; to stop or to go
back is decided on the host, when the step's metrics are read.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, PyTree

from slimjax.train.state import TrainState

STOP, SKIP, ROLLBACK = POLICIES = ("stop", "skip", "rollback")

MEAN_STEPS = 100
"""Good steps over which the running mean of the loss goes."""

FIRST_STEPS = 10
"""Good steps before a loss can be said to leap."""

Metrics = dict[str, Float[Array, ""]]


@struct.dataclass
class Health:
    """What a loss is compared with; begun afresh with each stage."""

    loss_mean: PyTree  # float32 [], of good steps.
    num_steps: PyTree  # int32 [], good steps so far.


@dataclasses.dataclass(frozen=True)
class Guard:
    """Tells bad steps from good ones, on the device.

    Attributes:
        skips: Whether a bad step leaves the state as it was, but for its number.
        spike_factor: How many times the running mean of the loss is a leap; 0 for no
            such thing.
    """

    skips: bool
    spike_factor: float

    def start(self) -> Health | None:
        """Returns what a stage begins with; None where nothing is kept."""
        is_needed = self.skips or self.spike_factor > 0
        return Health(jnp.zeros([]), jnp.zeros([], jnp.int32)) if is_needed else None

    def check(
        self,
        before: TrainState,
        after: TrainState,
        metrics: Metrics,
        gate_norm: Float[Array, ""],
    ) -> tuple[TrainState, Metrics]:
        """Returns the state to go on with, and metrics with the verdict.

        Args:
            before: The state that the step began with.
            after: The state that it came to.
            metrics: With ``nats_sum``, ``num_targets`` and ``grad_norm``; ``is_spike``
                is added.
            gate_norm: Norm of the gates' gradient, which is not among the metrics.
        """
        health: Health = before.health
        loss = metrics["nats_sum"] / jnp.maximum(metrics["num_targets"], 1)
        finite = jnp.isfinite(loss + metrics["grad_norm"] + gate_norm)
        spike = self._is_spike(loss, health)
        good = finite & ~spike
        count = health.num_steps + 1
        weight = 1.0 / jnp.minimum(count, MEAN_STEPS)
        mean = health.loss_mean + weight * (loss - health.loss_mean)
        counted = _choose(good, Health(mean, count), health)
        after = dataclasses.replace(after, health=counted)
        if self.skips:
            kept = dataclasses.replace(before, step=after.step)
            after = _choose(good, after, kept)
        found = {"is_spike": (spike & finite).astype(jnp.float32)}
        nowhere = jnp.where(finite, metrics["grad_norm"], jnp.nan)
        return after, metrics | found | {"grad_norm": nowhere}

    def _is_spike(self, loss: Float[Array, ""], health: Health) -> Bool[Array, ""]:
        if not self.spike_factor:
            return jnp.zeros([], bool)
        leaps = loss > self.spike_factor * health.loss_mean
        return leaps & (health.num_steps >= FIRST_STEPS)


def _choose(good: Bool[Array, ""], one: PyTree, other: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(good, a, b), one, other)


def fault_of(metrics: dict[str, float]) -> str:
    """Returns what is bad about a step, in words; nothing if it is good.

    Examples:
        >>> fault_of({"nats_sum": 1.0, "grad_norm": float("nan")})
        'the gradient is not finite'
    """
    if not abs(metrics["nats_sum"]) < float("inf"):
        return "the loss is not finite"
    if not metrics["grad_norm"] < float("inf"):
        return "the gradient is not finite"
    return "the loss leaps" if metrics.get("is_spike") else ""
