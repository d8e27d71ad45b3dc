"""What one chip computes in a compiled program, and what it moves through its memory.

Products are counted wherever they stand, with how often they run, so that what a
backward pass computes again counts too, and so does what several chips do alike.
"""

import dataclasses
import math
import re

from slimjax.plan.hlo import Computation, Instruction, Program, Run, Shape

FREE = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while")
FREE += ("conditional", "call", "after-all", "partition-id", "iota", "async-start")
SPLASH = {"fwd": 2, "dq": 3, "dkv": 4}
"""Products of queries x keys x head width in each kernel of splash attention."""


@dataclasses.dataclass(frozen=True)
class Work:
    """Work of one chip in one run of a program.

    Attributes:
        product_flops: FLOPs of matrix products.
        kernel_flops: FLOPs of Pallas kernels, of causal attention half its square.
        num_kernels: How often Pallas kernels are called.
        hbm_bytes: Bytes that instructions read from and write to the main memory.
    """

    product_flops: float
    kernel_flops: float
    num_kernels: int
    hbm_bytes: float


def count_work(program: Program) -> Work:
    """Returns the work of one chip."""
    products = kernels = moved = calls = 0
    for run in program.runs():
        instruction = run.instruction
        computation = program.computations[run.computation]
        if instruction.opcode in ("convolution", "dot"):
            products += run.times * product_flops(instruction, computation)
        if is_kernel(instruction):
            kernels += run.times * kernel_flops(instruction, computation)
            calls += run.times
        if not run.fused:
            moved += run.times * bytes_moved(run, program)
    return Work(products, kernels, calls, moved)


def product_flops(product: Instruction, computation: Computation) -> int:
    """Returns the FLOPs of one product, which TPUs write as a convolution."""
    left, right = (computation[name].shapes[0] for name in product.operands[:2])
    out = math.prod(product.shapes[0].dims)
    if product.opcode == "dot":
        found = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", product.attributes)
        axes = [int(axis) for axis in found[1].split(",") if axis] if found else []
        return 2 * out * math.prod(left.dims[axis] for axis in axes)
    return _convolution_flops(product, left, right)


def _convolution_flops(product: Instruction, left: Shape, right: Shape) -> int:
    """Returns 2 FLOPs for each pair of entries that meet, padding left out.

    Axes of a batch become windows here, most of whose positions are padding.
    """
    labels = re.split(r"_|->", product.attribute("dim_labels").split(",")[0])
    sizes = [
        dict(zip(names, shape.dims, strict=True))
        for names, shape in zip(labels, (left, right, product.shapes[0]), strict=True)
    ]
    flops = 2 * sizes[2]["b"] * sizes[2]["f"] * sizes[1]["i"]
    window = _window(product.attributes)
    for axis in (name for name in sizes[0] if name.isdigit()):
        num_in, size, num_out = (named[axis] for named in sizes)
        flops *= _positions_that_meet(num_in, size, num_out, window, int(axis))
    return flops


def _window(attributes: str) -> dict[str, list[str]]:
    """Returns the entries of each setting of a window, one for each of its axes."""
    found = re.search(r"window=\{([^}]*)\}", attributes)
    pairs = (part.split("=") for part in found[1].split()) if found else ()
    return {name: values.split("x") for name, values in pairs}


def _positions_that_meet(
    num_in: int, size: int, num_out: int, window: dict[str, list[str]], axis: int
) -> int:
    """Returns how many pairs of output and window positions meet an input."""

    def setting(name: str, default: str) -> str:
        return window[name][axis] if name in window else default

    stride, hole = int(setting("stride", "1")), int(setting("rhs_dilate", "1"))
    spread = int(setting("lhs_dilate", "1"))
    before = int(setting("pad", "0_0").split("_")[0])
    length = (num_in - 1) * spread + 1
    if size == num_in == num_out == 1:
        return 1
    count = 0
    for position in range(size):
        first = position * hole - before
        places = range(first, first + num_out * stride, stride)
        count += sum(0 <= p < length and p % spread == 0 for p in places)
    return count


