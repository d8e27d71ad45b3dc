"""What a compiled program sends from chip to chip, by kind."""

import math
import re
from collections.abc import Sequence

from slimjax.plan.hlo import Program, Run, Shape

KINDS = (
    "all-gather",
    "reduce-scatter",
    "all-reduce",
    "collective-permute",
    "all-to-all",
)


def count_collectives(program: Program, num_devices: int) -> dict[str, dict[str, int]]:
    """Returns, by kind, how often it is run and the bytes that one chip sends for it.

    Bytes are those of a ring, the least there can be: of a whole of M bytes spread
    over n chips, each of them sends ``M (n - 1) / n`` to gather, to scatter or to
    exchange it, twice that to reduce it for all, and M to pass it on.

    Args:
        program: The program of one chip.
        num_devices: All devices of the mesh, for groups that are not written down.
    """
    counts = {kind: {"count": 0, "bytes": 0} for kind in KINDS}
    for run in program.runs():
        kind = kind_of(run, program)
        if not kind:
            continue
        counts[kind]["count"] += run.times
        counts[kind]["bytes"] += run.times * bytes_sent(kind, run, num_devices)
    return counts


def kind_of(run: Run, program: Program) -> str:
    """Returns the kind of a collective that begins here, or nothing.

    A collective that runs beside other work is in several pieces, of which the one
    that starts it counts. A sum whose result is cut at once is a reduce-scatter.
    """
    opcode = run.instruction.opcode.removesuffix("-start")
    if opcode not in KINDS:
        return ""
    if "async_collective_fusion_config" in run.instruction.attributes:
        pieces = program.computations[run.computation].values()
        if not any('"AsyncCollectiveStart"' in piece.attributes for piece in pieces):
            return ""
    scatters = run.fused and "all-reduce-scatter" in run.computation
    return "reduce-scatter" if scatters else opcode


def bytes_sent(kind: str, run: Run, num_devices: int) -> int:
    """Returns the bytes that one chip sends in one run of a collective."""
    instruction = run.instruction
    size = group_size(instruction.attributes, num_devices)
    whole = sum(shape.num_bytes for shape in _results(instruction.opcode, run))
    if instruction.opcode.startswith("reduce-scatter"):
        whole *= size
    if kind == "collective-permute":
        return whole
    passes = 2 if kind == "all-reduce" else 1
    return passes * whole * (size - 1) // size


def _results(opcode: str, run: Run) -> Sequence[Shape]:
    """Returns the arrays that a collective gives; its start also lists its operands."""
    shapes = [shape for shape in run.instruction.shapes if shape.dims]
    if not opcode.endswith("-start") or opcode == "all-reduce-start":
        return run.instruction.shapes
    return shapes[len(shapes) // 2 :]


def group_size(attributes: str, num_devices: int) -> int:
    """Returns how many chips take part in one group of a collective.

    Examples:
        >>> group_size("replica_groups=[4,16]<=[64], dimensions={0}", 64)
        16
        >>> group_size("replica_groups={{0,2},{1,3}}", 4)
        2
        >>> group_size("replica_groups=mesh['a'=8,'b'=2] {'b'}, x", 16)
        2
    """
    if found := re.search(r"replica_groups=\[\d+,(\d+)\]", attributes):
        return int(found[1])
    if found := re.search(r"replica_groups=\{\{([\d,]+)\}", attributes):
        return len(found[1].split(","))
    found = re.search(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", attributes)
    if not found:
        return num_devices
    sizes = dict(re.findall(r"'([^']+)'=(\d+)", found[1]))
    axes = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", found[2])
    return math.prod(int(part or sizes[axis]) for axis, part in axes)
