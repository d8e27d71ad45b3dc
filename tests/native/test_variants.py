"""The kernels are right on CPUs that have less than this one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from compilers import needs_compiler

from slimjax.native import library

HERE = Path(__file__).parent
FORMULAS = "products or swiglu or cross_entropy or chunk or threads"


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("less", ["-mno-avx512bf16", "-march=x86-64-v3"])
def test_formulas_hold_when_compiled_for_less(tmp_path, less):
    compiler = tmp_path / "compiler"
    compiler.write_text(f'#!/bin/sh\nexec {library.find_compiler()} "$@" {less}\n')
    compiler.chmod(0o755)
    env = os.environ | {"CXX": str(compiler), "SLIMJAX_CACHE": str(tmp_path)}
    files = [str(HERE / "test_native.py"), str(HERE.parent / "nn/test_products.py")]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-n0",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [*command, "-k", FORMULAS, *files], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert list(tmp_path.glob("compiled/kernels-*.so"))
