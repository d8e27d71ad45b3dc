"""An encoder-decoder is distilled from one of another shape, target by target."""

import jax
import jax.numpy as jnp
import numpy as np

from slimjax.distill.config import DistillConfig
from slimjax.distill.error import make_distilled_error_fn
from slimjax.distill.teacher import flops_per_target
from slimjax.models import LayerConfig, recipes
from slimjax.tasks import seq2seq
from slimjax.tasks.error import make_error_fn
from slimjax.train.state import init_params

SPECIAL = {"pad": 0, "bos": 1, "eos": 2, "source_pad": 0}
LAYER = LayerConfig(2, 2, 2, 5)
ACROSS = LayerConfig(2, 2, 2, 5, cross_heads=2, cross_kv_heads=1)


def make_model(width, depth):
    layers = (ACROSS,) * depth
    options = dict(encoder_layers=(LAYER,) * depth, attention_impl="reference")
    return recipes.encoder_decoder(9, width, layers, **options)


def test_the_error_is_between_those_of_the_data_and_of_the_teacher():
    student, teacher = make_model(4, 1), make_model(6, 2)
    draw = np.random.default_rng(0)
    batch = {
        "source": draw.integers(3, 9, (3, 5)).astype(np.int32),
        "tokens": draw.integers(2, 9, (3, 4)).astype(np.int32),
    }
    task = seq2seq.make_task(SPECIAL)
    own, other = init_params(student, 0), init_params(teacher, 1)
    plain, _ = jax.jit(make_error_fn(task, student))(own, batch)

    def error(weight):
        config = DistillConfig("runs/teacher", weight=weight)
        error_fn = make_distilled_error_fn(task, student, teacher, config)
        return jax.jit(error_fn)(own, batch, other, jnp.float32(1.0))

    (half, sums), (whole, _) = error(0.5), error(1.0)
    np.testing.assert_allclose(half, (plain + whole) / 2, rtol=1e-5)
    np.testing.assert_allclose(sums["nats_sum"] / 12, plain, rtol=1e-5)
    assert whole > 0
    lengths = {"": 4, "source": 5}
    assert flops_per_target(teacher, lengths) > flops_per_target(student, lengths)
