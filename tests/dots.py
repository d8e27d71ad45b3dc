"""Counting the matrix products of a program."""

import numpy as np


def count_dots(jaxpr, *, causal: bool | int = True) -> float:
    """Returns 2 m n k of every dot, as often as it runs.

    Args:
        jaxpr: The program.
        causal: Whether products with batch axes, T x T with causal halves, count half;
            or a length T, so that only those do in which it is found twice.
    """
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contract, _), (batch, _) = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            size = np.prod([left[i] for i in contract], dtype=float)
            flops = 2 * size * np.prod(equation.outvars[0].aval.shape)
            avals = [v.aval.shape for v in (*equation.invars, *equation.outvars)]
            halves = bool(batch) and causal is not False
            if halves and causal is not True:
                halves = any(list(shape).count(causal) > 1 for shape in avals)
            total += flops / 2 if halves else flops
        if equation.primitive.name == "platform_index":
            continue
        branches = equation.params.get("branches")
        if branches:  # Alternatives for platforms: the last is the default.
            total += count_dots(branches[-1].jaxpr, causal=causal)
            continue
        times = equation.params.get("length", 1)  # Of a scan.
        for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
            inner = equation.params.get(name)
            if inner is not None:
                inner = getattr(inner, "jaxpr", inner)
                total += times * count_dots(inner, causal=causal)
                break
    return total


def walk_dots(jaxpr):
    """Yields every dot of a program, those of all branches and rules too."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for inner in subprograms(equation.params):
            yield from walk_dots(inner)


def subprograms(value):
    """Yields the programs among an equation's parameters."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from subprograms(one)
    elif hasattr(value, "eqns"):
        yield value
    elif hasattr(getattr(value, "jaxpr", None), "eqns"):
        yield value.jaxpr
