"""Malformed input is refused in one line, or put up with; never a traceback."""

import itertools
import resource
import time

import malformed
import pytest
from runs import CONFIG, Says, make_run

from slimjax.run import start

SECONDS, BYTES = 5.0, 1 << 30


@pytest.fixture(scope="module")
def finished(tmp_path_factory, text_folder):
    root = tmp_path_factory.mktemp("finished") / "run"
    start.train(make_run(text_folder), root, display=Says())
    return root


SOURCES = {
    "settings": lambda folder, run: malformed.settings(),  # noqa: ARG005
    "configs": lambda folder, run: malformed.configs(folder),  # noqa: ARG005
    "flags": malformed.flags,
    "texts": lambda folder, run: malformed.texts(folder),  # noqa: ARG005
    "packed files": lambda folder, run: malformed.packed_files(folder, run, 30),
    "run folders": malformed.run_files,
    "manifests": malformed.manifests,
}
EVERY = {"run folders": 7, "manifests": 5}
"""Of these, which read much for each case, one of so many is tried."""


TYPED = "settings", "configs"
"""These hold values of wrong types, which reach checks of ours that name them."""


@pytest.mark.parametrize(
    "source",
    [pytest.param(s, marks=[pytest.mark.wrong_types] * (s in TYPED)) for s in SOURCES],
)
def test_it_is_one_line_and_exit_code_2(tmp_path, finished, source):
    assert CONFIG.is_file()
    cases = SOURCES[source](tmp_path, finished)
    before, wrong, count = peak_bytes(), [], 0
    for case in itertools.islice(cases, 0, None, EVERY.get(source, 1)):
        start = time.process_time()
        wrong.append(case.outcome())
        seconds, count = time.process_time() - start, count + 1
        if seconds > SECONDS:
            wrong.append(f"{case.name} takes {seconds:.1f} s")
    assert not [line for line in wrong if line]
    assert count > 15
    assert peak_bytes() - before < BYTES


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
