"""Whether a run fits the memory of this machine, told before anything is allocated."""

import math

import jax

from slimjax.memory import check_fits, device_bytes
from slimjax.models.config import ModelConfig
from slimjax.train.config import RunConfig


def check_memory(run: RunConfig, model: ModelConfig) -> None:
    """Refuses a model or a batch that cannot fit, by the least that each needs.

    What a step really needs is more; it is known when the step is compiled.

    Raises:
        ConfigError: Naming the settings, what they need and what is free.
    """
    devices = jax.local_devices()
    are_apart = devices[0].platform != "cpu"  # Those of a CPU share one memory.
    available = device_bytes(devices) * jax.process_count()
    available *= len(devices) if are_apart else 1
    leaves = jax.tree.leaves(model.abstract_variables())
    num_weights = sum(math.prod(leaf.shape) for leaf in leaves)
    check_fits(
        num_weights * run.optim.bytes_per_weight,
        available,
        f"training {num_weights:,} weights (config.model, config.data.vocab_size)",
        "Take a smaller model or vocabulary.",
    )
    rows, length = run.data.batch_size, run.data.seq_len
    check_fits(
        4 * rows // run.optim.accumulation_steps * length * model.width,
        available,
        f"config.data.batch_size={rows} x config.data.seq_len={length}",
        "Take a smaller batch or sequence, or set config.optim.accumulation_steps.",
    )
