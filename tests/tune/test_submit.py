"""Workers are started as jobs, queued again when they are preempted, and waited for."""

import os
import signal
import stat
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from slimjax.errors import ConfigError, NotFeasibleError
from slimjax.tune import submit as room
from slimjax.tune.submit import JOBS, check_place, submit, wait
from slimjax.tune.submit_request import Request, parse_minutes, to_parameters

PATIENCE_S = 120.0

SBATCH = """#!{python}
import os, re, subprocess, sys
script = open(sys.argv[1]).read()
if "nowhere" in script:
    sys.exit("sbatch: error: invalid partition specified: nowhere")
open("{root}/script", "w").write(script)
found = re.search(r"--array=0-(\\d+)", script)
print("Submitted batch job 77", flush=True)
for i in range(int(found[1]) + 1) if found else [None]:
    more = {{"SLURM_JOB_ID": "77", "SLURM_PROCID": "0"}}
    if i is not None:
        more |= {{"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": str(i)}}
    log = open("{root}/slurm.log", "a")
    subprocess.Popen(
        ["bash", sys.argv[1]], env=os.environ | more, stdout=log, stderr=log,
        start_new_session=True,
    )
"""
SRUN = """#!{python}
import os, sys
words = sys.argv[2:]
while words[0] in ("--output", "--error"):
    words = words[2:]
os.execvp(words[0], words)
"""
SCONTROL = """#!{python}
import os, subprocess, sys
log = open("{root}/slurm.log", "a")
open("{root}/requeued", "a").write(sys.argv[2] + "\\n")
subprocess.Popen(
    ["bash", "{root}/script"], stdout=log, stderr=log, start_new_session=True
)
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Path:
    """Puts commands on the path that do what Slurm does; returns their folder."""
    root = tmp_path / "slurm"
    root.mkdir()
    texts = {"sbatch": SBATCH, "srun": SRUN, "scontrol": SCONTROL, "sacct": "#!/bin/sh"}
    for name, text in texts.items():
        path = root / name
        path.write_text(text.format(python=sys.executable, root=root))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{root}{os.pathsep}{os.environ['PATH']}")
    return root


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(room, "SECONDS_BETWEEN_LOOKS", 0.05)


def run_code(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def join(jobs) -> None:
    """Waits for local controllers, so that none outlives the test."""
    for job in jobs:
        job._process.wait(PATIENCE_S)


def test_local_workers_run_the_command_here_and_are_waited_for(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    monkeypatch.chdir(tmp_path)
    code = "import os; n = f'{os.getpid()}.txt'; "
    code += "open(n, 'w').write(os.environ['CUDA_VISIBLE_DEVICES'])"
    jobs = submit(run_code(code), tmp_path / "s", Request("local", 2))
    wait(jobs, tmp_path / "s")
    join(jobs)
    assert [path.read_text() for path in tmp_path.glob("*.txt")] == ["5", "5"]


def test_a_job_that_fails_is_named_with_its_log(tmp_path):
    code = "import sys; print('why', file=sys.stderr); sys.exit(3)"
    jobs = submit(run_code(code), tmp_path, Request("local"))
    with pytest.raises(
        NotFeasibleError, match=r"1 of 1 jobs failed; .* exit code 3\. "
    ):
        wait(jobs, tmp_path)
    join(jobs)
    log = tmp_path / JOBS / f"{jobs[0].job_id}_0_log.err"
    assert "why" in log.read_text()


def test_a_job_whose_code_is_not_written_yet_has_not_failed(tmp_path, monkeypatch):
    ended, text = tmp_path / JOBS / "7.exit", iter(["", "", "0\n"])
    ended.parent.mkdir()

    def write(_):
        ended.write_text(next(text))

    monkeypatch.setattr(room.time, "sleep", write)
    wait([SimpleNamespace(job_id="7", done=lambda: False)], tmp_path)
    assert not list(text)


def test_a_job_that_died_while_it_wrote_its_code_is_named(tmp_path, monkeypatch):
    (tmp_path / JOBS).mkdir()
    (tmp_path / JOBS / "7.exit").touch()
    monkeypatch.setattr(room.time, "sleep", lambda _: None)
    with pytest.raises(NotFeasibleError, match="no exit code: it was killed"):
        wait([SimpleNamespace(job_id="7", done=lambda: True)], tmp_path)


def test_a_preempted_job_saves_is_queued_again_and_goes_on(slurm, tmp_path):
    """Slurm warns all processes of the job; the command is asked to save."""
    code = f"""
