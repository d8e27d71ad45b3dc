"""The recipe that all arms of the study share, and what each of them changes."""

import bisect
import functools
import math

from slimjax.models.layer_config import LayerConfig
from slimjax.models.recipes import decoder
from slimjax.objective.inventory import Inventory, take_inventory, uniform_bits
from slimjax.objective.size import SizeFn, make_size_fn

Changes = list[tuple[str, str]]

BUDGETS = (24_000, 16_000, 10_000)
"""Bytes of the packed file, header included."""

WIDTH, HEAD_DIM, NUM_LAYERS, MLP_DIM = 48, 8, 3, 128
"""The model that the path, and prune-then-quantize, start from."""

PIECE_STEPS, DECAY_STEPS = (500, 400, 800), (450, 300, 400)
"""Steps to each size from the one before, and of each decay; small steps are cheap."""

DENSE_STEPS = {"pruned4": 500, "pruned4early": 200}
"""Steps before prune-then-quantize cuts; the path cuts first after 200."""

UNITS: Changes = [
    ("resize.units", '["heads", "kv_heads", "mlp", "sublayer", "layer", "embed"]')
]
"""What may go: the residual width too, or the smallest file is all tokens' table."""

SEAMS = ((200, 60, 3), (20, 40, 3), (20, 40, 4))
"""First step in each piece, steps between, number."""

BASE: Changes = [
    ("data.source", "stdlib"),
    ("data.tokenizer", "bytes"),
    ("data.seq_len", "128"),
    ("data.batch_size", "32"),
    ("data.valid_fraction", "0.02"),
    ("data.test_fraction", "0.02"),
    ("model.num_layers", str(NUM_LAYERS)),
    ("model.head_dim", str(HEAD_DIM)),
    ("model.dtype", "bfloat16"),
    ("optim.learning_rate", "4e-3"),
    ("optim.warmup_steps", "40"),
    ("optim.decay", "linear"),
    ("optim.final_fraction", "0"),
    ("resize.multiple", "1"),
    ("train.eval_every_steps", "0"),
    ("train.save_every_steps", "0"),
]

