"""The text of a compiled program, read: what runs, how often, on what shapes.

A compiler's own sums count the body of a loop once. Here the program is walked as it
runs, and every instruction is met with the number of times that it is run.
"""

import dataclasses
import math
import re
from collections.abc import Iterator

BITS = {"pred": 8, "bf16": 16, "token": 0} | {
    f"{kind}{bits}": bits
    for kind, sizes in dict(f=(16, 32, 64), s=(4, 8, 16, 32, 64)).items()
    for bits in sizes
}
BITS |= {f"u{bits}": bits for bits in (4, 8, 16, 32, 64)}

_SHAPE = re.compile(r"\b([a-z]+\d+\w*|pred|token)\[([\d,]*)\](\{[^}]*\})?")
_HEADER = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(
    r"  (?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([a-z][\w\-]*)\(([^)]*)\)(.*)"
)
_CALLED = re.compile(r"\b(?:calls|to_apply|body|branch_computations)=\{?(%[^}\s]*)")


@dataclasses.dataclass(frozen=True)
class Shape:
    """An array: its type, its dimensions, and whether it lies in the main memory."""

    dtype: str
    dims: tuple[int, ...]
    in_hbm: bool = True

    @property
    def num_bytes(self) -> int:
        """Bytes of the array, without padding."""
        return math.prod(self.dims) * BITS.get(self.dtype, 8) // 8


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
        name: Its name, and that of its result.
        shapes: The arrays of its result.
        opcode: What it does.
        operands: Names of the results that it takes, or its literal.
        attributes: The rest of the line.
    """

    name: str
    shapes: tuple[Shape, ...]
    opcode: str
    operands: tuple[str, ...]
    attributes: str

    @property
    def called(self) -> tuple[str, ...]:
        """Names of the computations that it runs, without conditions of loops."""
        found = _CALLED.search(self.attributes)
        return tuple(re.findall(r"[\w.\-]+", found[1])) if found else ()

    def attribute(self, name: str) -> str:
        """Returns an attribute's text up to the next space, or nothing."""
        found = re.search(rf"\b{name}=(\S*?),?(?: |$)", self.attributes)
        return found[1] if found else ""


Computation = dict[str, Instruction]


@dataclasses.dataclass(frozen=True)
class Run:
    """An instruction in a computation, and how often it is run.

    Attributes:
        times: Number of times.
        instruction: What is run.
        computation: Where it stands, by name.
        fused: Whether it is a part of a larger instruction, and moves no data.
    """

    times: int
    instruction: Instruction
    computation: str
    fused: bool


class Program:
    """A compiled program.

    Attributes:
        computations: Its functions, each an ordered dict of instructions by name.
        entry: Name of the one that is run.
    """

    def __init__(self, text: str):
        """Reads what `compiled.as_text()` returns."""
        self.computations: dict[str, Computation] = {}
        self.entry, current = "", None
        for line in text.splitlines():
            if line.startswith("  ") and current is not None:
                instruction = parse_instruction(line)
                if instruction is not None:
                    current[instruction.name] = instruction
            elif found := _HEADER.match(line):
                current = self.computations.setdefault(found[2], {})
                self.entry = found[2] if found[1] else self.entry

    def runs(self) -> Iterator[Run]:
        """Yields every instruction with the number of times that it is run."""
        return self._walk(self.entry, 1, fused=False)

    def _walk(self, name: str, times: int, *, fused: bool) -> Iterator[Run]:
        for instruction in self.computations.get(name, {}).values():
            yield Run(times, instruction, name, fused)
            if instruction.opcode == "while":
                inner = times * self.count_trips(name, instruction)
                yield from self._walk(instruction.called[0], inner, fused=fused)
            elif instruction.opcode in ("fusion", "call", "conditional", "async-start"):
                inside = fused or instruction.opcode == "fusion"
                for called in instruction.called:
                    yield from self._walk(called, times, fused=inside)

    def count_trips(self, where: str, loop: Instruction) -> int:
        """Returns how often a loop runs: from its first number up to its bound.

        A loop whose bound is not written down counts as one trip.
        """
        known = re.search(r'known_trip_count[^\d]*"n":"(\d+)"', loop.attributes)
        if known:
            return int(known[1])
        condition = self.computations[loop.attribute("condition").lstrip("%")]
        compare = next((i for i in condition.values() if i.opcode == "compare"), None)
        if compare is None or "direction=LT" not in compare.attributes:
            return 1
        counter, bound = (condition.get(name) for name in compare.operands)
        last = _literal(bound)
        if counter is None or last is None:
            return 1
        index = int(counter.attribute("index") or 0)
        start = self._first_value(where, loop, index)
        step = self._stride(loop.called[0], index)
        return max(-(-(last - start) // step), 0)

    def _first_value(self, where: str, loop: Instruction, index: int) -> int:
        computation = self.computations[where]
        carried = computation.get(loop.operands[0])
        if carried is None or index >= len(carried.operands):
            return 0
        return _literal(computation.get(carried.operands[index])) or 0

    def _stride(self, body: str, index: int) -> int:
        """Returns by how much a body raises its counter; 1 where it is not plain."""
        computation = self.computations[body]
        result = next(reversed(computation.values()))
        if result.opcode != "tuple" or index >= len(result.operands):
            return 1
        following = computation.get(result.operands[index])
        if following is None or following.opcode != "add":
            return 1
        steps = (_literal(computation.get(name)) for name in following.operands)
        return next((step for step in steps if step), 1)


def parse_instruction(line: str) -> Instruction | None:
    """Returns the instruction on a line, or None if there is none.

    Examples:
        >>> line = "  %y = f32[2,3]{1,0} add(%x, %x), metadata={}"
        >>> parse_instruction(line).shapes[0].num_bytes
        24
    """
    found = _INSTRUCTION.match(line)
    if found is None:
        return None
    name, result, opcode, operands, attributes = found.groups()
    literal = opcode in ("constant", "parameter")
    names = re.findall(r"%([\w.\-]+)", operands) if not literal else [operands]
    return Instruction(name, parse_shapes(result), opcode, tuple(names), attributes)


def parse_shapes(text: str) -> tuple[Shape, ...]:
    """Returns the arrays of a type; those with a memory space S(n) are not in HBM.

    Examples:
        >>> [shape.dims for shape in parse_shapes("(bf16[2,8]{1,0:S(1)}, s32[])")]
        [(2, 8), ()]
    """
    shapes = []
    for dtype, dims, layout in _SHAPE.findall(text):
        sizes = tuple(int(size) for size in dims.split(",") if size)
        shapes.append(Shape(dtype, sizes, "S(" not in layout))
    return tuple(shapes)


def _literal(instruction: Instruction | None) -> int | None:
    """Returns the value of an integer constant, or None."""
    if instruction is None or instruction.opcode != "constant":
        return None
    text = instruction.operands[0]
    return int(text) if re.fullmatch(r"-?\d+", text) else None
