"""Whether this machine can compile the native kernels."""

import pytest

from slimjax.native import library


def has_compiler() -> bool:
    try:
        return bool(library.find_compiler())
    except OSError:
        return False


needs_compiler = pytest.mark.skipif(not has_compiler(), reason="no C++ compiler here")
NATIVE = pytest.param("native", marks=needs_compiler)
