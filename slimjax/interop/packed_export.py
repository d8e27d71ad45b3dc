"""Export of slimjax's packed file: the weights of a run at their bits, and no more."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from slimjax.data.codecs import special_of
from slimjax.errors import ConfigError
from slimjax.generate.model import load
from slimjax.interop.comparing import answers_of, compare, random_inputs
from slimjax.paths import printable
from slimjax.store.packed import read_packed, write_packed
from slimjax.store.run_folder import RunFolder
from slimjax.trees import axis_names


def export_packed(workdir: str | Path, output: Path) -> dict[str, Any]:
    """Writes the packed file of a run folder, whole or not at all.

    That of a finished run is copied. Weights of an imported model become bfloat16.

    Args:
        workdir: The run folder.
        output: The file; it must not be there.

    Raises:
        ConfigError: If the file is there already.
        NotFeasibleError: If what was read again answers otherwise.
    """
    if output.exists() or output.is_symlink():
        raise ConfigError(f"--output={printable(output)} is there already.")
    folder, model = RunFolder(workdir), load(workdir)
    plain = dataclasses.replace(model.config, dtype="float32")
    inputs = random_inputs(plain, special_of(model.codecs).get("pad", 0))
    before = answers_of(plain, model.params, inputs)
    part = output.with_name(f".{output.name}.part")
    output.parent.mkdir(parents=True, exist_ok=True)
    is_exact = folder.packed.is_file()
    try:
        if is_exact:
            shutil.copyfile(folder.packed, part)
        else:
            names = axis_names(model.config.abstract_variables())["params"]
            write_packed(part, model.params["params"], names)
        del model
        weights = jax.tree.map(jnp.asarray, read_packed(part))
        gates = nn.meta.unbox(plain.abstract_variables()).get("gates", {})
        opened = jax.tree.map(lambda gate: jnp.ones(gate.shape), gates)
        after = answers_of(plain, {"params": weights, "gates": opened}, inputs)
        difference = compare(before, after, is_exact=is_exact)
        size = part.stat().st_size
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    return {"largest_difference": difference, "bytes": size, "notes": []}
