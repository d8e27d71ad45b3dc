"""Which processes make up a run, as flags and schedulers tell it."""

import pytest

from slimjax.errors import ConfigError
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
}


def test_a_process_is_alone_unless_something_says_otherwise():
    assert find_cluster({}) is None
    assert find_cluster({"SLURM_JOB_ID": "77", "SLURM_NTASKS": "4"}) is None
    assert find_cluster(SRUN | {"SLURM_NTASKS": "1"}) is None


def test_slurm_is_left_to_jax():
    assert find_cluster(SRUN) == Cluster(method="slurm")


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
