"""A decoder in the shape of Llama 3 70B, for a slice of 512 TPU v5p chips.

Plan: slimjax plan --config=configs/llama_70b.py --topology=v5p:8x8x8 --after=50%
Run, on every host: slimjax train --config=configs/llama_70b.py \
    --config.data.source='text:corpus/*.txt' --workdir=runs/llama_70b

69.5 B weights: the table of tokens is tied, where Llama's own 70.6 B have two tables.
Shape: Grattafiori et al., "The Llama 3 Herd of Models", 2024, table 3.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

SIBLING = Path(__file__).with_name("llama_8b.py")


def get_config() -> ConfigDict:
    """What differs from the 8 B."""
    config = run_path(str(SIBLING))["get_config"]()
    config.model.update(width=8192, num_layers=80, num_heads=64, mlp_dim=28_672)
    config.optim.learning_rate = 1.5e-4
    config.resize.multiple = 512  # MLP widths: 128 on each of 4 chips.
    config.resize.kv_heads_multiple = (
        4  # The same number on each chip of the axis model.
    )
    config.mesh.model = 4  # 128 x 4 chips.
    return config
