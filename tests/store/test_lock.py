"""The lock on a folder is held by a living process or by none."""

import subprocess
import sys

import pytest

from slimjax.errors import CheckpointError
from slimjax.store.lock import lock_folder

HOLD = """
import sys
from pathlib import Path
from slimjax.store.lock import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Returns another process, which holds the lock until its stdin is closed."""
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], **pipes) as one:
        assert one.stdout.readline() == b"held\n"
        yield one
        one.kill()


def test_another_process_is_kept_out_until_a_kill(tmp_path, holder):
    for _ in range(2):
        with pytest.raises(CheckpointError, match="another process is training"):
            lock_folder(tmp_path).__enter__()
    holder.kill()
    holder.wait()
    assert (tmp_path / ".lock").is_file()  # Stale, and nobody minds.
    with lock_folder(tmp_path):
        pass


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "outside").write_text("years of work")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "outside")
    with pytest.raises(CheckpointError), lock_folder(tmp_path / "run"):
        pass
    assert (tmp_path / "outside").read_text() == "years of work"
