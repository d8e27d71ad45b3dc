"""Export as a program of StableHLO, for any runtime of XLA, with the weights beside it.

The program is that of the plain formulas, without kernels of a platform; numbers of
rows and positions are symbols. Images and features are what files hold; the program
scales them. `jax.export.deserialize` reads it, without slimjax.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import export

from slimjax import native
from slimjax.data.codecs import special_of
from slimjax.data.json_tokenizer import JSON_FILE, JsonTokenizer
from slimjax.errors import ConfigError
from slimjax.interop.card import make_card
from slimjax.interop.comparing import answers_of, compare, random_inputs
from slimjax.interop.exporting import Weighed, open_weighed
from slimjax.interop.raw_inputs import IMAGE, RawInputs, raw_inputs_of
from slimjax.interop.run_folders import new_folder, read_report
from slimjax.memory import give_back
from slimjax.models.config import ModelConfig
from slimjax.models.reading import join_segments
from slimjax.store.files import write_atomic
from slimjax.store.run_folder import RunFolder
from slimjax.store.tensor_file import Entry, list_places, write_tensors
from slimjax.trees import flatten, unflatten

PROGRAM, WEIGHTS = "model.stablehlo", "weights.safetensors"
ANY = "A program of StableHLO; rows and positions may be any number."
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
LOADS = """\
import numpy as np, safetensors.numpy
from jax import export

program = export.deserialize(open("{folder}/model.stablehlo", "rb").read())
weights = safetensors.numpy.load_file("{folder}/weights.safetensors")
inputs = {{{inputs}}}
answers = program.call(weights, inputs)"""


def export_stablehlo(workdir: str | Path, output: Path) -> dict[str, Any]:
    """Writes the model of a run folder as a program, whole or not at all.

    Args:
        workdir: The run folder.
        output: The folder that is written; new or empty.

    Returns:
        ``largest_difference`` of logits after reading it again, ``bytes`` of the
        weights, and ``notes``.

    Raises:
        ConfigError: If the library that writes programs is missing.
        NotFeasibleError: If what was read again answers otherwise.
    """
    model, weighed = open_weighed(workdir)
    plain = dataclasses.replace(
        weighed.model, dtype="float32", attention_impl="reference", scan_layers=False
    )
    tokenizer = model.codecs.get("tokens")
    raw = raw_inputs_of(model.codecs, workdir)
    inputs = random_inputs(plain, special_of(model.codecs).get("pad", 0))
    inputs = raw.draw(inputs)
    before = answers_of(model.config, model.params, raw.read(inputs))
    with new_folder(output) as made:
        program = _make_program(plain, inputs, raw)
        write_atomic(made / PROGRAM, program)
        num_bytes = _write_weights(weighed, made)
        if isinstance(tokenizer, JsonTokenizer):
            write_atomic(made / JSON_FILE, tokenizer.to_json())
        del model, weighed
        give_back()
        after = _answer_again(made, plain, inputs)
        difference = compare(before, after)
        ones = lambda x: f"np.ones({x.shape}, np.{x.dtype})"
        names = ", ".join(f'"{name}": {ones(x)}' for name, x in inputs.items())
        card = make_card(
            output.name,
            read_report(RunFolder(workdir)),
            notes=[ANY, *raw.describe()],
            config={},
            loads=LOADS.format(folder=output.name, inputs=names),
        )
        write_atomic(made / "README.md", card.encode())
    return {"largest_difference": difference, "bytes": num_bytes, "notes": []}


def _make_program(
    model: ModelConfig, inputs: dict[str, np.ndarray], raw: RawInputs
) -> bytes:
    """Returns the program from weights and inputs to answers."""
    variables = nn.meta.unbox(model.abstract_variables())
    leaves = flatten(variables["params"])
    weights = {".".join(path): leaf for path, leaf in sorted(leaves.items())}
    gates = variables.get("gates", {})

    def compute(weights: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
        params = unflatten({tuple(k.split(".")): w for k, w in weights.items()})
        opened = jax.tree.map(lambda gate: jnp.ones(gate.shape), gates)
        own = {"params": params, "gates": opened}
        readouts = model.module().apply(own, raw.read(inputs))
        return {
            head.name: readouts[head.name].x
            if head.table == "batch"
            else readouts[head.name].logits()
            for head in model.heads
        }

    with native.off():
        made = export.export(jax.jit(compute), platforms=PLATFORMS)
        done = made(weights, _symbolic(model, inputs))
    try:
        return bytes(done.serialize())
    except ImportError:
        raise ConfigError(
            "--format=stablehlo needs the library flatbuffers: pip install "
            "'slimjax[interop]'"
        ) from None


def _symbolic(model: ModelConfig, inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    """Returns shapes of inputs: any rows, and any positions of each tower of texts."""
    letters = {tower.reads: "T" if not tower.name else "S" for tower in model.towers}
    texts = [t for t in model.towers if not t.reads_numbers and t.num_positions]
    most = {f"{letters[t.reads]} <= {t.num_positions}": None for t in texts}
    scope = export.SymbolicScope([*most])
    numbers = {IMAGE, *(t.reads for t in model.towers if t.reads_numbers)}

    def shape_of(name: str, x: np.ndarray) -> Any:
        if x.ndim == 1:  # A number for each row.
            return export.symbolic_shape("B", scope=scope)
        sizes = [*map(str, x.shape[1:])]
        if name not in numbers:
            sizes[0] = letters[name.split("_")[0]]
        return export.symbolic_shape(", ".join(["B", *sizes]), scope=scope)

    return {
        name: jax.ShapeDtypeStruct(shape_of(name, x), x.dtype)
        for name, x in inputs.items()
    }


def _write_weights(weighed: Weighed, folder: Path) -> int:
    shapes = {".".join(path): (path, s) for path, s in weighed.shapes.items()}
    float32 = np.dtype(np.float32)
    entries = {name: Entry(shapes[name][1], float32) for name in sorted(shapes)}
    read = lambda name: weighed.read(shapes[name][0])
    return write_tensors(folder / WEIGHTS, entries, read, {"format": "pt"})


def _answer_again(
    folder: Path, model: ModelConfig, inputs: dict[str, np.ndarray]
) -> np.ndarray:
    """Returns what the program in a folder answers."""
    program = export.deserialize(bytearray((folder / PROGRAM).read_bytes()))
    places, _ = list_places(folder / WEIGHTS)
    put = lambda array: jax.device_put(array, may_alias=True)
    weights = {name: put(place.read()) for name, place in places.items()}
    head = model.heads[0]
    found = np.asarray(program.call(weights, inputs)[head.name], np.float32)
    there = join_segments(head.tower, model.by_name, inputs)
    return found if there is None or found.ndim < 3 else found[there > 0]
