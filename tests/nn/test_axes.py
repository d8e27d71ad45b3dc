"""Arrays of several processes come to the host without a new program for each."""

import jax
import numpy as np
import pytest
from compiles import listed
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from slimjax.nn.axes import to_host


@pytest.fixture
def mesh(monkeypatch) -> Mesh:
    """Returns a mesh of two devices, of which another process is said to have one."""
    kind = type(jax.device_put(0.0))
    monkeypatch.setattr(kind, "is_fully_addressable", property(lambda _: False))
    return Mesh(np.array(jax.devices()[:2]), ("data",))


@pytest.mark.parametrize(("spec", "most"), [(P(), 0), (P("data"), 1)])
def test_arrays_of_one_sharding_share_one_program(mesh, spec, most):
    whole, place = np.arange(6.0, dtype=np.float32), NamedSharding(mesh, spec)
    arrays = [jax.device_put(whole, place) for _ in range(3)]
    with listed() as names:
        for array in arrays:
            np.testing.assert_array_equal(to_host({"a": array})["a"], whole)
    assert len(names) <= most
