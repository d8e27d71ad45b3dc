"""Whole networks made of `slimjax.nn`, and the shapes they may have.

A `ModelConfig` holds towers, each a residual stream with one `LayerConfig` a layer,
since a slimmed model is ragged, and heads that read them. `recipes` has functions that
make the usual ones: `decoder`, `encoder`, `encoder_decoder`, `fusion`, `captioner` and
`mlp`.
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.models.architecture import read_architecture as read_architecture
    from slimjax.models.cached import FrozenDecoder as FrozenDecoder
    from slimjax.models.cached import freeze_decoder as freeze_decoder
    from slimjax.models.cached import make_cache as make_cache
    from slimjax.models.config import ModelConfig as ModelConfig
    from slimjax.models.fusing import Parts as Parts
    from slimjax.models.head import HeadConfig as HeadConfig
    from slimjax.models.layer_config import LayerConfig as LayerConfig
    from slimjax.models.network import Network as Network
    from slimjax.models.recipes import captioner as captioner
    from slimjax.models.recipes import decoder as decoder
    from slimjax.models.recipes import encoder as encoder
    from slimjax.models.recipes import encoder_decoder as encoder_decoder
    from slimjax.models.recipes import fusion as fusion
    from slimjax.models.recipes import mlp as mlp
    from slimjax.models.settings import ModelSettings as ModelSettings
    from slimjax.models.style import BERT as BERT
    from slimjax.models.style import GPT2 as GPT2
    from slimjax.models.style import LLAMA as LLAMA
    from slimjax.models.style import T5 as T5
    from slimjax.models.style import VIT as VIT
    from slimjax.models.style import Style as Style
    from slimjax.models.tower_config import TowerConfig as TowerConfig

__getattr__ = exports(
    __name__,
    {
        "BERT": "style",
        "FrozenDecoder": "cached",
        "GPT2": "style",
        "HeadConfig": "head",
        "LLAMA": "style",
        "LayerConfig": "layer_config",
        "ModelConfig": "config",
        "ModelSettings": "settings",
        "Network": "network",
        "Parts": "fusing",
        "Style": "style",
        "T5": "style",
        "TowerConfig": "tower_config",
        "VIT": "style",
        "captioner": "recipes",
        "decoder": "recipes",
        "encoder": "recipes",
        "encoder_decoder": "recipes",
        "freeze_decoder": "cached",
        "fusion": "recipes",
        "make_cache": "cached",
        "mlp": "recipes",
        "read_architecture": "architecture",
    },
)
