"""A Llama in NumPy, from its tensors in the Hugging Face form, to compare with."""

import numpy as np

from slimjax.interop.gguf_layout import layer_shapes
from slimjax.interop.gguf_rope import llama3_divisors


def logits_of(model, tokens):
    """Returns the logits of each position, ``[T V]``, float64."""
    config, read = model.config, lambda name: model.tensors[name].read().astype(float)
    epsilon = config["rms_norm_eps"]
    table = read("model.embed_tokens.weight")
    x = table[np.array(tokens)]
    for number, shape in enumerate(layer_shapes(config)):
        name = f"model.layers.{number}."
        if shape.heads:
            y = norm(x, read(f"{name}input_layernorm.weight"), epsilon)
            x = x + attention(model, name, shape, y)
        if shape.mlp:
            y = norm(x, read(f"{name}post_attention_layernorm.weight"), epsilon)
            gate = dense(model, f"{name}mlp.gate_proj", y)
            gate = gate / (1 + np.exp(-gate))
            hidden = gate * dense(model, f"{name}mlp.up_proj", y)
            x = x + dense(model, f"{name}mlp.down_proj", hidden)
    x = norm(x, read("model.norm.weight"), epsilon)
    return x @ (table if config["tie_word_embeddings"] else read("lm_head.weight")).T


def norm(x, scale, epsilon):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * scale


def dense(model, name, x):
    y = x @ model.tensors[f"{name}.weight"].read().astype(float).T
    if f"{name}.bias" in model.tensors:
        y = y + model.tensors[f"{name}.bias"].read().astype(float)
    return y


def attention(model, name, shape, x):
    head_dim, length = model.config["head_dim"], len(x)
    make = lambda letter: dense(model, f"{name}self_attn.{letter}_proj", x)
    split_heads = lambda letter, n: make(letter).reshape(length, n, head_dim)
    query = turn(split_heads("q", shape.heads), model.config)
    key = turn(split_heads("k", shape.kv_heads), model.config)
    value = split_heads("v", shape.kv_heads)
    each = shape.heads // shape.kv_heads
    key, value = (np.repeat(array, each, axis=1) for array in (key, value))
    scores = np.einsum("thd,shd->hts", query, key) / np.sqrt(head_dim)
    scores = np.where(np.tri(length, dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    mixed = np.einsum("hts,shd->thd", weights, value).reshape(length, -1)
    return dense(model, f"{name}self_attn.o_proj", mixed)


def turn(x, config):
    """Turns the first half of each head's channels against the second."""
    rope, half = config["rope_parameters"], x.shape[-1] // 2
    speed = rope["rope_theta"] ** -(np.arange(half) / half)
    if rope["rope_type"] == "linear":
        speed = speed / rope["factor"]
    if rope["rope_type"] == "llama3":
        speed = speed / llama3_divisors(rope, 2 * half)
    angle = np.arange(len(x))[:, None, None] * speed
    left, right = x[..., :half], x[..., half:]
    turned = left * np.cos(angle) - right * np.sin(angle)
    return np.concatenate([turned, left * np.sin(angle) + right * np.cos(angle)], -1)
