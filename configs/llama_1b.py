"""A decoder in the shape of Llama 3.2 1B, for a slice of 16 TPU v5e chips.

Plan: slimjax plan --config=configs/llama_1b.py --topology=v5e:4x4 --after=50%
Run, on every host: slimjax train --config=configs/llama_1b.py \
    --config.data.source='text:corpus/*.txt' --workdir=runs/llama_1b

1.24 B weights with the tied table of tokens. Shape: the model card of Llama 3.2.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Numbers, strings, tuples and dicts only: a config is data."""
    config = ConfigDict()
    config.seed = 0
    config.task = "lm"
    config.data = dict(source="text:*.txt", vocab_size=128_256)
    config.data.seq_len = 8192  # Tokens a row.
    config.data.batch_size = 32  # Rows a step, over all devices.
    config.model = dict(width=2048, num_layers=16, num_heads=32, num_kv_heads=8)
    config.model.mlp_dim = 8192
    config.model.rope_base = 500_000.0
    config.model.dtype = "bfloat16"  # Of products; sums are float32.
    config.model.remat = "full"  # Layers are computed again in the backward pass.
    config.objective = dict(strategy="exchange", size="params", budget="50%")
    config.optim = dict(learning_rate=3e-4, warmup_steps=2000, weight_decay=0.1)
    config.optim.beta2 = 0.95
    config.resize = dict(first_step=20_000, every_steps=10_000, max_seams=4)
    config.resize.uniform = True  # All layers stay alike, and are compiled as one.
    config.resize.multiple = 128  # MLP widths that the matrix unit likes.
    config.mesh = dict(data=1, fsdp=-1)  # Weights are cut over all chips.
    config.train = dict(num_steps=80_000, eval_every_steps=1000, save_every_steps=500)
    return config
