"""An encoder in MiniLM's shape against transformers: a fine-tuning step, and predict.

Run: python experiments/speed/encoder.py [--rounds=9] [--json]

L 6, D 384, N 12, F 1536, two classes, B 32. The step: T 128 without padding, AdamW and
clipping, in float32 and, for both sides, in bfloat16. `predict`, in float32: 640
paragraphs of the standard library's docstrings, from texts to labels; the peer is the
pipeline of transformers, eager and compiled, with the same tokenizer file, the same
batch size and the same weights. A third contender of it gets its texts sorted by
length, as a careful caller would. Answers are compared before the race.
Needs `pip install -e '.[peers]'` and transformers.
"""

import ast
import os
import random
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from paired import Remote, best, compare, make_parser, race, write

from slimjax.train.devices import prepare_devices

SHAPE = dict(width=384, num_layers=6, num_heads=12, mlp_dim=1536)
VOCAB, LENGTH, BATCH, NUM_TEXTS = 30_522, 128, 32, 640
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
NAMES = ("negative", "positive")
TOLERANCE = 2e-4  # Of scores and losses in float32, after six layers.
TOLERANCES = {"float32": TOLERANCE, "bfloat16": 2e-2}  # bfloat16 has eight bits.


def main() -> None:
    parser = make_parser("A fine-tuning step and predict of an encoder", rounds=9)
    parser.add_argument("--only", choices=("step", "predict"), help="one of the two")
    flags = parser.parse_args()
    prepare_devices()
    with tempfile.TemporaryDirectory() as folder:
        for part, run in (("step", _race_steps), ("predict", _race_predictions)):
            if flags.only in (None, part):
                result = run(Path(folder), flags.rounds)
                write(f"encoder_{part}", result, as_json=flags.json)


def _race_steps(folder: Path, rounds: int) -> dict[str, Any]:
    """Returns the comparisons of a step, in both types."""
    tokenizer, _, params = _prepare(folder, read_texts())
    del params
    return {dtype: race_steps(tokenizer, dtype, folder, rounds) for dtype in TOLERANCES}


def _race_predictions(folder: Path, rounds: int) -> dict[str, Any]:
    """Returns the comparison of answers to texts."""
    texts = read_texts()
    tokenizer, stage, params = _prepare(folder, texts)
    predictor = make_predictor(stage, params, tokenizer)
    texts = texts[:NUM_TEXTS]
    return {"texts to labels": race_predictions(predictor, folder, texts, rounds)}


def _prepare(folder: Path, texts: list[str]) -> tuple[Any, Any, Any]:
    """Writes tokenizer and weights for the peers; returns tokenizer, stage, weights."""
    tokenizer = make_tokenizer(folder / "tokenizer.json", texts)
    stage, state = make_stage(tokenizer, "float32")
    write_weights(folder / "weights.npz", state.params)
    return tokenizer, stage, state.params


