"""Export of slimjax's packed file, and of what the numbers of its model mean."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from slimjax.data.codecs import Codecs, save_codecs, special_of, with_normalize
from slimjax.errors import ConfigError
from slimjax.generate.model import load
from slimjax.interop.card import make_card
from slimjax.interop.comparing import answers_of, compare, random_inputs
from slimjax.interop.hf_export import place_variables
from slimjax.interop.raw_inputs import raw_inputs_of
from slimjax.interop.run_folders import read_report
from slimjax.memory import give_back
from slimjax.paths import printable
from slimjax.store.files import read_json, write_atomic
from slimjax.store.packed import iterate_packed, write_packed
from slimjax.store.run_folder import RunFolder
from slimjax.trees import axis_names

ALONE = (
    "The file has the weights, {size:,} bytes. What names the model's answers is in "
    "the folder `{beside}`, and the shape is `architecture.json` of the run folder."
)
HALVED = "Weights of the imported model were rounded to bfloat16."
LOADS = """\
from slimjax.store import read_packed

weights = read_packed("{name}")"""


def export_packed(workdir: str | Path, output: Path) -> dict[str, Any]:
    """Writes the packed file of a run folder, whole or not at all.

    That of a finished run is copied. Weights of an imported model become bfloat16. They
    are written, and read again, one at a time. The tokenizer, the labels and what else
    names the model's answers are written into a folder beside the file, whose name is
    that of the file and ``.tokenizer``; a model card has the ending ``.md``.

    Args:
        workdir: The run folder.
        output: The file; neither it, the folder nor the card must be there.

    Raises:
        ConfigError: If one of them is there already.
        NotFeasibleError: If what was read again answers otherwise.
    """
    beside = output.with_name(f"{output.name}.tokenizer")
    for path in (output, beside, output.with_name(f"{output.name}.md")):
        if path.exists() or path.is_symlink():
            raise ConfigError(
                f"--output={printable(output)}: {printable(path.name)} is there "
                "already. Name another file."
            )
    folder, model = RunFolder(workdir), load(workdir)
    codecs = with_normalize(model.codecs, read_json(folder.config, dict))
    raw = raw_inputs_of(codecs, workdir)
    plain = dataclasses.replace(model.config, dtype="float32")
    inputs = random_inputs(plain, special_of(model.codecs).get("pad", 0))
    inputs = raw.read(raw.draw(inputs))
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
        del model  # What is read again takes its place.
        give_back()
        after = answers_of(plain, place_variables(plain, iterate_packed(part)), inputs)
        difference = compare(before, after, is_exact=is_exact)
        size = part.stat().st_size
        _write_codecs(codecs, beside)
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    notes = [] if is_exact else [HALVED]
    alone = ALONE.format(size=size, beside=beside.name)
    _write_card(folder, output, [alone, *notes, *raw.describe()])
    names = ", ".join(sorted(path.name for path in beside.iterdir()))
    notes = [f"{beside.name}: {names}", *notes]
    return {"largest_difference": difference, "bytes": size, "notes": notes}


def _write_card(folder: RunFolder, output: Path, notes: list[str]) -> None:
    """Writes the model card beside the file."""
    card = make_card(
        output.name,
        read_report(folder),
        notes=notes,
        config={},
        loads=LOADS.format(name=output.name),
        library="slimjax",
    )
    write_atomic(output.with_name(f"{output.name}.md"), card.encode())


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
