"""A decoder in the shape of Llama 3 70B, for a slice of 512 TPU v5p chips.

Plan: slimjax plan --config=configs/llama_70b.py --topology=v5p:8x8x8 --after=50%
Run, on every host: slimjax train --config=configs/llama_70b.py \
    --config.data.source='text:corpus/*.txt' --workdir=runs/llama_70b

69.5 B weights: the table of tokens is tied, where Llama's own 70.6 B have two tables.
Shape: Grattafiori et al., "The Llama 3 Herd of Models", 2024, table 3.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "lm"
    config.data = dict(source="text:*.txt", vocab_size=128_256)
    config.data.seq_len = 8192  # Tokens a row.
    config.data.batch_size = 256  # Rows a step, over all devices.
    config.model = dict(width=8192, num_layers=80, num_heads=64, num_kv_heads=8)
    config.model.mlp_dim = 28_672
    config.model.rope_base = 500_000.0
    config.model.dtype = "bfloat16"  # Of products; sums are float32.
    config.model.remat = "full"  # Layers are computed again in the backward pass.
    config.objective = dict(strategy="exchange", size="params", budget="50%")
    config.optim = dict(learning_rate=1.5e-4, warmup_steps=2000, weight_decay=0.1)
    config.optim.beta2 = 0.95
    config.resize = dict(first_step=20_000, every_steps=10_000, max_seams=4)
    config.resize.uniform = True  # All layers stay alike, and are compiled as one.
    config.resize.multiple = 512  # MLP widths: 128 on each of 4 chips.
    config.resize.kv_heads_multiple = 4  # As many on each chip of the axis model.
    config.mesh = dict(data=1, fsdp=-1, model=4)  # 128 x 4 chips.
    config.train = dict(num_steps=80_000, eval_every_steps=1000, save_every_steps=500)
    return config
