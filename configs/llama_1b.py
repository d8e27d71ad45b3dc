"""A decoder in the shape of Llama 3.2 1B, for a slice of 16 TPU v5e chips.

Plan: slimjax plan --config=configs/llama_1b.py --topology=v5e:4x4 --after=50%
Run, on every host: slimjax train --config=configs/llama_1b.py \
    --config.data.source='text:corpus/*.txt' --workdir=runs/llama_1b

1.24 B weights with the tied table of tokens. Shape: the model card of Llama 3.2.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

SIBLING = Path(__file__).with_name("llama_8b.py")


def get_config() -> ConfigDict:
    """What differs from the 8 B."""
    config = run_path(str(SIBLING))["get_config"]()
    config.data.batch_size = 32
    config.model.update(width=2048, num_layers=16, mlp_dim=8192)  # Heads of 64.
    return config
