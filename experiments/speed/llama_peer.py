"""The same decoder in llama.cpp: its weights as a GGUF file, and greedy decoding.

The binding's C functions are called directly, one `llama_decode` a token for all rows,
as llama.cpp's own batched benchmark does; the best token is taken by NumPy.
"""

import ctypes
import os
from pathlib import Path
from typing import Any

import numpy as np


def write_gguf(path: Path, config: Any, params: Any, kind: str) -> None:
    """Writes a model as ``F16`` or ``Q8_0``; norms stay float32."""
    import gguf

    layer, weights = config.layers[0], params["params"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(4096)
    writer.add_embedding_length(config.width)
    writer.add_block_count(len(config.layers))
    writer.add_feed_forward_length(layer.mlp_dim)
    writer.add_head_count(layer.num_heads)
    writer.add_head_count_kv(layer.num_kv_heads)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(layer.head_dim)
    writer.add_rope_freq_base(config.main.rope_base)
    writer.add_tokenizer_model("none")

    def put(name: str, weight: Any) -> None:
        weight = np.ascontiguousarray(weight, np.float32)
        if weight.ndim == 1:
            return writer.add_tensor(f"{name}.weight", weight)
        number = gguf.GGMLQuantizationType[kind]
        weight = gguf.quants.quantize(weight, number)
        return writer.add_tensor(f"{name}.weight", weight, raw_dtype=number)

    table = np.asarray(weights["tokens"]["embedding"])
    put("token_embd", table * config.main.embed_scale)
    put("output", table)
    put("output_norm", weights["norm"]["scale"])
    for i in range(len(config.layers)):
        attention, mlp = (weights[f"layer_{i}"][name] for name in ("attention", "mlp"))
        put(f"blk.{i}.attn_norm", attention["norm"]["scale"])
        put(f"blk.{i}.attn_q", in_pairs(attention["query"]))
        put(f"blk.{i}.attn_k", in_pairs(attention["key"]))
        put(f"blk.{i}.attn_v", rows_of(attention["value"]))
        put(f"blk.{i}.attn_output", np.reshape(attention["out"], (-1, config.width)).T)
        put(f"blk.{i}.ffn_norm", mlp["norm"]["scale"])
        put(f"blk.{i}.ffn_gate", np.transpose(mlp["gate"]))
        put(f"blk.{i}.ffn_up", np.transpose(mlp["up"]))
        put(f"blk.{i}.ffn_down", np.transpose(mlp["down"]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def rows_of(kernel: Any) -> np.ndarray:
    """Returns ``[D N H]`` as ``[N H, D]``, the way others store it."""
    return np.reshape(kernel, (len(kernel), -1)).T


def in_pairs(kernel: Any) -> np.ndarray:
    """Returns the same with the channels (i, i + H/2) of each head as neighbours."""
    width, num_heads, head_dim = kernel.shape
    halves = np.reshape(kernel, (width, num_heads, 2, head_dim // 2))
    return rows_of(np.swapaxes(halves, 2, 3))


def make_llama(path: str, prompts: np.ndarray, num_new: int):
    """Returns a function that decodes once, and returns the tokens ``[B, num_new]``."""
    import llama_cpp

    cpp: Any = llama_cpp
    quiet = cpp.llama_log_callback(lambda *_: None)
    cpp.llama_log_set(quiet, ctypes.c_void_p())
    batch_size, length = prompts.shape
    model = cpp.llama_model_load_from_file(
        path.encode(), cpp.llama_model_default_params()
    )
    options = cpp.llama_context_default_params()
    options.n_ctx = batch_size * 256
    options.n_batch = options.n_ubatch = max(512, prompts.size)
    options.n_seq_max = batch_size
    options.n_threads = options.n_threads_batch = os.cpu_count() or 1
    options.no_perf = True
    context = cpp.llama_init_from_model(model, options)
    vocab_size = cpp.llama_vocab_n_tokens(cpp.llama_model_get_vocab(model))
    batch = cpp.llama_batch_init(prompts.size, 0, 1)

    def feed(rows: list[tuple[int, int, int, bool]]) -> np.ndarray:
        """Runs (token, position, row, wants logits); returns the best tokens."""
        batch.n_tokens = len(rows)
        for i, (token, position, row, wanted) in enumerate(rows):
            batch.token[i], batch.pos[i] = token, position
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, row
            batch.logits[i] = wanted
        assert cpp.llama_decode(context, batch) == 0
        scores = np.ctypeslib.as_array(
            cpp.llama_get_logits(context), (batch_size, vocab_size)
        )
        return scores.argmax(-1)

    def run() -> np.ndarray:
        cpp.llama_memory_clear(cpp.llama_get_memory(context), False)
        token = feed(
            [
                (int(prompts[row, i]), i, row, i == length - 1)
                for row in range(batch_size)
                for i in range(length)
            ]
        )
        made = [token]
        for position in range(length, length + num_new - 1):
            entries = zip(token.tolist(), range(batch_size), strict=True)
            token = feed([(t, position, row, True) for t, row in entries])
            made.append(token)
        return np.stack(made, 1)

    run.kept = quiet, model, context  # pyright: ignore
    return run
