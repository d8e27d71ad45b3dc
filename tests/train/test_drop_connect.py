"""Weights that are dropped in training: only there, and the same in loops."""

import jax
import numpy as np
import pytest
from stages import make_stage, take_steps

from slimjax.errors import ConfigError
from slimjax.trees import hash_tree

DROPS = ("model.drop_connect", '{"mlp": 0.3}')


def test_dropped_weights_change_training_and_not_evaluation():
    plain, dropping = make_stage(), make_stage(DROPS)
    one, first = take_steps(plain, 2)
    other, second = take_steps(dropping, 2)
    assert first[0] != pytest.approx(second[0], rel=1e-6)
    assert hash_tree(jax.device_get(one)) != hash_tree(jax.device_get(other))
    rows = np.random.default_rng(0).integers(3, 259, (8, 9)).astype(np.int32)
    batch = plain.put({"tokens": rows})
    variables = plain.start(jax.device_get(one.params)).variables
    found = [stage.programs.outputs(variables, batch) for stage in (plain, dropping)]
    np.testing.assert_array_equal(found[0]["nats"], found[1]["nats"])


def test_each_step_drops_other_weights_and_again_the_same():
    _, losses = take_steps(make_stage(DROPS), 2)
    _, again = take_steps(make_stage(DROPS), 2)
    assert losses == again


def test_loops_over_layers_drop_what_single_layers_drop():
    changes = (DROPS, ("model.num_layers", "3"))
    _, single = take_steps(make_stage(*changes, ("model.scan_layers", "false")), 2)
    _, loops = take_steps(make_stage(*changes, ("model.scan_layers", "true")), 2)
    np.testing.assert_allclose(loops, single, rtol=1e-5)


@pytest.mark.parametrize("text", ['{"mlp": 1.5}', '{"mpl": 0.1}'])
def test_axes_and_rates_that_do_not_exist_are_refused(text):
    with pytest.raises(ConfigError, match=r"config\.model\.drop_connect"):
        make_stage(("model.drop_connect", text))
