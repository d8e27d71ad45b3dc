"""Whole networks made of `slimjax.nn`, and the shapes they may have.

A `ModelConfig` holds one `LayerConfig` a layer, since a slimmed model is ragged.
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.models.config import LayerConfig as LayerConfig
    from slimjax.models.config import ModelConfig as ModelConfig
    from slimjax.models.config import read_architecture as read_architecture
    from slimjax.models.decoder import Decoder as Decoder
    from slimjax.models.decoder import abstract_variables as abstract_variables
    from slimjax.models.decoder import config_of as config_of
    from slimjax.models.decoder import make_cache as make_cache
    from slimjax.models.frozen_decoder import FrozenDecoder as FrozenDecoder
    from slimjax.models.frozen_decoder import freeze_decoder as freeze_decoder

__getattr__ = exports(
    __name__,
    {
        "Decoder": "decoder",
        "FrozenDecoder": "frozen_decoder",
        "LayerConfig": "config",
        "ModelConfig": "config",
        "abstract_variables": "decoder",
        "config_of": "decoder",
        "freeze_decoder": "frozen_decoder",
        "make_cache": "decoder",
        "read_architecture": "config",
    },
)
