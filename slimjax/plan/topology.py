"""Slices of TPU chips by name, and descriptions of their devices without having them.

libtpu compiles for chips that are not there. It must know early, before jax looks
for devices, that this machine has none: call `prepare_libtpu` before jax is imported.
"""

import contextlib
import dataclasses
import importlib.util
import math
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from slimjax.errors import ConfigError, suggest
from slimjax.plan.chips import CHIPS, Chip

SETTINGS = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_STDERR_LOG_LEVEL": "3",
}
"""Environment in which libtpu compiles quietly on a machine without TPUs."""


@dataclasses.dataclass(frozen=True)
class Topology:
    """A slice: chips of one kind that stand in a grid.

    Attributes:
        kind: Name of the chip.
        shape: Chips along each axis.
    """

    kind: str
    shape: tuple[int, ...]

    @property
    def chip(self) -> Chip:
        """What each of the chips can do."""
        return CHIPS[self.kind]

    @property
    def num_chips(self) -> int:
        """Number of chips in the slice."""
        return math.prod(self.shape)

    @property
    def options(self) -> dict[str, Any]:
        """What libtpu is given beside the name: it takes hosts of 2x2 chips else."""
        options = {"chip_config_name": self.chip.config} if self.chip.config else {}
        alone = {"chips_per_host_bounds": [1, 1, 1]} if self.num_chips == 1 else {}
        return options | alone

    def __str__(self) -> str:
        """Returns the name, such as ``v5p:4x4x4``."""
        return f"{self.kind}:{'x'.join(map(str, self.shape))}"


def parse_topology(text: str) -> Topology:
    """Returns the slice of a name such as ``v5e:4x4`` or ``v5p:8x8x8``.

    Raises:
        ConfigError: If there is no such slice; names the chips that are known.

    Examples:
        >>> parse_topology("v5p:2x2x4").num_chips
        16
    """
    kind, _, sizes = text.partition(":")
    where = f"--topology={text}"
    if kind not in CHIPS:
        known = ", ".join(CHIPS)
        hint = suggest(kind, CHIPS) if kind else "Known: " + known + "."
        raise ConfigError(f"{where}: {kind!r} is not a chip (known: {known}). {hint}")
    chip, wanted = CHIPS[kind], "x".join("4" * CHIPS[kind].num_axes)
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", sizes):
        raise ConfigError(f"{where} must name its grid of chips, as {kind}:{wanted}.")
    shape = tuple(map(int, sizes.split("x")))
    if len(shape) != chip.num_axes:
        raise ConfigError(
            f"{where} has {len(shape)} axes, but {kind} chips stand in "
            f"{chip.num_axes}, as {kind}:{wanted}."
        )
    topology = Topology(kind, shape)
    if topology.num_chips > chip.most_chips:
        raise ConfigError(
            f"{where} has {topology.num_chips} chips; the largest slice of {kind} has "
            f"{chip.most_chips}."
        )
    return topology


def prepare_libtpu(*, quick: bool = False) -> None:
    """Prepares libtpu for a machine without TPUs; call it before jax is imported.

    Args:
        quick: Whether it is to compile with the least effort, in a fraction of the
            time, into a program that is not quite the one that a pod would run.

    Raises:
        ConfigError: If libtpu is not installed, with the command that installs it.
    """
    if not importlib.util.find_spec("libtpu") and "TPU_LIBRARY_PATH" not in os.environ:
        raise ConfigError(
            "slimjax plan compiles with libtpu, which is not installed: "
            "pip install 'slimjax[tpu]', or set TPU_LIBRARY_PATH to a libtpu.so."
        )
    os.environ.update(SETTINGS)
    if quick:
        os.environ["JAX_EXEC_TIME_OPTIMIZATION_EFFORT"] = "-1.0"


def describe_devices(topology: Topology) -> list[Any]:
    """Returns descriptions of a slice's devices, for which jax can compile.

    Raises:
        ConfigError: If libtpu knows no such slice.
    """
    import jax
    from jax.experimental import topologies

    try:
        with _silence():
            description = topologies.get_topology_desc(
                str(topology), "tpu", **topology.options
            )
            devices = description.devices
    except (jax.errors.JaxRuntimeError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split()).removeprefix("INVALID_ARGUMENT: ")
        raise ConfigError(
            f"--topology={topology} is unknown to libtpu: {reason}"
        ) from None
    return list(devices)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Hides what libraries in C++ write to stderr, such as guesses at this machine."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
