"""A decoder in the shape of Llama 3 8B, for 64 TPU v5p chips or 256 of v6e.

Plan: slimjax plan --config=configs/llama_8b.py --topology=v5p:4x4x4 --after=50%
Run, on every host: slimjax train --config=configs/llama_8b.py \
    --config.data.source='text:corpus/*.txt' --workdir=runs/llama_8b

7.50 B weights: the table of tokens is tied, where Llama's own 8.03 B have two tables.
Shape: Grattafiori et al., "The Llama 3 Herd of Models", 2024, table 3.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "lm"
    config.data = dict(source="text:*.txt", vocab_size=128_256)
    config.data.seq_len = 8192  # Tokens per row.
    config.data.batch_size = 256  # Rows per step, over all devices.
    config.model = dict(width=4096, num_layers=32, num_heads=32, num_kv_heads=8)
    config.model.mlp_dim = 14_336
    config.model.rope_base = 500_000.0
    config.model.dtype = "bfloat16"  # Of products; sums are float32.
    config.model.remat = "full"  # Layers are computed again in the backward pass.
    config.objective = dict(strategy="exchange", size="params", budget="50%")
    config.optim = dict(learning_rate=3e-4, warmup_steps=2000, weight_decay=0.1)
    config.optim.beta2 = 0.95
    config.resize = dict(first_step=20_000, every_steps=10_000, max_seams=4)
    config.resize.uniform = True  # Layers stay alike, so they compile as one.
    config.resize.multiple = 128  # MLP widths that suit the matrix unit.
    config.mesh = dict(data=1, fsdp=-1)  # Weights are divided over all chips.
    config.train = dict(num_steps=80_000, eval_every_steps=1000, save_every_steps=500)
    return config