START: Changes = [
    ("model.width", str(WIDTH)),
    ("model.num_heads", str(WIDTH // HEAD_DIM)),
    ("model.num_kv_heads", str(WIDTH // HEAD_DIM)),
    ("model.mlp_dim", str(MLP_DIM)),
]

NOBODY: Changes = [("objective.strategy", "none"), ("objective.budget", "")]

CHOICE: Changes = [("quantize.bits", "[8, 6, 4]"), ("objective.size", "bytes")]


def schedule(num_steps: int, decay_steps: int) -> Changes:
    """A plateau, and a line to zero in the last steps."""
    fraction = decay_steps / num_steps
    return [
        ("train.num_steps", str(num_steps)),
        ("optim.decay_fraction", repr(fraction)),
    ]


def trunk(number: int, before: str) -> Changes:
    """The path's piece that ends at a size, on the plateau.

    Args:
        number: Which size, from 0.
        before: Folder of the piece before; empty for the first.
    """
    end = sum(PIECE_STEPS[: number + 1])
    made = [*START, *CHOICE, *schedule(end, 0)]
    made += [*UNITS, ("objective.strategy", "exchange")]
    made += [("objective.budget", str(BUDGETS[number]))]
    first, every, count = SEAMS[number]
    first += sum(PIECE_STEPS[:number])
    made += [("resize.first_step", str(first)), ("resize.every_steps", str(every))]
    made += [("resize.max_seams", str(count))]
    return [*made, ("train.continue_from", before)] if before else made


def branch(number: int, trunk_folder: str) -> Changes:
    """The decay that finishes a size: nobody goes, bits stay as they were chosen."""
    end = sum(PIECE_STEPS[: number + 1]) + DECAY_STEPS[number]
    made = [*START, *CHOICE, *NOBODY, *UNITS, *schedule(end, DECAY_STEPS[number])]
    return [*made, ("train.continue_from", trunk_folder)]


def single(num_steps: int, first: int, every: int) -> Changes:
    """One run to the smallest size, cut and rounded early, then trained to its end.

    Args:
        num_steps: Steps of the run.
        first: Step of the first of six seams.
        every: Steps from one to the next.
    """
    made = [*START, *CHOICE, *schedule(num_steps, round(0.4 * num_steps))]
    made += [*UNITS, ("objective.strategy", "exchange")]
    made += [("objective.budget", str(BUDGETS[-1])), ("resize.max_seams", "6")]
    made += [("resize.first_step", str(first)), ("resize.every_steps", str(every))]
    return made


def taught_by(teacher: str) -> Changes:
    """A finished, larger size beside the text."""
    return [("distill.teacher", teacher), ("distill.weight", "0.5")]


def dense(num_steps: int) -> Changes:
    """The run that prune-then-quantize starts from."""
    return [*START, *NOBODY, *schedule(num_steps, 0)]


def pruned(number: int, dense_steps: int, dense_folder: str, num_steps: int) -> Changes:
    """Cut by `taylor` to a budget at 4 bits, healed, then 4 bits and a decay."""
    end = dense_steps + num_steps
    made = [*START, *schedule(end, round(0.4 * num_steps))]
    made += [("objective.strategy", "taylor"), ("objective.size", "bytes")]
    made += [("objective.budget", str(BUDGETS[number])), ("quantize.bits", "4")]
    made += [("quantize.first_step", str(dense_steps + num_steps // 4))]
    made += [("resize.first_step", str(dense_steps + 10)), ("resize.max_seams", "1")]
    return [*made, ("train.continue_from", dense_folder)]


def hard_concrete(number: int, num_steps: int) -> Changes:
    """Gates that learn to close, towards a budget at 8 bits."""
    seam = num_steps // 2
    made = [*START, *schedule(num_steps, round(0.4 * num_steps))]
    made += [("objective.strategy", "hard_concrete"), ("objective.size", "bytes")]
    made += [("objective.budget", str(BUDGETS[number])), ("quantize.bits", "8")]
    made += [("resize.first_step", str(seam)), ("resize.max_seams", "1")]
    return [*made, ("quantize.first_step", str(seam))]


def scratch(number: int, bits: int, num_steps: int, rounded_from: float) -> Changes:
    """A fresh model of even layers that fills a budget at the same bits everywhere.

    Args:
        number: Which size, from 0.
        bits: Bits of all units.
        num_steps: Steps of the run.
        rounded_from: Part of the steps after which weights are rounded.
    """
    width, mlp_dim = best_shape(BUDGETS[number], bits)
    heads = str(width // HEAD_DIM)
    made = [*NOBODY, *schedule(num_steps, round(0.4 * num_steps))]
    made += [("quantize.bits", str(bits)), ("objective.size", "bytes")]
    made += [("quantize.first_step", str(round(rounded_from * num_steps)))]
    made += [("model.width", str(width)), ("model.mlp_dim", str(mlp_dim))]
    return [*made, ("model.num_heads", heads), ("model.num_kv_heads", heads)]


def best_shape(budget: int, bits: int) -> tuple[int, int]:
    """Returns width and MLP width that fill a budget, the second near 2.7 times."""
    shapes = []
    for width in range(HEAD_DIM, 129, HEAD_DIM):
        mlp_dim = bisect.bisect_right(
            range(1, 400), budget, key=lambda f: packed_bytes(width, f, bits)
        )
        if mlp_dim >= HEAD_DIM:
            shapes.append((abs(math.log(mlp_dim / (2.7 * width))), width, mlp_dim))
    return min(shapes)[1:]


@functools.cache
def packed_bytes(width: int, mlp_dim: int, bits: int) -> float:
    """Returns the bytes of a fresh model's packed file."""
    size_fn, inventory = _size_of("bytes", width, mlp_dim)
    return float(size_fn(inventory.open_gates(), uniform_bits(inventory, bits)))


def step_flops(width: int, mlp_dim: int) -> float:
    """Returns the training FLOPs of one step of a fresh model."""
    size_fn, inventory = _size_of("flops", width, mlp_dim)
    return 3 * 32 * 128 * float(size_fn(inventory.open_gates()))


def _size_of(measure: str, width: int, mlp_dim: int) -> tuple[SizeFn, Inventory]:
    heads = width // HEAD_DIM
    layer = LayerConfig(heads, heads, HEAD_DIM, mlp_dim)
    config = decoder(259, width, (layer,) * NUM_LAYERS)
    inventory = take_inventory(config.abstract_variables(), config.uses({"": 128}))
    return make_size_fn(measure, inventory), inventory
