"""Hidden states of unequal models, compared through maps that are learned."""

import jax
import jax.numpy as jnp
import numpy as np

from slimjax.distill.alignment import alignment_error, make_maps, map_names
from slimjax.resize.plan import make_plan
from slimjax.resize.shrink import cut

DRAW = np.random.default_rng(0)


def draw_streams(num_layers: int, width: int) -> list[jax.Array]:
    shape = (num_layers + 1, 2, 5, width)
    return [jnp.asarray(x, jnp.float32) for x in DRAW.normal(size=shape)]


def test_the_error_is_that_of_the_formula_and_its_gradient_moves_both():
    streams, taught = draw_streams(2, 3), draw_streams(4, 6)
    mask = np.ones((2, 5), np.float32)
    mask[1, 3:] = 0
    maps = {f"map_{i}": {"map": jnp.asarray(DRAW.normal(size=(3, 6)))} for i in (0, 1)}
    errors = []
    for i, depth in enumerate((2, 4)):
        x, y = np.asarray(streams[i + 1]), np.asarray(taught[depth])
        missed = (mask[..., None] * (x @ np.asarray(maps[f"map_{i}"]["map"]) - y)) ** 2
        errors.append(missed.sum() / (mask[..., None] * y**2).sum())
    error = lambda maps, streams: alignment_error(
        maps, streams, taught, jnp.asarray(mask), jnp.float32
    )
    np.testing.assert_allclose(error(maps, streams), np.mean(errors), rtol=1e-5)
    slopes, pulls = jax.grad(error, argnums=(0, 1))(maps, streams)
    assert all(np.any(slope) for slope in jax.tree.leaves(slopes))
    assert [bool(np.any(pull)) for pull in pulls] == [False, True, True]


def test_who_starts_as_his_teacher_begins_without_error():
    streams = draw_streams(2, 3)
    mask = jnp.ones((2, 5))
    for same_start, expected in ((True, 0.0), (False, 1.0)):
        maps = make_maps(2, 3, 3, same_start=same_start)
        error = alignment_error(maps, streams, streams, mask, jnp.float32)
        np.testing.assert_allclose(error, expected, atol=1e-6)


def test_a_map_is_cut_with_the_students_width():
    maps = make_maps(1, 4, 4, same_start=True)
    plan = make_plan({("embed",): np.array([1.0, 0.0, 1.0, 1.0])})
    kept = cut(maps, map_names(1), plan)["map_0"]["map"]
    np.testing.assert_array_equal(kept, np.eye(4)[[0, 2, 3]])
