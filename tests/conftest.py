"""What all tests share: eight CPU devices, hasty compiling, strict ranks, one cache."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")

# Compiling is what tests cost. What they hold is equality between programs, and that
# must not depend on the compiler's effort: ``make test-all`` takes what users run.
HASTE = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
)
PATIENCE = (  # Eight devices on two busy cores may wait for one another beyond 40 s.
    "--xla_cpu_collective_call_terminate_timeout_seconds=600",
    "--xla_cpu_collective_timeout_seconds=600",
)
IS_HASTY = os.environ.get("SLIMJAX_FULL_EFFORT", "0") == "0"
flags = (*(HASTE if IS_HASTY else ()), *PATIENCE, os.environ.get("XLA_FLAGS", ""))
os.environ["XLA_FLAGS"] = " ".join(flags)  # Subprocesses inherit them.
CACHE = Path(tempfile.gettempdir()) / f"slimjax-tests-{os.getuid()}"
os.environ.setdefault("SLIMJAX_CACHE", str(CACHE))
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE / "compiled"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

hypothesis.settings.register_profile(
    "laws",
    deadline=None,
    max_examples=7 if IS_HASTY else 20,
    derandomize=True,
    database=None,
)
hypothesis.settings.load_profile("laws")

jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_configure(config):
    """Lets a checker of types look at items of a list that it draws."""
    if config.getoption("jaxtyping_packages"):
        line = "ignore:Do not use the `random` module inside strategies"
        config.addinivalue_line("filterwarnings", line)


def pytest_collection_modifyitems(config, items):
    """Leaves out what a checker of types would refuse first."""
    if config.getoption("jaxtyping_packages"):
        skip = pytest.mark.skip(reason="types are checked")
        for item in items:
            if item.get_closest_marker("wrong_types"):
                item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def _short_turns():
    """At the end of a run two steps take turns for some seconds; here for less."""
    from slimjax.run import speed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "SECONDS", 0.1)
        patch.setattr(speed, "TURN_SECONDS", 0.005)
        yield


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory) -> Path:
    """Returns a folder of small texts, some 120 kB, made of a few hundred words."""
    import random

    folder, source = tmp_path_factory.mktemp("texts"), random.Random(0)
    letters = "etaoinshrdlucmfwypvbgkqjxz"
    words = [
        "".join(
            source.choices(letters, weights=range(26, 0, -1), k=source.randint(1, 9))
        )
        for _ in range(300)
    ]
    for i in range(12):
        lines = [" ".join(source.choices(words, k=11)) + "." for _ in range(150)]
        (folder / f"part{i}.txt").write_text("\n\n".join(lines), encoding="utf-8")
    return folder
