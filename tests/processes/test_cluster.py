"""Which processes make up a run, as flags and schedulers tell it."""

import jax
import pytest
from jax._src import distributed, xla_bridge

from slimjax.errors import ConfigError
from slimjax.processes import joining
from slimjax.processes.cluster import Cluster, find_cluster

XPK = {
    "JAX_COORDINATOR_ADDRESS": "run-slice-job-0-0.run",
    "JAX_PROCESS_COUNT": "8",
    "PROCESSES_IN_JOB": "4",
    "JOB_INDEX": "1",
    "JOB_COMPLETION_INDEX": "2",
}
SRUN = {
    "SLURM_JOB_ID": "77",
    "SLURM_STEP_NODELIST": "node[01-04]",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "0",
}


def test_a_process_is_alone_unless_something_says_otherwise():
    assert find_cluster({}) is None
    assert find_cluster({"SLURM_JOB_ID": "77", "SLURM_NTASKS": "4"}) is None
    assert find_cluster(SRUN | {"SLURM_NTASKS": "1"}) is None


def test_slurm_is_left_to_jax():
    assert find_cluster(SRUN) == Cluster(method="slurm")


class Connected(Exception):
    """Stands for the first message to the others."""


@pytest.fixture
def joins(monkeypatch):
    """Returns a function from an environment to what jax is told at the start.

    These are address, number of processes, own number, and devices.
    """
    before = xla_bridge.CUDA_VISIBLE_DEVICES.value

    def connect(address, own, **_):
        raise Connected(address, own)

    def join(environ):
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        state = distributed.State()
        monkeypatch.setattr(jax.distributed, "initialize", state.initialize)
        with pytest.raises(Connected) as caught:
            joining._join(find_cluster(environ))
        devices = xla_bridge.CUDA_VISIBLE_DEVICES.value
        address, own = caught.value.args
        return address, state.num_processes, own, devices

    client = "get_distributed_runtime_client"
    monkeypatch.setattr(distributed._jax, client, connect)
    yield join
    for platform in ("cuda", "rocm"):
        jax.config.update(f"jax_{platform}_visible_devices", before)


@pytest.mark.parametrize(
    "tasks",
    [
        {"SLURM_STEP_TASKS_PER_NODE": "1(x4)"},
        {"SLURM_STEP_TASKS_PER_NODE": "1(x4)", "SLURM_NTASKS_PER_NODE": "8"},
        {"SLURM_NTASKS_PER_NODE": "1"},
    ],
)
def test_a_process_that_is_alone_on_its_host_takes_all_devices(joins, tasks):
    assert joins(SRUN | tasks) == ("node01:61517", 4, 3, "all")


@pytest.mark.parametrize(
    "tasks",
    [
        {"SLURM_STEP_TASKS_PER_NODE": "2(x2)"},
        {"SLURM_STEP_TASKS_PER_NODE": "4", "SLURM_NTASKS_PER_NODE": "1"},
        {"SLURM_STEP_TASKS_PER_NODE": "1,3"},
        {},
    ],
)
def test_processes_of_one_host_take_a_device_each(joins, tasks):
    assert joins(SRUN | tasks) == ("node01:61517", 4, 3, "0")


def test_devices_that_are_named_are_taken(joins):
    named = {"SLURM_STEP_TASKS_PER_NODE": "1(x4)", "JAX_LOCAL_DEVICE_IDS": "2,5"}
    assert joins(SRUN | named)[-1] == "2,5"


def test_the_jobs_of_a_jobset_are_counted_in_one_row():
    address = "run-slice-job-0-0.run:1234"
    assert find_cluster(XPK) == Cluster(address, 8, 6, "deactivate")


def test_flags_come_before_the_environment():
    cluster = find_cluster(SRUN | XPK, coordinator_address="a:5", process_id=0)
    assert cluster == Cluster("a:5", 8, 0, "deactivate")


@pytest.mark.parametrize(
    ("environ", "flags", "says"),
    [
        ({}, {"num_processes": 2}, "--coordinator_address"),
        ({"JAX_COORDINATOR_ADDRESS": "a:1"}, {}, "--num_processes"),
        ({"JAX_COORDINATOR_ADDRESS": "a:1", "NNODES": "2"}, {}, "--process_id"),
        ({"JAX_COORDINATOR_ADDRESS": "a:1", "NNODES": "two"}, {}, "NNODES='two'"),
        (XPK, {"process_id": 8}, "--process_id=8"),
    ],
)
def test_half_a_cluster_is_refused_in_one_line(environ, flags, says):
    with pytest.raises(ConfigError, match=says) as caught:
        find_cluster(environ, **flags)
    assert "\n" not in str(caught.value)
