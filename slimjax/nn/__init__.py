"""Layers that know nothing of tasks or training.

Every parameter names its logical axes where it is made; the same names decide what a
gate governs, what size counts, what `slimjax.resize` cuts, and how arrays are sharded.
`gates` tells how units are closed; `products` and `attention_kernels` are the fast
paths; `attention_reference` is the textbook that they are held against.
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.nn.attention import Attention as Attention
    from slimjax.nn.attention import CrossAttention as CrossAttention
    from slimjax.nn.attention_kernels import attend as attend
    from slimjax.nn.cross_entropy import cross_entropy as cross_entropy
    from slimjax.nn.embed import TiedEmbedding as TiedEmbedding
    from slimjax.nn.mlp import MLP as MLP
    from slimjax.nn.norm import LayerNorm as LayerNorm
    from slimjax.nn.norm import RMSNorm as RMSNorm
    from slimjax.nn.norm import make_norm as make_norm
    from slimjax.nn.products import product as product
    from slimjax.nn.relative import RelativeBias as RelativeBias

__getattr__ = exports(
    __name__,
    {
        "Attention": "attention",
        "CrossAttention": "attention",
        "LayerNorm": "norm",
        "MLP": "mlp",
        "RMSNorm": "norm",
        "RelativeBias": "relative",
        "TiedEmbedding": "embed",
        "attend": "attention_kernels",
        "cross_entropy": "cross_entropy",
        "make_norm": "norm",
        "product": "products",
    },
)