def race_steps(tokenizer: Any, dtype: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Returns how long a fine-tuning step takes on both sides."""
    step = make_step(*make_stage(tokenizer, dtype))
    peers = {
        f"torch {kind}": Remote(make_torch_step, kind, dtype, str(folder))
        for kind in ("eager", "compile")
    }
    ours = step()
    for name, peer in peers.items():
        difference = abs(peer.show() - ours)
        assert difference < TOLERANCES[dtype], (
            f"{name}: the first loss differs by {difference}"
        )
    return _compare({"slimjax": step, **peers}, rounds)


def race_predictions(
    predictor: Any, folder: Path, texts: list[str], rounds: int
) -> dict[str, Any]:
    """Returns how long answers to all texts take on both sides."""
    kinds = ("eager", "compile", "eager, sorted by length")
    peers = {
        f"transformers {kind}": Remote(make_pipeline, kind, str(folder), texts)
        for kind in kinds
    }
    run = lambda: [line["scores"][NAMES[1]] for line in predictor.predict(texts)]
    ours = np.array(run())
    for name, peer in peers.items():
        difference = np.abs(np.array(peer.show()) - ours).max()
        assert difference < TOLERANCE, f"{name}: scores differ by {difference}"
    row = _compare({"slimjax": run, **peers}, rounds, leave_out=("sorted",))
    return {"texts": len(texts), **row}


def _compare(
    contenders: dict[str, Any], rounds: int, leave_out: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Returns us against the best peer, and against each of them."""
    seconds = race(contenders, rounds)
    peers = [name for name in seconds if name != "slimjax"]
    plain = [name for name in peers if not any(word in name for word in leave_out)]
    peer = best(seconds, plain)
    each = {name: compare(seconds["slimjax"], seconds[name]) for name in peers}
    return {"peer_name": peer} | each[peer] | {"each": each}


def read_texts() -> list[str]:
    """Returns paragraphs of the docstrings of the standard library, shuffled."""
    root, found = Path(sysconfig.get_paths()["stdlib"]), []
    for path in sorted(root.glob("*.py")):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        docs = (
            ast.get_docstring(node)
            for node in nodes
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        )
        for text in filter(None, docs):
            found += [" ".join(part.split()) for part in text.split("\n\n")]
    texts = sorted({text for text in found if text})
    random.Random(0).shuffle(texts)
    return texts


def make_tokenizer(path: Path, texts: list[str]) -> Any:
    """Trains a WordPiece tokenizer, writes its file, and returns ours of it."""
    import tokenizers
    from tokenizers import models, normalizers, pre_tokenizers, trainers

    from slimjax.data.tokenizer import read_tokenizer_file

    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCAB, special_tokens=list(SPECIALS), show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.save(str(path))
    return read_tokenizer_file(path)


def make_stage(tokenizer: Any, dtype: str) -> tuple[Any, Any]:
    """Returns a stage of classification in this shape, and a fresh state."""
    from slimjax.data.dataset import Field, Outline
    from slimjax.data.labels import Labels
    from slimjax.run.blueprints import make_model, make_task
    from slimjax.train import stage as stages
    from slimjax.train.blueprint import Blueprint
    from slimjax.train.config import make_run_config

    model = dict(kind="encoder", style="bert", token_types=2, embed_scale=1.0)
    model |= dict(norm_epsilon=1e-12, dtype=dtype, pool="first", dropout=0.0)
    config = dict(task="classification", model=model | SHAPE)
    config["data"] = dict(source="jsonl:none.jsonl", seq_len=LENGTH, batch_size=BATCH)
    config["objective"] = dict(strategy="none")
    config["mesh"] = dict(data=1)
    run = make_run_config(config)
    tokens = Field((LENGTH,), "int32", ("positions",), fill=tokenizer.pad_id)
    outline = Outline(
        fields={"tokens": tokens, "label": Field((), "int32", (), fill=-1)},
        sizes={"vocab": tokenizer.vocab_size, "classes": len(NAMES)},
        lengths={"": LENGTH},
        special=tokenizer.special,
        codecs={"tokens": tokenizer, "label": Labels(NAMES, (1, 1))},
    )
    blueprint = Blueprint(
        run, make_task(run, outline), make_model(run, outline), outline
    )
    stage = stages.make_stage(blueprint)
    return stage, stage.fresh()


def make_step(stage: Any, state: Any) -> Any:
    """Returns a function that takes one step, and returns its loss."""
    import jax

    holder, batch = {"state": state}, stage.put(make_batch())
    train_step = stage.programs.train_step

    def step() -> float:
        holder["state"], metrics = train_step(holder["state"], batch)
        jax.block_until_ready(metrics)
        return float(metrics["nats_sum"] / metrics["num_targets"])

    return step


def make_batch() -> dict[str, np.ndarray]:
    """Returns rows without padding, and labels."""
    draw = np.random.default_rng(0)
    tokens = draw.integers(len(SPECIALS), 1_000, (BATCH, LENGTH)).astype(np.int32)
    labels = draw.integers(0, len(NAMES), BATCH).astype(np.int32)
    return {"tokens": tokens, "label": labels}


def make_predictor(stage: Any, params: Any, tokenizer: Any) -> Any:
    """Returns what `slimjax.load(W).predict` uses, for these weights."""
    from slimjax.data.config import DataConfig
    from slimjax.generate.model import Model
    from slimjax.nn.axes import to_host
    from slimjax.predict.predictor import Predictor
    from slimjax.tasks import classification

    blueprint, params = stage.blueprint, to_host(stage.layout.unstack(params))
    codecs = {"tokens": tokenizer, "label": blueprint.outline.codecs["label"]}
    model = Model(blueprint.model, params, codecs)
    config = DataConfig(source="jsonl:none.jsonl", seq_len=LENGTH)
    schema = classification.schema(config)
    return Predictor(model, blueprint.task, schema, config, batch_size=BATCH)


def write_weights(path: Path, params: Any) -> None:
    """Writes the weights by the names of transformers."""
    from slimjax.nn.axes import to_host
    from slimjax.trees import flatten

    own = flatten(to_host(params)["params"])
    arrays: dict[str, Any] = {rename(n): to_torch(n, w) for n, w in own.items()}
    np.savez(path, **arrays)


OUTSIDE = {
    "tokens.embedding": "bert.embeddings.word_embeddings.weight",
    "positions.table": "bert.embeddings.position_embeddings.weight",
    "types.table": "bert.embeddings.token_type_embeddings.weight",
    "embed_norm.scale": "bert.embeddings.LayerNorm.weight",
    "embed_norm.bias": "bert.embeddings.LayerNorm.bias",
    "label_head.table": "classifier.weight",
    "label_head.bias": "classifier.bias",
}
INSIDE = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "mlp.up": "intermediate.dense",
    "mlp.down": "output.dense",
    "mlp_norm": "output.LayerNorm",
}


