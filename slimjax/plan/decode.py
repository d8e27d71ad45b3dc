"""One step of decoding for a slice of chips that is not here, compiled and measured.

Chips that share the rows of a batch have all weights each, in the type of the products;
those of the axis ``model`` share heads, hidden units and vocabulary. Rows have a KV
cache as long as the rows of training, and the step attends to all of it.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Int, PyTree

from slimjax import native
from slimjax.errors import ConfigError
from slimjax.mesh.shardings import named_sharding
from slimjax.models.cached import Cache, FrozenDecoder, freeze_decoder
from slimjax.models.config import ModelConfig
from slimjax.nn.axes import num_parts
from slimjax.plan.measure import describe_shape, measure_program
from slimjax.plan.memory import count_bytes
from slimjax.plan.topology import Topology
from slimjax.train.stage import Stage

AXES = {
    "reading": ("mlp", None),
    "writing": (None, "mlp"),
    "table": ("vocab", None),
    "key": ("batch", None, "kv_heads", None),
    "value": ("batch", None, "kv_heads", None),
}
"""Names of the axes of frozen matrices, which are transposed, and of the cache."""


def measure_decode(stage: Stage, topology: Topology, rows: int) -> dict[str, Any]:
    """Returns the plan of the step that makes one token for each of so many rows.

    Args:
        stage: The stage whose model decodes, on a mesh of described devices.
        topology: The slice.
        rows: Rows over all devices.

    Raises:
        ConfigError: If the mesh cannot share the rows evenly.
    """
    mesh, model = stage.mesh, stage.blueprint.model
    parts = num_parts("batch", mesh.shape)
    if rows < 1 or rows % parts:
        raise ConfigError(
            f"--decode={rows}: {parts} parts of the mesh cannot share so many rows "
            f"evenly. Ask for a multiple of {parts}."
        )
    decoder, cache = abstract_decoder(
        model, mesh, rows, stage.blueprint.run.data.seq_len
    )
    tokens = jax.ShapeDtypeStruct(
        (rows,), jnp.int32, sharding=named_sharding(("batch",), (rows,), mesh)
    )
    shape = describe_shape(stage)
    flops = rows * stage.blueprint.sizes["flops"]
    counted = shape | {"tokens": rows, "flops": flops, "remat": "none"}
    counted["state_bytes"] = {
        "weights": count_bytes(decoder),
        "cache": count_bytes(cache),
    }
    jitted = jax.jit(decode_step, donate_argnums=3)
    compile_step = partial(_compile, jitted, mesh, decoder, tokens, tokens, cache)
    return measure_program(compile_step, counted, topology, mesh.size)


def decode_step(
    decoder: FrozenDecoder,
    tokens: Int[Array, " B"],
    positions: Int[Array, " B"],
    cache: Cache,
) -> tuple[Int[Array, " B"], Cache]:
    """Returns the most probable next token of each row, and the next cache."""
    x, cache = decoder(tokens[:, None], positions[:, None], cache)
    return decoder.logits(x[:, 0]).argmax(-1).astype(jnp.int32), cache


def abstract_decoder(
    model: ModelConfig, mesh: Mesh, rows: int, length: int
) -> tuple[FrozenDecoder, Cache]:
    """Returns shapes and shardings of a model that decodes, and of its cache."""
    variables = nn.meta.unbox(model.abstract_variables())
    with native.off():  # Kernels of this machine want a layout of their own.
        decoder = jax.eval_shape(partial(freeze_decoder, model), variables)
    cache = jax.eval_shape(partial(decoder.make_cache, rows, length))
    return lay_out(decoder, mesh), lay_out(cache, mesh)


def lay_out(tree: PyTree, mesh: Mesh) -> PyTree:
    """Returns the shapes of a decoder or a cache with their places on a mesh."""

    def place(path: tuple, leaf: Any) -> jax.ShapeDtypeStruct:
        names = {getattr(key, "name", None) for key in path}
        own = next((AXES[name] for name in names if name in AXES), ())
        own = own if len(own) == len(leaf.shape) else (None,) * len(leaf.shape)
        lies = named_sharding(own, leaf.shape, mesh)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=lies)

    return jax.tree_util.tree_map_with_path(place, tree)


def _compile(jitted: Any, mesh: Mesh, *arguments: PyTree) -> Any:
    with jax.set_mesh(mesh):
        return jitted.lower(*arguments).compile()
