"""Kernels for the CPU, written in C++ and compiled on first use.

XLA takes every product and everything between two products through memory, which is
what a CPU waits for. The kernels here keep it in the cache. They are called through
`jax.ffi`, take and give float32, and compute what the formulas in `slimjax.nn` say.
Those formulas run wherever the kernels cannot: on other platforms, on several devices,
without a compiler.

Switches: ``SLIMJAX_NATIVE=0`` turns them off, ``CXX`` names the compiler.
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.native.library import is_enabled as is_enabled
    from slimjax.native.library import off as off

__getattr__ = exports(__name__, {"is_enabled": "library", "off": "library"})