import os, pathlib, signal, sys, time
root = pathlib.Path({str(tmp_path)!r})
if (root / "saved").exists():
    sys.exit(0)
def save(*_):
    (root / "saved").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
(root / "pids").write_text(f"{{os.getpid()}} {{os.getppid()}}")
time.sleep({PATIENCE_S})
"""
    options = {"time": "4:00:00", "partition": "gpu", "mem": "8G", "reservation": "r1"}
    jobs = submit(run_code(code), tmp_path, Request("slurm", 1, options))
    deadline = time.monotonic() + PATIENCE_S
    while not (tmp_path / "pids").is_file() or not (tmp_path / "pids").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for pid in (tmp_path / "pids").read_text().split():
        os.kill(int(pid), signal.SIGUSR2)
    wait(jobs, tmp_path)
    assert (tmp_path / "saved").exists()
    assert (slurm / "requeued").read_text() == "77\n"
    script = (slurm / "script").read_text()
    for line in ("time=240", "partition=gpu", "mem=8G", "reservation=r1"):
        assert f"#SBATCH --{line}\n" in script


@pytest.mark.slow
def test_workers_of_slurm_are_one_array_job(slurm, tmp_path):
    code = f"import os; open(f'{tmp_path}/{{os.getpid()}}.txt', 'w')"
    jobs = submit(run_code(code), tmp_path, Request("slurm", 3, {"time": "5"}))
    assert [job.job_id for job in jobs] == ["77_0", "77_1", "77_2"]
    wait(jobs, tmp_path)
    assert len(list(tmp_path.glob("*.txt"))) == 3
    assert "--array=0-2%3" in (slurm / "script").read_text()


def test_what_slurm_refuses_is_one_line(slurm, tmp_path):
    del slurm
    request = Request("slurm", 1, {"time": "5", "partition": "nowhere"})
    with pytest.raises(NotFeasibleError, match="invalid partition") as caught:
        submit(run_code(""), tmp_path, request)
    assert "\n" not in str(caught.value)


def test_a_machine_without_slurm_or_submitit_is_told_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"needs sbatch and srun.* --submit=local"):
        submit(run_code(""), tmp_path, Request("slurm"))
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ConfigError, match=r"pip install 'slimjax\[slurm\]'"):
        check_place("local")
    assert not list(tmp_path.iterdir())


REFUSED = [
    (lambda: Request("slrum"), "Did you mean slurm"),
    (lambda: Request("local", 0), r"--workers=0 must be in \[1, 1000\]"),
    (lambda: Request("local", -2), "--workers=-2"),
    (lambda: Request("slurm", 1, {"time": "4h"}), "--slurm_time=4h must be minutes"),
    (lambda: Request("slurm", 1, {"time": "0:0"}), "more than nothing"),
    (lambda: Request("slurm", 1, {"setup": "rm"}), "--slurm_setup=rm cannot be set"),
    (lambda: Request("slurm", 1, {"a-b": "1"}), "--slurm_a-b=1 cannot be set"),
    (lambda: Request("slurm", 1, {"qos": "a\nb"}), "must be one line"),
    (lambda: Request("slurm", 1, {"qos": ""}), "must be one line"),
    (lambda: to_parameters({}), "needs --slurm_time"),
    (lambda: to_parameters({"time": "1", "nodes": "x"}), "nodes=x must be a whole"),
]


@pytest.mark.parametrize(("ask", "told"), REFUSED)
def test_what_cannot_be_asked_for_is_refused(ask, told):
    with pytest.raises(ConfigError, match=told):
        ask()


def test_times_are_read_as_slurm_does():
    times = {
        "30": 30,
        "1:30": 2,
        "90:00": 90,
        "2:00:00": 120,
        "1-0": 1440,
        "1-1:1": 1501,
    }
    assert {text: parse_minutes(text) for text in times} == times
