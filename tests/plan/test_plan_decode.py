"""The step of decoding that is planned is the one that decodes, whatever the mesh."""

import jax
import numpy as np
import pytest
from stages import stage_of

from slimjax.config import override, read_config
from slimjax.errors import ConfigError
from slimjax.models.cached import freeze_decoder
from slimjax.plan.decode import abstract_decoder, decode_step, measure_decode
from slimjax.plan.topology import parse_topology
from slimjax.train.config import make_run_config
from slimjax.train.state import init_params

ROWS, LENGTH = 8, 16
MESH = [("mesh.data", "2"), ("mesh.fsdp", "2"), ("mesh.model", "2")]
MULTIPLES = [("resize.kv_heads_multiple", "2"), ("resize.multiple", "2")]


@pytest.fixture(scope="module")
def stage():
    config = override(read_config("configs/tiny_test.py"), [*MESH, *MULTIPLES])
    run = make_run_config(config)
    return stage_of(run)


def test_devices_of_a_mesh_make_the_tokens_that_one_makes(stage):
    decoder = freeze_decoder(
        stage.blueprint.model, init_params(stage.blueprint.model, seed=0)
    )
    cache = decoder.make_cache(ROWS, LENGTH)
    places = abstract_decoder(stage.blueprint.model, stage.mesh, ROWS, LENGTH)
    lies = jax.tree.map(lambda leaf: leaf.sharding, places)
    tokens, start = np.arange(3, 3 + ROWS, dtype=np.int32), np.zeros(ROWS, np.int32)
    alone, _ = jax.jit(decode_step)(decoder, tokens, start, cache)
    spread, own = jax.device_put((decoder, cache), lies)
    with jax.set_mesh(stage.mesh):
        shared, written = jax.jit(decode_step)(spread, tokens, start, own)
    assert np.asarray(shared).tolist() == np.asarray(alone).tolist()
    assert written[0].key.addressable_shards[0].data.shape[:3] == (2, LENGTH, 1)


def test_weights_are_whole_for_each_share_of_the_rows(stage):
    decoder, _ = abstract_decoder(stage.blueprint.model, stage.mesh, ROWS, LENGTH)
    matrix = decoder.layers[0][1].writing.data
    assert matrix.shape == (
        stage.blueprint.model.width,
        stage.blueprint.model.layers[0].mlp_dim,
    )
    assert matrix.sharding.shard_shape(matrix.shape)[1] * 2 == matrix.shape[1]


@pytest.mark.parametrize("rows", [0, 6])
def test_rows_that_devices_cannot_share_are_refused(stage, rows):
    with pytest.raises(ConfigError, match="Ask for a multiple of 4"):
        measure_decode(stage, parse_topology("v5e:2x4"), rows)
