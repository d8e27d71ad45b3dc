"""What is lost at a target, and what a model itself would answer there.

A head with classes loses nats, ``-log p(target)``. A head without any gives vectors of
length 1; what is lost is half the squared distance to those that are to be kept, which
is 1 minus their cosine.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from slimjax.errors import ConfigError
from slimjax.models.head import HeadConfig
from slimjax.nn.readout import Readout

VECTORS, CLASSES = "contrast", "classes"
"""Losses of heads that give vectors, and of those that choose among classes."""


def check_head(head: HeadConfig) -> None:
    """Raises `ConfigError` for a head whose loss is another one."""
    if head.loss not in (VECTORS, CLASSES):
        raise ConfigError(
            "slimjax compress takes heads that choose one of several classes or tokens,"
            f" and models of vectors; this one's loss is {head.loss!r}. Slim it with "
            "slimjax train and config.model.init_from."
        )


def scores_classes(head: HeadConfig) -> bool:
    """Whether a head chooses among classes; if not, it gives vectors."""
    return head.loss == CLASSES


def loss(head: HeadConfig, readout: Readout, targets: Array) -> Float[Array, "*batch"]:
    """Returns what is lost at each target."""
    if scores_classes(head):
        return readout.scores(targets).nats
    return 0.5 * jnp.sum((readout.x - targets) ** 2, axis=-1)


def own_loss(
    head: HeadConfig, readout: Readout, key: Array
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch C"]]:
    """Returns what is lost at answers of the model itself, and chances of its classes.

    The mean of the squares of its gradients over such answers is the curvature of the
    loss. Vectors are answered with normal noise around them: the gradient of half the
    squared distance is then the noise times the Jacobian J, and its square in the mean
    ``J^T J``.
    """
    if not scores_classes(head):
        noise = jax.random.normal(key, readout.x.shape)
        return jnp.sum(readout.x * noise, axis=-1), jnp.zeros(
            (*readout.x.shape[:-1], 1)
        )
    logits = readout.logits()
    labels = jax.lax.stop_gradient(jax.random.categorical(key, logits))
    scores = jax.nn.log_softmax(logits)
    nats = -jnp.take_along_axis(scores, labels[..., None], -1)[..., 0]
    return nats, jnp.exp(jax.lax.stop_gradient(scores))


def divergence(
    head: HeadConfig, teacher: Readout, student: Readout
) -> Float[Array, "*batch"]:
    """Returns ``KL(teacher || student)``, or half the squared distance of vectors."""
    if not scores_classes(head):
        return 0.5 * jnp.sum((teacher.x - student.x) ** 2, axis=-1)
    known = jax.nn.log_softmax(teacher.logits())
    own = jax.nn.log_softmax(student.logits())
    return jnp.sum(jnp.exp(known) * (known - own), axis=-1)
