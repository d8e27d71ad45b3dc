"""Export of a run folder in the Hugging Face form, checked by reading it again."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import PyTree

from slimjax.data.json_tokenizer import JSON_FILE
from slimjax.interop.card import EXACT, ODD, PADDED, RAGGED, make_card
from slimjax.interop.comparing import answers_of, compare, random_inputs
from slimjax.interop.exporting import check_reads_tokens, make_foreign, open_weighed
from slimjax.interop.families import FAMILIES
from slimjax.interop.hf_reading import read_folder
from slimjax.interop.hf_writing import check_dtype, write_folder
from slimjax.interop.importing import Imported, understand
from slimjax.interop.padding import pad
from slimjax.interop.run_folders import new_folder, read_report
from slimjax.memory import give_back
from slimjax.models.config import ModelConfig
from slimjax.store.files import write_atomic
from slimjax.store.run_folder import RunFolder
from slimjax.store.tensor_file import align
from slimjax.trees import Path as TreePath
from slimjax.trees import unflatten

WITHOUT = (
    "The tokenizer is one of slimjax's own, and is not written: it is in the folder "
    "`tokenizer` of the run."
)


def export_hf(
    workdir: str | Path, output: Path, *, padded: bool = False, dtype: str = "float32"
) -> dict[str, Any]:
    """Writes the model of a run folder for transformers, whole or not at all.

    Args:
        workdir: The run folder.
        output: The folder that is written; new or empty.
        padded: Whether layers that differ are padded to one shape.
        dtype: Type of the weights.

    Returns:
        ``largest_difference`` of logits after reading it again, ``bytes`` of the
        weights, ``params`` of the file, and ``notes``.

    Raises:
        ConfigError: If no class of transformers computes what the model does.
        NotFeasibleError: If what was read again answers otherwise.
    """
    check_dtype(dtype)
    model, weighed = open_weighed(workdir)
    check_reads_tokens(model.config)
    inputs = random_inputs(model.config, model.tokenizer.pad_id)
    before = answers_of(model.config, model.params, inputs)
    weighed = pad(weighed) if padded else weighed
    foreign, tokenizer = make_foreign(weighed), model.codecs["tokens"]
    notes = _notes(foreign.config, weighed.model, model.config, padded)
    if JSON_FILE not in foreign.files:
        notes.append(WITHOUT)
    with new_folder(output) as made:
        num_bytes = write_folder(foreign, made, dtype)
        notes.append(EXACT.format(dtype=dtype, size=num_bytes))
        del weighed, foreign, model
        give_back()
        written = read_folder(made, needs_tokenizer=False)
        again = understand(written, str(made), tokenizer)
        after = answers_of(again.model, variables_of(again), inputs)
        difference = compare(before, after, is_exact=dtype == "float32")
        card = make_card(
            output.name,
            read_report(RunFolder(workdir)),
            notes=notes,
            config=written.config,
            loads=_loads(written.config, output),
        )
        write_atomic(made / "README.md", card.encode())
    params = sum(int(np.prod(s)) for s in again.plan.shapes.values())
    return {
        "largest_difference": difference,
        "bytes": num_bytes,
        "params": params,
        "notes": notes,
    }


def variables_of(imported: Imported) -> PyTree:
    """Returns weights and open gates of an imported model, read one at a time."""
    weights = ((path, read()) for path, read in imported.weights())
    return place_variables(imported.model, weights)


def place_variables(
    model: ModelConfig, weights: Iterable[tuple[TreePath, np.ndarray]]
) -> PyTree:
    """Returns weights and open gates on the device.

    Args:
        model: The shape.
        weights: The weights, which are taken one at a time: none is held twice.
    """
    placed: dict[TreePath, Any] = {}
    for path, weight in weights:
        placed[path] = jax.device_put(align(weight), may_alias=True)
        del weight
    shapes = nn.meta.unbox(model.abstract_variables()).get("gates", {})
    gates = jax.tree.map(lambda gate: jnp.ones(gate.shape), shapes)
    return {"params": unflatten(placed), "gates": gates}


def _notes(
    config: dict[str, Any], written: ModelConfig, own: ModelConfig, padded: bool
) -> list[str]:
    if padded and written.layers != own.layers:
        return [PADDED]
    odd = _why_not_stock(config)
    return [odd] if odd else []


def _why_not_stock(config: Mapping[str, Any]) -> str:
    """Returns why a stock class cannot load a model; empty where it can."""
    if "per_layer_config" in config:
        return RAGGED
    if FAMILIES[config["model_type"]] == "llama":
        is_odd = config["hidden_size"] % config["num_attention_heads"] > 0
    else:
        is_odd = "head_dim" in config
    return ODD if is_odd else ""


def _loads(config: dict[str, Any], output: Path) -> str:
    if _why_not_stock(config):
        return ""
    name = config["architectures"][0]
    line = f'model = transformers.{name}.from_pretrained("{output.name}")'
    return f"import transformers\n\n{line}"
