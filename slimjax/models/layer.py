"""One layer of a tower."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from slimjax.models.adapters import adapter_name
from slimjax.models.context import Context
from slimjax.models.layer_config import LayerConfig
from slimjax.models.tower_config import Compute, TowerConfig
from slimjax.nn.attention import Attention, CrossAttention
from slimjax.nn.axes import constrain
from slimjax.nn.dropout import dropout, fold_name
from slimjax.nn.mlp import MLP
from slimjax.nn.norm import make_norm
from slimjax.nn.recurrent import Recurrent

Streams = list[Float[Array, "*batch D"]]


class Layer(nn.Module):
    """Sublayers, each added to the residual stream, each of them optional.

    These are ``attention`` or ``recurrent``, ``cross`` (attention to another tower) and
    ``mlp``. Norms at
    the input of a sublayer are its own. Norms at its output are the layer's, and stay
    when the sublayer is removed.

    Attributes:
        layer: The shape.
        tower: The tower that it stands in.
        compute: How it computes.
        memory_axis: Name of the width of what cross-attention reads.
        out_scale: Factor of the initial weights that write to the residual stream.
    """

    layer: LayerConfig
    tower: TowerConfig
    compute: Compute
    memory_axis: str = ""
    out_scale: float = 1.0

    @nn.compact
    def __call__(
        self, x: Array, context: Context, only: str = ""
    ) -> Float[Array, "B T D"]:
        """Returns the residual stream after this layer, or after one sublayer of it."""
        sublayers: dict[str, Callable] = {"attention": self._attend}
        if self.tower.style.cell:
            sublayers = {"recurrent": self._carry}
        if self.tower.memory is not None:
            sublayers["cross"] = self._attend_across
        sublayers["mlp"] = self._transform
        for name, sublayer in sublayers.items():
            if only in ("", name):
                x = self._add(name, sublayer, x, context)
        return x

    def _add(
        self, name: str, sublayer: Callable, x: Array, context: Context
    ) -> Float[Array, "B T D"]:
        """Returns the stream after a sublayer and the norm of its output."""
        if getattr(self.layer, name):
            added = sublayer(name, x, context)
            added = dropout(added, self.compute.dropout, fold_name(context.key, name))
            x = constrain(x + added, "batch", "positions", None)
        x = self._adapt(name, x, context)
        if self.tower.style.norm_at == "output":
            norm = make_norm(
                self.tower.style.norm,
                epsilon=self.tower.epsilon,
                axis=self.tower.axis,
                writes=True,
                name=f"{name}_norm",
            )
            x = norm(x, context.channels)
        return x

    def _adapt(self, sublayer: str, x: Array, context: Context) -> Array:
        """Returns the stream with what the adapter of each row's domain adds."""
        if context.domains is None and not self.is_initializing():
            return x
        widths, stream = dict(self.layer.adapters), x
        for number, domain in enumerate(self.tower.domains):
            name = adapter_name(sublayer, domain)
            if name not in widths:
                continue
            options: dict[str, Any] = {
                **self._options,
                "out_scale": 0.0,
                "gated": False,
            }
            adapter = MLP(widths[name], activation="gelu", **options, name=name)
            added = adapter(stream, context.channels, segments=context.segments)
            if context.domains is not None:
                is_own = (context.domains == number)[:, None, None]
                x = x + jnp.where(is_own, added, 0.0)
        return x

    def _attend(self, name: str, x: Array, context: Context) -> Array:
        tower, positions = self.tower, self.tower.style.positions
        attention = Attention(
            num_heads=self.layer.num_heads,
            num_kv_heads=self.layer.num_kv_heads,
            **self._head_options,
            rope_base=tower.rope_base,
            rope_scaling=tower.rope_scaling,
            rotary=positions == "rotary",
            causal=not tower.sees_all,
            window=tower.window or None,
            relative=tower.buckets if positions == "relative" else None,
            name=name,
        )
        return attention(
            x,
            context.positions,
            context.channels,
            segments=context.segments,
            key=fold_name(context.key, "weights"),
        )

    def _carry(self, name: str, x: Array, context: Context) -> Array:
        recurrent = Recurrent(
            units=self.layer.state_dim,
            cell=self.tower.style.cell,
            both_ways=self.tower.sees_all,
            **self._options,
            name=name,
        )
        return recurrent(x, context.channels, segments=context.segments)

    def _attend_across(self, name: str, x: Array, context: Context) -> Array:
        attention = CrossAttention(
            num_heads=self.layer.cross_heads,
            num_kv_heads=self.layer.cross_kv_heads,
            **self._head_options,
            memory_axis=self.memory_axis,
            name=name,
        )
        return attention(
            x,
            context.memory,
            context.channels,
            segments=context.segments,
            memory_segments=context.memory_segments,
            key=fold_name(context.key, "cross weights"),
        )

    @property
    def _head_options(self) -> dict[str, Any]:
        """What self-attention and cross-attention have in common."""
        return dict(
            head_dim=self.layer.head_dim,
            impl=self.compute.attention_impl,
            qk_norm=self.tower.style.qk_norm,
            scale=self.tower.attention_scale or None,
            dropout=self.compute.dropout,
            out_bias=self.tower.style.bias in (True, "attention"),
            **self._options | dict(bias=bool(self.tower.style.bias)),
        )

    def _transform(self, name: str, x: Array, context: Context) -> Array:
        style = self.tower.style
        mlp = MLP(
            mlp_dim=self.layer.mlp_dim,
            gated=style.is_gated,
            activation=style.activation,
            **self._options,
            name=name,
        )
        return mlp(x, context.channels, segments=context.segments)

    @property
    def _options(self) -> dict[str, Any]:
        """What all sublayers have in common."""
        style = self.tower.style
        return dict(
            dtype=jnp.dtype(self.compute.dtype),
            out_scale=self.out_scale,
            norm=style.norm if style.norm_at == "input" else None,
            epsilon=self.tower.epsilon,
            axis=self.tower.axis,
            bias=style.bias is True,
        )
