"""The shape of a model in a few lines, for a prompt or a notebook."""

import html

from jaxtyping import PyTree

from slimjax.models.config import ModelConfig
from slimjax.trees import flatten

MAX_SHOWN = 8  # Layers that are listed.

Rows = list[tuple[str, str]]  # Names and values.


def describe(config: ModelConfig, params: PyTree) -> Rows:
    """Returns what a reader wants to know of a model's shape.

    Args:
        config: The shape.
        params: ``{"params": weights, "gates": gates}``.
    """
    layers = [
        " + ".join(
            [f"{layer.num_heads}/{layer.num_kv_heads} heads"] * layer.attention
            + [f"MLP {layer.mlp_dim}"] * layer.mlp
        )
        for layer in config.layers
    ]
    shown = [*layers[:MAX_SHOWN], "..."] if len(layers) > MAX_SHOWN else layers
    return [
        ("params", f"{sum(x.size for x in flatten(params['params']).values()):,}"),
        ("width", f"{config.width:,}"),
        ("layers", f"{len(layers)} ({'; '.join(shown)})"),
        ("vocabulary", f"{config.vocab_size:,}"),
        ("dtype", config.dtype),
    ]


def write_text(rows: Rows) -> str:
    """Returns the rows as lines."""
    return "\n".join(["Model", *(f"  {name}: {value}" for name, value in rows)])


def write_html(rows: Rows) -> str:
    """Returns the rows as a table."""
    cells = [tuple(map(html.escape, row)) for row in rows]
    lines = [f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in cells]
    return f"<table>{''.join(lines)}</table>"
