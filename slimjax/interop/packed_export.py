"""Export of slimjax's packed file, and of what the numbers of its model mean."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from slimjax.data.codecs import Codecs, save_codecs, special_of
from slimjax.errors import ConfigError
from slimjax.generate.model import load
from slimjax.interop.comparing import answers_of, compare, random_inputs
from slimjax.paths import printable
from slimjax.store.packed import read_packed, write_packed
from slimjax.store.run_folder import RunFolder
from slimjax.trees import axis_names


def export_packed(workdir: str | Path, output: Path) -> dict[str, Any]:
    """Writes the packed file of a run folder, whole or not at all.

    That of a finished run is copied. Weights of an imported model become bfloat16. The
    tokenizer, the labels and what else names the model's answers are written into a
    folder beside the file, whose name is that of the file and ``.tokenizer``.

    Args:
        workdir: The run folder.
        output: The file; neither it nor the folder must be there.

    Raises:
        ConfigError: If one of them is there already.
        NotFeasibleError: If what was read again answers otherwise.
    """
    beside = output.with_name(f"{output.name}.tokenizer")
    for path in (output, beside):
        if path.exists() or path.is_symlink():
            raise ConfigError(
                f"--output={printable(output)}: {printable(path.name)} is there "
                "already. Name another file."
            )
    folder, model = RunFolder(workdir), load(workdir)
    codecs = model.codecs
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
        _write_codecs(codecs, beside)
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    note = f"{beside.name}: {', '.join(sorted(p.name for p in beside.iterdir()))}"
    return {"largest_difference": difference, "bytes": size, "notes": [note]}


def _write_codecs(codecs: Codecs, folder: Path) -> None:
    """Writes codecs into a new folder, whole or not at all."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        save_codecs(codecs, part)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
