"""Export of a run folder as one GGUF file, checked by reading it again."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from slimjax.data.piece_tokenizer import SentencePieceTokenizer
from slimjax.errors import ConfigError
from slimjax.generate.model import Model
from slimjax.interop.card import make_card
from slimjax.interop.comparing import answers_of, compare, random_inputs
from slimjax.interop.exporting import (
    Weighed,
    check_reads_tokens,
    make_foreign,
    open_weighed,
)
from slimjax.interop.families import family_of
from slimjax.interop.foreign import Foreign
from slimjax.interop.gguf_blocks import LEVELS, Blocks
from slimjax.interop.gguf_reading import read_gguf
from slimjax.interop.gguf_rounding import round_to_blocks
from slimjax.interop.gguf_tokenizer_writing import (
    NONE,
    loses_template,
    piece_settings,
    tokenizer_settings,
)
from slimjax.interop.gguf_writing import TYPES, predict_bytes, write_gguf
from slimjax.interop.hf_export import variables_of
from slimjax.interop.importing import understand
from slimjax.interop.run_folders import read_report
from slimjax.memory import give_back
from slimjax.paths import printable
from slimjax.store.files import write_atomic
from slimjax.store.run_folder import RunFolder
from slimjax.trees import Path as TreePath

RAGGED = (
    "Layers differ, so the file is of the architecture deci, which llama.cpp reads; a "
    "layer that lost its attention or its MLP may have one of zeros."
)
NO_TOKENIZER = (
    "The file has no tokenizer: GGUF has no kind of tokenizer like that of this model."
)

NO_TEMPLATE = (
    "The file has no chat template: GGUF holds one that is a text, and this model has "
    "several with names, none of them the default."
)


def export_gguf(
    workdir: str | Path,
    output: Path,
    *,
    kind: str = "F16",
    moments: Mapping[TreePath, np.ndarray] = MappingProxyType({}),
    opened: tuple[Model, Weighed] | None = None,
) -> dict[str, Any]:
    """Writes the model of a run folder as a GGUF file, whole or not at all.

    A model card stands beside it, under the same name with the ending ``.md``.

    Args:
        workdir: The run folder.
        output: The file; neither it nor the card must be there.
        kind: Type of its matrices.
        moments: ``E[x^T x]`` of the inputs of products, by path of the weight. These
            are rounded by second order, others to the nearest.
        opened: The model, if it is in memory already.

    Returns:
        ``largest_difference`` of logits after reading it again, and of weights,
        ``bytes`` of the file, its ``architecture``, ``notes``, and ``before``, name and
        bytes of the run's own file of weights.

    Raises:
        ConfigError: If GGUF files do not hold such a model, or the file is there.
        DataError: If its widths do not fit the type.
        NotFeasibleError: If what was read again answers otherwise.
    """
    if kind not in TYPES:
        raise ConfigError(f"--type={kind!r} is unknown. Known: {', '.join(TYPES)}.")
    for path in (output, output.with_suffix(".md")):
        if path.exists() or path.is_symlink():
            raise ConfigError(
                f"--output={printable(output)}: {printable(path.name)} is there "
                "already. Name another file."
            )
    model, weighed = opened or open_weighed(workdir)
    del opened
    check_reads_tokens(model.config)
    inputs = random_inputs(model.config, model.tokenizer.pad_id)
    before = answers_of(model.config, model.params, inputs)
    foreign, tokenizer = make_foreign(weighed), model.codecs["tokens"]
    config, settings = foreign.config, tokenizer_of(foreign, tokenizer)
    notes = [NO_TEMPLATE] if loses_template(foreign, settings) else []
    predict_bytes(foreign, kind, tokenizer=settings)  # Refuses what does not fit.
    blocks = _round(weighed, foreign, moments, kind)
    part = output.with_name(f".{output.name}.part")
    try:
        written = write_gguf(foreign, part, kind, tokenizer=settings, blocks=blocks)
        del model, weighed, foreign, blocks  # What was read again takes their place.
        give_back()
        again = understand(read_gguf(part), str(output), tokenizer)
        after = answers_of(again.model, variables_of(again), inputs)
        difference = compare(before, after, is_exact=kind == "F32")
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    notes += [RAGGED] if written.architecture == "deci" else []
    notes += [NO_TOKENIZER] if "tokenizer.ggml.tokens" not in settings else []
    _write_card(workdir, output, config, notes)
    return {
        "before": _own_file(RunFolder(workdir)),
        "largest_difference": difference,
        "largest_weight_difference": written.difference,
        "bytes": written.num_bytes,
        "architecture": written.architecture,
        "notes": notes,
    }


def _write_card(
    workdir: str | Path, output: Path, config: Mapping[str, Any], notes: list[str]
) -> None:
    """Writes the model card beside the file."""
    card = make_card(
        output.name,
        read_report(RunFolder(workdir)),
        notes=notes,
        config=config,
        loads=f'import llama_cpp\n\nmodel = llama_cpp.Llama("{output.name}")',
        library="gguf",
    )
    write_atomic(output.with_suffix(".md"), card.encode())


def _own_file(folder: RunFolder) -> dict[str, Any] | None:
    """Returns name and bytes of a run's own weights; None if it has no file yet."""
    for path in (folder.packed, folder.weights):
        if path.is_file():
            return {"file": path.name, "bytes": path.stat().st_size}
    return None


def tokenizer_of(foreign: Foreign, tokenizer: Any) -> dict[str, Any]:
    """Returns the settings of a tokenizer: of its files, or of our own kind."""
    size = foreign.config["vocab_size"]
    if not isinstance(tokenizer, SentencePieceTokenizer):
        return tokenizer_settings(foreign, size)
    own = piece_settings(tokenizer.to_proto(), tokenizer.special, size)
    return NONE if own is None else own


def _round(
    weighed: Weighed,
    foreign: Foreign,
    moments: Mapping[TreePath, np.ndarray],
    kind: str,
) -> dict[str, Blocks]:
    """Returns the matrices with a moment, rounded by second order, by their names."""
    found: dict[str, Blocks] = {}
    if kind not in LEVELS or not moments:
        return found
    family = family_of(foreign.config)
    prefix = family.PREFIX[foreign.config["model_type"]]
    for link in family.links(weighed.model, foreign.config):
        name = f"{prefix}{link.name}"
        if link.path in moments and name in foreign.tensors:
            weight = foreign.tensors[name].read()
            found[name] = round_to_blocks(weight, moments[link.path], kind)
    return found