def rename(name: tuple[str, ...]) -> str:
    """Returns the name that transformers has for one of our weights.

    Examples:
        >>> rename(("layer_3", "attention", "query_bias"))
        'bert.encoder.layer.3.attention.self.query.bias'
    """
    if ".".join(name) in OUTSIDE:
        return OUTSIDE[".".join(name)]
    first, *rest = name
    part, kind = ".".join(rest), "weight"
    if part.endswith(("_bias", ".bias")):
        part, kind = part[:-5], "bias"
    return (
        f"bert.encoder.layer.{first[6:]}.{INSIDE[part.removesuffix('.scale')]}.{kind}"
    )


def to_torch(name: tuple[str, ...], weight: np.ndarray) -> np.ndarray:
    """Returns a weight as torch has it: kernels are ``[outputs, inputs]``."""
    *_, part, last = name
    if part in ("attention", "mlp") and not last.endswith("bias"):
        depth = SHAPE["width"] if last != "down" else SHAPE["mlp_dim"]
        return np.ascontiguousarray(weight.reshape(depth, -1).T)
    if part in ("attention", "mlp") or last == "bias":
        return weight.reshape(-1)
    return weight.reshape(-1) if last == "scale" else weight


def make_torch_step(kind: str, dtype: str, folder: str) -> Any:
    import encoder_peer
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    options = dict(compiled=kind == "compile", bfloat16=dtype == "bfloat16")
    return encoder_peer.make_step(folder, make_batch(), **options)


def make_pipeline(kind: str, folder: str, texts: list[str]) -> Any:
    import encoder_peer
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    options = dict(compiled="compile" in kind, is_sorted="sorted" in kind)
    return encoder_peer.make_pipeline(folder, texts, LENGTH, BATCH, **options)


if __name__ == "__main__":
    main()
