"""Fewer bits by llama.cpp, with and without an importance matrix, read by our importer.

Run: python experiments/pretrained/gguf_peer.py --gguf=FILE --model=DIR --novels=DIR
--workdir=DIR --types=Q4_0,IQ4_NL

Needs llama-cpp-python. The importance of an input is its mean square in our statistics,
which are from the same text. All matrices get the type, the token table too.
"""

import argparse
import ctypes
import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
from study import PERSUASION, STDLIB, Study, make_parser, open_study

from slimjax.compress.moments import HEAD
from slimjax.compress.walk import source_of
from slimjax.interop.gguf_reading import read_gguf
from slimjax.interop.hf_export import variables_of
from slimjax.interop.importing import understand
from slimjax.resize.shrink import ANSWERS

TYPES = {"Q4_0": (2, 2), "Q4_1": (3, 3), "Q8_0": (7, 8), "IQ4_NL": (25, 20)}
"""Numbers of llama.cpp's file types, and of their types of tensors."""

NAMES = {
    "query": "attn_q",
    "key": "attn_k",
    "value": "attn_v",
    "out": "attn_output",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}


def importances(study: Study) -> dict[str, np.ndarray]:
    """Returns the mean squares of the inputs of each matrix, by llama.cpp's names."""
    moments, found = study.moments(), {}
    for leaf in study.whole.inventory.leaves:
        if leaf.axes[0] in ANSWERS:
            found["token_embd.weight"] = np.diag(moments.inputs[HEAD])
        elif leaf.path[-1] in NAMES and len(leaf.shape) > 1:
            number = leaf.path[0].removeprefix("layer_")
            own = moments.inputs[source_of(leaf.path, moments.inputs)]
            found[f"blk.{number}.{NAMES[leaf.path[-1]]}.weight"] = np.diag(own)
    return {n: np.ascontiguousarray(v, np.float32) for n, v in found.items()}


def quantize(source: Path, output: Path, kind: str, known: dict[str, np.ndarray]):
    """Writes a GGUF file of a type.

    Args:
        source: A GGUF file.
        output: The file.
        kind: The type of its matrices.
        known: How much each input counts, by tensor; empty for all alike.
    """
    from llama_cpp import llama_cpp as api  # pyright: ignore

    params = api.llama_model_quantize_default_params()
    params.ftype, own = TYPES[kind]
    params.token_embedding_type = params.output_tensor_type = own
    params.allow_requantize, params.pure, params.nthread = True, True, 1
    entries = (api.llama_model_imatrix_data * (len(known) + 1))()
    for entry, (name, values) in zip(entries, known.items(), strict=False):
        entry.name, entry.size = name.encode(), len(values)
        entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    if known:  # It ends with an entry without a name.
        params.imatrix = entries
    names = str(source).encode(), str(output).encode()
    code = api.llama_model_quantize(*names, ctypes.byref(params))
    if code:
        raise SystemExit(f"llama_model_quantize ended with {code} for {kind}")


def main() -> None:
    """Measures all types."""
    parser: argparse.ArgumentParser = make_parser(__doc__)
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--types", default="Q4_0,IQ4_NL")
    flags = parser.parse_args()
    study = open_study(flags)
    texts = {name: study.texts[name] for name in (PERSUASION, STDLIB)}
    study = dataclasses.replace(study, texts=texts)
    for kind in flags.types.split(","):
        for known in ({}, importances(study)):
            arm = f"llama.cpp-{kind}{'-importance' if known else ''}"
            if study.has(f"bits-{arm}"):
                continue
            begun, file = time.perf_counter(), flags.workdir / f"{arm}.gguf"
            quantize(flags.gguf, file, kind, known)
            found = understand(read_gguf(file), str(file))
            weights = sum(int(tensor.size) for tensor in study.whole.weights.values())
            entry: dict[str, Any] = dict(part="bits", arm=arm)
            entry |= dict(bytes=file.stat().st_size)
            entry |= dict(bits=entry["bytes"] * 8 / weights)
            entry |= dict(seconds=time.perf_counter() - begun)
            shape = dataclasses.replace(found.model, dtype=flags.dtype)
            study.write(f"bits-{arm}", variables_of(found), shape, **entry)
            file.unlink()


if __name__ == "__main__":
    main()
