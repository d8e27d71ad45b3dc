"""Layers that know nothing of tasks or training.

Every parameter names its logical axes where it is made. The same names decide what a
gate governs, what size counts, what `slimjax.resize` cuts, and how arrays are sharded.

Axes (`axes`): ``embed``, and every name that ends in it, is the width of a residual
stream. ``heads``, ``kv_heads``, ``mlp`` and ``vocab`` are units, and so are
``filters_0``, ``filters_1`` ... of the stages of a convolution. A vector that writes to
a stream is stored as ``[1, D]`` with a first axis ``bias`` or ``scale``, so that it is
folded and cut like a matrix. ``places``, ``types``, ``buckets``, ``head_dim``,
``pooled`` and ``classes`` are neither cut nor sharded.

Gates (`gates`): 1 is open, 0 is closed. A closed unit gives the same as a unit that is
cut: in the output, in gradients, and for biases as well. A bias that writes to a stream
passes the gates of its sublayer and of the channels, and is closed with the last unit.

| layer | file | parameters beside those of ``norm`` |
|---|---|---|
| `Attention` | `attention` | query key value out, with biases and norms of heads |
| `CrossAttention` | `attention` | the same, keys and values read ``memory_axis`` |
| `Recurrent` | `recurrent` | reading carrying out, of an rnn, gru or lstm |
| `MLP` | `mlp` | gate up down, or up down, with biases |
| `RMSNorm`, `LayerNorm` | `norm` | scale, and bias; ``make_norm`` picks by name |
| `RelativeBias` | `relative` | table of buckets and heads |
| `TiedEmbedding`, `OutputTable` | `embed` | table of tokens or classes |
| `Characters` | `characters` | bytes places kernel bias |
| `PositionTable`, `TypeTable` | `embed` | table; sinusoids are in `positions` |
| `Convolution` | `convolution` | kernel bias norm of each stage, and out with a bias |
| `Patches` | `patches` | kernel bias |
| `Copying` | `copying` | query key mix, beside the table of a head |
| `Pooler`, `pool` | `pooling` | kernel bias; ``pool`` has none |

A norm that becomes the stream (after a sublayer or after the embedding) has
``writes=True``. A sublayer under such a norm has ``norm=None``.

Functions: `attend` chooses the fastest exact kernel for the platform and the shape;
`attention_reference` is the textbook's formula, with which all others are compared.
`readout` is the output of a head, `cross_entropy` scores targets without whole logits,
`dropout` drops activations and weights. Randomness comes from explicit keys: no key, no
dropout. The choices that have names are in `implementations`, which loads no jax.

Few bits (`quantize`): matrices have bits by unit; biases and other vectors are one unit
of at least 8 bits. `frozen_layers` are the layers of a decoder as it generates.
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.nn.attention import Attention as Attention
    from slimjax.nn.attention import CrossAttention as CrossAttention
    from slimjax.nn.attention_kernels import attend as attend
    from slimjax.nn.cross_entropy import cross_entropy as cross_entropy
    from slimjax.nn.dropout import drop_connect as drop_connect
    from slimjax.nn.embed import OutputTable as OutputTable
    from slimjax.nn.embed import PositionTable as PositionTable
    from slimjax.nn.embed import TiedEmbedding as TiedEmbedding
    from slimjax.nn.embed import TypeTable as TypeTable
    from slimjax.nn.mlp import MLP as MLP
    from slimjax.nn.norm import LayerNorm as LayerNorm
    from slimjax.nn.norm import RMSNorm as RMSNorm
    from slimjax.nn.norm import make_norm as make_norm
    from slimjax.nn.pooling import Pooler as Pooler
    from slimjax.nn.pooling import pool as pool
    from slimjax.nn.products import product as product
    from slimjax.nn.readout import Readout as Readout
    from slimjax.nn.relative import RelativeBias as RelativeBias

__getattr__ = exports(
    __name__,
    {
        "Attention": "attention",
        "CrossAttention": "attention",
        "LayerNorm": "norm",
        "MLP": "mlp",
        "OutputTable": "embed",
        "Pooler": "pooling",
        "PositionTable": "embed",
        "RMSNorm": "norm",
        "Readout": "readout",
        "RelativeBias": "relative",
        "TiedEmbedding": "embed",
        "TypeTable": "embed",
        "attend": "attention_kernels",
        "cross_entropy": "cross_entropy",
        "drop_connect": "dropout",
        "make_norm": "norm",
        "pool": "pooling",
        "product": "products",
    },
)
