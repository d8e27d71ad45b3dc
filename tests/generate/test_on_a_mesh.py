"""Models that lie on several devices write what they write on one."""

import jax
import numpy as np
import pytest
from shapes import make_variables

from slimjax.generate.beam import Ends, search
from slimjax.generate.decode import generate_all
from slimjax.generate.decode_config import DecodeConfig
from slimjax.generate.sampling import Sampling
from slimjax.mesh.mesh import MeshConfig, make_mesh
from slimjax.mesh.shardings import shardings
from slimjax.models import T5, LayerConfig, decoder, encoder_decoder
from slimjax.models.cached import freeze_decoder
from slimjax.nn.axes import is_spread
from slimjax.trees import axis_names

PROMPTS = [np.array(ids, np.int32) for ids in ([1, 4, 9], [7], [1, 2, 3, 8], [5, 5])]
ACROSS = LayerConfig(4, 2, 2, 8, cross_heads=4, cross_kv_heads=2)


def writers(config, seed):
    """Returns a model on one device, and on eight."""
    variables = make_variables(config, seed=seed)[0]
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, model=2))
    names = axis_names(config.abstract_variables())
    apart = jax.device_put(variables, shardings(variables, names, mesh))
    writer = freeze_decoder(config, apart)
    assert is_spread(writer.params)
    assert not writer.params["tokens"]["embedding"].is_fully_replicated
    return freeze_decoder(config, variables), writer


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.7, top_k=5)])
def test_texts_are_those_of_one_device(sampling):
    config = decoder(16, 8, (LayerConfig(4, 2, 2, 12), LayerConfig(4, 2, 2, 8)))
    options = dict(max_new_tokens=7, eos_id=0, sampling=sampling, seed=3)
    one, eight = (
        generate_all(writer, PROMPTS, **options) for writer in writers(config, 4)
    )
    assert max(map(len, one)) == 7
    for found, expected in zip(eight, one, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_beams_are_those_of_one_device():
    config = encoder_decoder(
        *(16, 8, (ACROSS,)), encoder_layers=(LayerConfig(4, 2, 2, 8),), style=T5
    )
    rows = np.random.default_rng(0).integers(3, 16, (4, 5)).astype(np.int32)
    options = dict(ends=Ends(2, 0), decode=DecodeConfig(3, 0.6, 6))
    options |= dict(source={"source": rows, "source_segments": np.ones_like(rows)})
    begin = [np.array([1], np.int32)] * 4
    one, eight = (search(w, begin, **options) for w in writers(config, 5))
    np.testing.assert_array_equal(eight[0], one[0])
    np.testing.assert_allclose(eight[1], one[1], rtol=1e-4)
