"""Processes that were given different things do not train together."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from slimjax import processes
from slimjax.config import override, read_config
from slimjax.errors import ConfigError
from slimjax.run import agreement
from slimjax.train.config import make_run_config
from slimjax.train.history import History

QUIET = SimpleNamespace(say=lambda _: None)


def make_run(*changes: tuple[str, str]):
    return make_run_config(override(read_config("tiny_test"), changes))


def make_stage(teacher=None, latency=None):
    return SimpleNamespace(teacher=teacher, blueprint=SimpleNamespace(latency=latency))


@pytest.fixture
def meet(monkeypatch):
    """Returns a function that has process 1 check, after process 0 has sent."""
    sent = []

    def share(_, value):
        sent.append(value)
        return sent[0]

    def both(check, first, second) -> None:
        sent.clear()
        check(*first)
        check(*second)

    stand_in = {"count": lambda: 2, "share": share}
    stand_in["together"] = lambda _: contextlib.nullcontext()
    for name, function in stand_in.items():
        monkeypatch.setattr(processes, name, function, raising=False)
    return both


@pytest.mark.parametrize(
    "change",
    [
        ("optim.learning_rate", "0.002"),
        ("mesh.fsdp", "2"),
        ("train.eval_every_steps", "3"),
        ("seed", "5"),
    ],
)
def test_another_setting_is_named(meet, change):
    runs = [(make_run(), QUIET), (make_run(change), QUIET)]
    with pytest.raises(ConfigError, match=f"config.{change[0]} is {change[1]}, and"):
        meet(agreement.check_settings, *runs)


def test_copies_of_the_same_may_lie_elsewhere(meet):
    places = [("data.source", "text:/here/*.txt"), ("data.tokenizer", "/here/a.model")]
    places += [("objective.size", "latency"), ("objective.budget", "60%")]
    places += [("objective.latency_table", "/here/latency.json")]
    others = [(name, value.replace("here", "there")) for name, value in places]
    runs = [(make_run(*changes), QUIET) for changes in (places, others)]
    meet(agreement.check_settings, *runs)


def test_another_version_is_named(meet, monkeypatch):
    of = iter([{"python": "3.11", "jax": "1.0"}, {"python": "3.12", "jax": "1.1"}])
    monkeypatch.setattr(agreement, "versions", lambda: next(of))
    with pytest.raises(ConfigError, match=r"of jax is '1\.1', and '1\.0' in"):
        meet(agreement.check_settings, (make_run(), QUIET), (make_run(), QUIET))


def test_other_data_and_other_models_are_named(meet):
    data = [(SimpleNamespace(fingerprint=text),) for text in "ab"]
    with pytest.raises(
        ConfigError, match="The fingerprint of the data is 'b', and 'a'"
    ):
        meet(agreement.check_data, *data)
    meet(agreement.check_data, data[0], data[0])
    begun, taught, timed = (SimpleNamespace(digest=text) for text in "cde")
    timed.fingerprint = "e"
    plain = make_stage(), History()
    for says, one in {
        "of the teacher is 'd'": (make_stage(teacher=taught), History()),
        "table of latencies is 'e'": (make_stage(latency=timed), History()),
        "init_from is 'c'": (make_stage(), History(init_from=vars(begun))),
    }.items():
        with pytest.raises(ConfigError, match=f"{says}, and None in process 0"):
            meet(agreement.check_sources, plain, one)
        meet(agreement.check_sources, one, one)


def test_long_values_are_cut(meet):
    facts = [("the settings", {"A list": list(range(n))}) for n in (900, 901)]
    with pytest.raises(ConfigError) as caught:
        meet(agreement.compare, *facts)
    assert len(str(caught.value)) < 300


@contextlib.contextmanager
def started(workdir: Path, flags: list[list[str]]) -> Iterator[list[subprocess.Popen]]:
    """Yields two processes, each with flags of its own, and ends what is left."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "slimjax", "train", "--config=tiny_test"]
    command += [f"--workdir={workdir}", f"--coordinator_address=127.0.0.1:{port}"]
    command += ["--num_processes=2", "--config.train.num_steps=8"]
    command += ["--config.model.num_layers=1", "--config.resize.first_step=6"]
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "1", "JAX_PLATFORMS": "cpu"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [
        subprocess.Popen(
            [*command, f"--process_id={i}", *own], env=environment, **streams
        )
        for i, own in enumerate(flags)
    ]
    try:
        yield both
    finally:
        for each in both:
            each.kill()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("optim.learning_rate", "config.optim.learning_rate is 0.002, and 0.001 in"),
        ("data.source", "The fingerprint of the data is "),
    ],
)
def test_two_such_processes_end_before_the_first_step(
    tmp_path, text_folder, name, says
):
    values = {"optim.learning_rate": ["0.001", "0.002"]}
    values["data.source"] = [f"text:{text_folder}/*.txt", f"text:{text_folder}/*0.txt"]
    common = f"--config.data.source={values['data.source'][0]}"
    flags = [[common, f"--config.{name}={value}"] for value in values[name]]
    with started(tmp_path / "run", flags) as both:
        errors = [each.communicate(timeout=300)[1] for each in both]
    assert [each.returncode for each in both] == [2, 2], errors
    assert f"slimjax: process 1: {says}" in errors[0]
    assert f"slimjax: {says}" in errors[1]
    assert not (tmp_path / "run" / "config.json").exists()
