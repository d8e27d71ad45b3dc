"""``report.json``: what came out of a run, and what it cost."""

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from slimjax import native
from slimjax.data.corpus import Corpus
from slimjax.generate.decode import generate_all
from slimjax.generate.sampling import Sampling
from slimjax.models.frozen_decoder import freeze_decoder
from slimjax.nn.axes import to_host
from slimjax.objective.latency import LATENCY
from slimjax.processes import barrier, is_first
from slimjax.resize.shrink import fold
from slimjax.run.accounting import describe_time
from slimjax.run.code_length import describe_length
from slimjax.run.evaluate import Error, evaluate
from slimjax.run.taught_rows import flops_here
from slimjax.store.packed import read_packed, write_packed
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import RunConfig
from slimjax.train.history import History
from slimjax.train.stage import Stage
from slimjax.train.state import TrainState
from slimjax.trees import flatten, hash_tree
from slimjax.version import VERSION

NUM_SAMPLES = 3
PROMPT_TOKENS = 24
SAMPLE_TOKENS = 64
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "sentencepiece")


def versions() -> dict[str, str]:
    """Returns the versions of all that a result may depend on."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "slimjax": VERSION} | found


def machine() -> dict[str, Any]:
    """Returns what the run ran on."""
    return {
        "platform": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "num_devices": jax.device_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "native_kernels": native.is_enabled(),
    }


def finish_weights(stage: Stage, state: TrainState, path: Path) -> tuple[PyTree, int]:
    """Packs the finished weights, and returns the variables that a reader will have.

    Returns:
        The variables, with gates folded in, and the size of the file in bytes.
    """
    state = to_host(stage.layout.place_apart(stage.settle(state)))
    weights = state.params["params"] if state.ema is None else state.ema
    gates = state.params["gates"]
    weights = fold(weights, stage.names["params"], flatten(gates))
    opened = jax.tree.map(np.ones_like, gates)
    names, group_size = stage.names["params"], stage.run.quantize.group_size
    num_bytes = write_packed(path, weights, names, state.precision, group_size)
    barrier("the packed file")
    return stage.place({"params": read_packed(path), "gates": opened}), num_bytes


def summarize(
    run: RunConfig,
    stage: Stage,
    state: TrainState,
    corpus: Corpus,
    history: History,
    folder: RunFolder,
) -> dict[str, Any]:
    """Evaluates and packs the finished model and returns the content of the report.

    The error is that of the packed weights, which is what a user gets.
    """
    variables, packed_bytes = finish_weights(stage, state, folder.packed)
    whole = to_host(variables)  # One process writes samples, and by itself.
    valid = evaluate(stage, stage.unrounded(variables), corpus, "valid")
    test = evaluate(stage, stage.unrounded(variables), corpus, "test")
    tokens_per_step = run.data.batch_size * run.data.seq_len
    stages = [record.summary(tokens_per_step) for record in history.stages]
    lengths = {}
    if run.objective.units == "bits":
        length = describe_length(
            stage, variables, corpus, history, folder, packed_bytes
        )
        lengths = {"description_length": length}
    return {
        "error": _describe_error(valid, test),
        "size": _describe_size(stage, history, valid, packed_bytes),
        **lengths,
        "train": {
            "steps": int(state.step),
            "tokens": int(state.step) * tokens_per_step,
            "flops_total": history.training_flops(tokens_per_step),
            "flops_inherited": history.inherited_flops,
            "teacher_flops": history.teacher_flops,
            "teacher_flops_here": flops_here(run, folder, history),
            "seconds": history.seconds,
            "compile_seconds": sum(record.compile_s for record in history.stages),
            "tokens_per_s_first_stage": stages[0]["tokens_per_s"],
            "tokens_per_s_last_stage": stages[-1]["tokens_per_s"],
            **describe_time(folder, history, tokens_per_step),
            "finished": True,
        },
        "stages": stages,
        "data": _describe_data(corpus),
        "strategy": run.objective.strategy,
        "seed": run.seed,
        "config_hash": run.hash(),
        "state_hash": hash_tree(to_host(state)),
        "samples": make_samples(stage, whole, corpus, run.seed) if is_first() else [],
        "versions": versions(),
        "machine": machine(),
    }


def _describe_error(valid: Error, test: Error) -> dict[str, float]:
    return {
        "valid_nats_per_token": valid.nats_per_token,
        "valid_bits_per_byte": valid.bits_per_byte,
        "test_nats_per_token": test.nats_per_token,
        "test_bits_per_byte": test.bits_per_byte,
    }


def _describe_size(
    stage: Stage, history: History, valid: Error, packed_bytes: int
) -> dict[str, Any]:
    sizes, start = stage.sizes, stage.start_sizes
    measure = stage.run.objective.size
    alpha = history.alpha if history.alpha is not None else 0.0
    fraction = sizes[measure] / start[measure]
    latency = {}
    if LATENCY in sizes:
        latency = {"latency_s": sizes[LATENCY], "latency_s_start": start[LATENCY]}
    return latency | {
        "params": int(sizes["params"]),
        "params_start": int(start["params"]),
        "params_fraction": sizes["params"] / start["params"],
        "flops_per_token": sizes["flops"],
        "flops_per_token_start": start["flops"],
        "flops_fraction": sizes["flops"] / start["flops"],
        "bytes": int(sizes["bytes"]),
        "bytes_start": int(start["bytes"]),
        "packed_file_bytes": packed_bytes,
        "kv_bytes_per_token": int(sizes["kv_bytes"]),
        "kv_bytes_per_token_start": int(start["kv_bytes"]),
        "measure": measure,
        "fraction": fraction,
        "alpha": alpha,
        "complexity": alpha * fraction + valid.nats_per_token,
    }


def _describe_data(corpus: Corpus) -> dict[str, Any]:
    counts = {
        f"{what}_{split}": numbers[split]
        for what, numbers in (
            ("tokens", corpus.num_tokens),
            ("bytes", corpus.num_bytes),
            ("documents", corpus.num_documents),
        )
        for split in ("train", "valid", "test")
    }
    return {
        "source": corpus.source,
        "fingerprint": corpus.fingerprint,
        "vocab_size": corpus.tokenizer.vocab_size,
        "skipped": corpus.skipped,
        **counts,
    }


def make_samples(
    stage: Stage, variables: PyTree, corpus: Corpus, seed: int
) -> list[dict[str, str]]:
    """Returns what the model writes after the beginnings of validation rows."""
    rows = corpus.valid if len(corpus.valid) else corpus.train
    chosen = np.linspace(0, len(rows) - 1, min(NUM_SAMPLES, len(rows))).astype(int)
    length = min(PROMPT_TOKENS, rows.shape[1])
    tokenizer = corpus.tokenizer
    prompts = [np.asarray(rows[i][:length], np.int32) for i in chosen]
    outputs = generate_all(
        freeze_decoder(stage.model, variables),
        [np.concatenate([[tokenizer.bos_id], prompt]) for prompt in prompts],
        max_new_tokens=SAMPLE_TOKENS,
        eos_id=tokenizer.eos_id,
        sampling=Sampling(temperature=0.7, top_k=40),
        seed=seed,
    )
    return [
        {"prompt": tokenizer.decode(prompt), "text": tokenizer.decode(output)}
        for prompt, output in zip(prompts, outputs, strict=True)
    ]