def is_kernel(instruction: Instruction) -> bool:
    """Whether an instruction calls a Pallas kernel."""
    return '"tpu_custom_call"' in instruction.attributes


def kernel_flops(kernel: Instruction, computation: Computation) -> int:
    """Returns the FLOPs of a kernel: its own estimate, or those of causal attention."""
    found = re.search(r'"cost_estimate":\{[^}]*"flops":"?(\d+)', kernel.attributes)
    if found:
        return int(found[1])
    kind = re.search(r"splash_m[hq]a_(fwd|dq|dkv)", kernel.name)
    if not kind:
        return 0
    arrays = [computation[name].shapes[0] for name in kernel.operands]
    query, key = [a.dims for a in arrays if "f" in a.dtype and len(a.dims) > 2][:2]
    pairs = math.prod(query[:-1]) * key[-2] // 2
    return 2 * SPLASH[kind[1]] * pairs * query[-1]


def bytes_moved(run: Run, program: Program) -> int:
    """Returns the bytes that an instruction reads and writes in the main memory.

    What is in a chip's vector memory is not counted; of an array that an
    instruction only cuts a piece out of, or only updates a piece of, it is the piece.
    """
    instruction = run.instruction
    if instruction.opcode in FREE or instruction.opcode.endswith("-done"):
        return 0
    if instruction.opcode == "copy-start":
        return sum(_hbm_bytes(shape) for shape in instruction.shapes[:2])
    if instruction.opcode == "slice-start":  # Its operand, the piece, and a signal.
        whole, piece = instruction.shapes[:2]
        return piece.num_bytes * whole.in_hbm + _hbm_bytes(piece)
    computation = program.computations[run.computation]
    if instruction.opcode == "fusion":
        return _fusion_bytes(instruction, computation, program)
    operands = [computation.get(name) for name in instruction.operands]
    if instruction.opcode in ("dynamic-slice", "slice", "gather"):
        return 2 * sum(map(_hbm_bytes, instruction.shapes))
    if instruction.opcode == "dynamic-update-slice":
        return 2 * sum(map(_hbm_bytes, operands[1].shapes if operands[1] else ()))
    inputs = (shape for operand in operands if operand for shape in operand.shapes)
    return sum(map(_hbm_bytes, (*inputs, *instruction.shapes)))


def _hbm_bytes(shape: Shape) -> int:
    return shape.num_bytes if shape.in_hbm else 0


def _fusion_bytes(
    fusion: Instruction, computation: Computation, program: Program
) -> int:
    """Returns the bytes of a fusion's operands and results, of pieces the pieces."""
    body = program.computations[fusion.called[0]]
    users: dict[str, list[Instruction]] = {}
    for instruction in body.values():
        for name in instruction.operands:
            users.setdefault(name, []).append(instruction)
    updates = {i.operands[0]: i for i in body.values() if _updates(i)}
    parameters = {
        int(i.operands[0]): i for i in body.values() if i.opcode == "parameter"
    }
    total, kept = 0, []
    for number, name in enumerate(fusion.operands):
        operand, inside = computation.get(name), parameters.get(number)
        if operand is None or inside is None or not operand.shapes[0].in_hbm:
            continue
        used = users.get(inside.name, [])
        if used and all(_takes_piece(user, inside.name) for user in used):
            total += sum(user.shapes[0].num_bytes for user in used)
        elif inside.name in updates:
            piece = body.get(updates[inside.name].operands[1])
            total += 2 * (piece.shapes[0].num_bytes if piece else 0)
            kept.append(inside.shapes[0].dims)
        else:
            total += sum(map(_hbm_bytes, operand.shapes))
    for shape in fusion.shapes:
        if shape.dims in kept:  # It is the operand, updated in its place.
            kept.remove(shape.dims)
        else:
            total += _hbm_bytes(shape)
    return total


def _takes_piece(user: Instruction, name: str) -> bool:
    return user.opcode in ("dynamic-slice", "gather") and user.operands[0] == name


def _updates(instruction: Instruction) -> bool:
    return instruction.opcode == "dynamic-update-slice"
