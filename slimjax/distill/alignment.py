"""Hidden states beside logits: what the student's layers hold, mapped to the teacher's.

Width and depth may differ. Each layer of the student is paired with the one of the
teacher at the same relative depth, and has a linear map from its width to that of the
teacher, learned with the rest: parameters of the training, not of the model.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PyTree

from slimjax.distill.peer import PEER
from slimjax.nn.products import product

ALIGN = "align"
"""Name of the maps among a run's parameters, beside ``params`` and ``gates``."""


def pair_layers(num_layers: int, num_teacher_layers: int) -> list[int]:
    """Returns, for each layer, after how many of the teacher's it should hold the same.

    Examples:
        >>> pair_layers(2, 6), pair_layers(3, 3), pair_layers(4, 2)
        ([3, 6], [1, 2, 3], [1, 1, 2, 2])
    """
    depths = range(1, num_layers + 1)
    return [-(-depth * num_teacher_layers // num_layers) for depth in depths]


def make_maps(
    num_layers: int, width: int, teacher_width: int, *, same_start: bool
) -> PyTree:
    """Returns the maps of all layers, ``{"map_0": {"map": [D E]}, ...}``.

    Args:
        num_layers: Layers of the student.
        width: Its width D.
        teacher_width: The teacher's width E.
        same_start: Whether the student begins as the teacher is: then the maps begin
            as identities. Else they begin at zero, where nothing pulls the student
            before its map has learned which way.
    """
    shape = (width, teacher_width)
    first = jnp.eye(*shape) if same_start else jnp.zeros(shape)
    return {map_name(i): {"map": jnp.copy(first)} for i in range(num_layers)}


def map_name(layer: int) -> str:
    """Returns the name of a layer's map."""
    return f"map_{layer}"


def map_names(num_layers: int) -> PyTree:
    """Returns the names of the maps' axes; the first is cut with the width."""
    return {map_name(i): {"map": ("embed", "teacher")} for i in range(num_layers)}


def without_maps(variables: PyTree) -> PyTree:
    """Returns what the model itself reads: neither maps nor a second model."""
    return {kind: v for kind, v in variables.items() if kind not in (ALIGN, PEER)}


def alignment_flops(num_layers: int, width: int, teacher_width: int) -> float:
    """Returns the FLOPs of the maps a token, forward."""
    return 2.0 * num_layers * width * teacher_width


def alignment_error(
    maps: PyTree,
    streams: Sequence[Float[Array, "B T D"]],
    taught: Sequence[Float[Array, "B T E"]],
    mask: Float[Array, "B T"],
    dtype: DTypeLike,
) -> Float[Array, ""]:
    """Returns the mean over layers of ``|x W - y|^2 / |y|^2``, summed over tokens.

    Args:
        maps: A map W for each layer.
        streams: The student's residual stream x, before the first layer and after each.
        taught: The teacher's y, likewise.
        mask: 1 where a token counts, 0 where it does not.
        dtype: Type of the products' operands; sums are float32.

    References:
        Romero et al., "FitNets: Hints for Thin Deep Nets", 2015, section 2.2.
        Jiao et al., "TinyBERT", 2020, section 3.1 (maps between widths).
    """
    pairs = pair_layers(len(streams) - 1, len(taught) - 1)
    squares = lambda x: jnp.sum(mask * jnp.sum(jnp.square(x), axis=-1))
    errors = []
    for name, leaf in maps.items():
        layer = int(name.removeprefix("map_"))
        y = jax.lax.stop_gradient(taught[pairs[layer]]).astype(jnp.float32)
        missed = product(streams[layer + 1], leaf["map"], dtype) - y
        errors.append(squares(missed) / jnp.maximum(squares(y), 1e-6))
    return jnp.mean(jnp.stack(errors))
