"""What attention layers of every kind promise."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from slimjax.nn.attention import Attention, CrossAttention
from slimjax.nn.positions import rotate, rotation_table
from slimjax.nn.relative import RelativeBias, bucket_of
from slimjax.trees import axis_names, flatten, unflatten

N, K, H, D, M, T, S = 6, 2, 4, 8, 5, 9, 7
POSITIONS = jnp.arange(T)[None].repeat(2, 0)
SEGMENTS = jnp.array([[1] * T, [1] * 5 + [0] * (T - 5)])
MEMORY_SEGMENTS = jnp.array([[1] * S, [1] * 3 + [0] * (S - 3)])
SELF = {
    "bert": dict(bias=True, norm=None, causal=False, rotary=False),
    "gpt2": dict(bias=True, norm="layer", rotary=False),
    "t5": dict(scale=1.0, causal=False, rotary=False, relative=(8, 16)),
    "t5 decoder": dict(scale=1.0, rotary=False, relative=(8, 16)),
    "qwen": dict(qk_norm=True, window=3, bias=True),
    "both sides": dict(window=3, causal=False),
}
CROSS = {"t5": dict(scale=1.0), "bart": dict(bias=True, norm="layer", qk_norm=True)}


def draw(layer, *inputs, **options):
    """Returns variables with every number drawn, and the names of their axes."""
    boxed = jax.eval_shape(lambda: layer.init(jax.random.key(1), *inputs, **options))
    source = np.random.default_rng(2)
    redraw = lambda p: jnp.asarray(0.5 * source.standard_normal(p.shape), jnp.float32)
    shapes = nn.meta.unbox(boxed)
    gates = jax.tree.map(lambda g: jnp.ones(g.shape), shapes["gates"])
    params = jax.tree.map(redraw, shapes["params"])
    return {"params": params, "gates": gates}, axis_names(boxed)["params"]


def stream(width, length, seed=0):
    return jax.random.normal(jax.random.key(seed), (2, length, width))


def normalised(x, params, kind):
    x = np.asarray(x, np.float64)
    if kind is None:
        return x
    x = x - x.mean(-1, keepdims=True) if kind == "layer" else x
    y = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
    p = {k: np.asarray(v) for k, v in params["norm"].items()}
    return y * p["scale"] + p.get("bias", 0.0)


def formula(params, options, x, memory, see):
    """Returns the textbook's attention, head by head in float64; `see` is [B T S]."""
    p = {k: np.asarray(v, np.float64) for k, v in params.items() if k[0] not in "nr"}
    x = normalised(x, params, options.get("norm", "rms"))
    memory = x if memory is None else np.asarray(memory, np.float64)
    heads = {}
    for name, read in (("query", x), ("key", memory), ("value", memory)):
        own = np.einsum("btd,dnh->btnh", read, p[name])
        heads[name] = own + p.get(f"{name}_bias", 0.0)
        if options.get("qk_norm") and name != "value":
            size = np.sqrt((heads[name] ** 2).mean(-1, keepdims=True) + 1e-6)
            heads[name] = heads[name] / size * p[f"{name}_norm"]
        if options.get("rotary", len(x[0]) == T) and name != "value" and memory is x:
            table = rotation_table(POSITIONS, H, 1e4)
            heads[name] = np.asarray(rotate(jnp.asarray(heads[name]), table))
    key, value = (heads[name].repeat(N // K, 2) for name in ("key", "value"))
    scale = options.get("scale", H**-0.5)
    scores = np.einsum("btnh,bsnh->bnts", heads["query"], key) * scale
    if "relative" in options:
        table = np.asarray(params["relative"]["table"])
        ahead = np.arange(T)[None] - np.arange(T)[:, None]
        buckets = bucket_of(
            jnp.asarray(ahead), *options["relative"], options.get("causal", True)
        )
        scores += np.moveaxis(table[np.asarray(buckets)], -1, 0)[None]
    scores = np.where(see[:, None], scores, -np.inf)
    top = scores.max(-1, keepdims=True)
    weights = np.exp(scores - np.where(np.isfinite(top), top, 0.0))
    total = weights.sum(-1, keepdims=True)
    weights = weights / np.where(total > 0, total, 1.0)
    mixed = np.einsum("bnts,bsnh->btnh", weights, value)
    return np.einsum("btnh,nhd->btd", mixed, p["out"]) + p.get("out_bias", 0.0)


def seen_by(options):
    ahead = np.arange(T)[None] - np.arange(T)[:, None]
    see = np.ones((T, T), bool)
    if options.get("causal", True):
        see &= ahead <= 0
    if "window" in options:
        see &= np.abs(ahead) < options["window"]
    segments = np.asarray(SEGMENTS)
    return see[None] & (segments[:, :, None] * segments[:, None] > 0)


@pytest.mark.parametrize("kind", SELF)
def test_self_attention_is_the_textbooks(kind):
    options = SELF[kind]
    layer, x = Attention(N, K, H, **options), stream(D, T)
    variables, _ = draw(layer, x, POSITIONS)
    actual = layer.apply(variables, x, POSITIONS, segments=SEGMENTS)
    expected = formula(variables["params"], options, x, None, seen_by(options))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", CROSS)
def test_cross_attention_is_the_textbooks(kind):
    options = CROSS[kind]
    layer = CrossAttention(N, K, H, **options)
    x, memory = stream(D, T), stream(M, S, 1)
    variables, _ = draw(layer, x, memory)
    actual = layer.apply(variables, x, memory, memory_segments=MEMORY_SEGMENTS)
    see = np.asarray(MEMORY_SEGMENTS > 0)[:, None].repeat(T, 1)
    expected = formula(variables["params"], options, x, memory, see)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
    changed = jnp.where(MEMORY_SEGMENTS[..., None] > 0, memory, 9.0)
    again = layer.apply(variables, x, changed, memory_segments=MEMORY_SEGMENTS)
    np.testing.assert_allclose(actual, again, atol=1e-5)


def cut(params, names, kept):
    """Returns weights without what is not in `kept`, by names of axes."""

    def take(leaf, axes):
        for axis, name in enumerate(axes):
            leaf = leaf.take(kept[name], axis) if name in kept else leaf
        return leaf

    own = flatten(names)
    return unflatten({p: take(x, own[p]) for p, x in flatten(params).items()})


KEPT = {
    "heads": np.array([3, 5]),
    "kv_heads": np.array([1]),
    "embed": np.array([0, 2, 3, 7]),
    "image_embed": np.array([1, 4]),
}


def mask(size, name):
    return jnp.zeros(size).at[KEPT[name]].set(1.0)


@pytest.mark.parametrize("kind", SELF)
def test_closed_heads_and_channels_of_self_attention_are_as_if_cut(kind):
    layer = Attention(N, K, H, **SELF[kind])
    channels = mask(D, "embed")
    x = stream(D, T) * channels[None, None]
    variables, names = draw(layer, x, POSITIONS)
    gates = variables["gates"] | {"heads": jnp.ones(N).at[4].set(0.0)}
    gates |= {"kv_heads": jnp.array([0.0, 1])}
    options = dict(segments=SEGMENTS)
    closed = layer.apply(
        variables | {"gates": gates}, x, POSITIONS, channels, **options
    )
    small = cut(variables["params"], names, KEPT)
    gates = {"heads": jnp.ones(2), "kv_heads": jnp.ones(1), "sublayer": jnp.ones(())}
    actual = layer.clone(num_heads=2, num_kv_heads=1).apply(
        {"params": small, "gates": gates}, x[..., KEPT["embed"]], POSITIONS, **options
    )
    np.testing.assert_allclose(closed[..., KEPT["embed"]], actual, atol=1e-5)
    rest = np.setdiff1d(np.arange(D), KEPT["embed"])
    np.testing.assert_array_equal(closed[..., rest], 0.0)


@pytest.mark.parametrize("kind", CROSS)
def test_closed_heads_and_channels_of_cross_attention_are_as_if_cut(kind):
    layer = CrossAttention(N, K, H, memory_axis="image_embed", **CROSS[kind])
    channels = mask(D, "embed")
    x = stream(D, T) * channels[None, None]
    memory = stream(M, S, 1) * mask(M, "image_embed")[None, None]
    variables, names = draw(layer, x, memory)
    assert names["key"] == ("image_embed", "kv_heads", "head_dim")
    gates = variables["gates"] | {"heads": jnp.ones(N).at[4].set(0.0)}
    gates |= {"kv_heads": jnp.array([0.0, 1])}
    closed = layer.apply(variables | {"gates": gates}, x, memory, channels)
    small = cut(variables["params"], names, KEPT)
    gates = {"heads": jnp.ones(2), "kv_heads": jnp.ones(1), "sublayer": jnp.ones(())}
    actual = layer.clone(num_heads=2, num_kv_heads=1).apply(
        {"params": small, "gates": gates},
        x[..., KEPT["embed"]],
        memory[..., KEPT["image_embed"]],
    )
    np.testing.assert_allclose(closed[..., KEPT["embed"]], actual, atol=1e-5)


@pytest.mark.parametrize("closed", ["heads", "kv_heads", "sublayer"])
def test_a_bias_goes_with_the_last_head_of_its_sublayer(closed):
    layer, x = Attention(N, K, H, bias=True), stream(D, T)
    variables, _ = draw(layer, x, POSITIONS)
    gates = variables["gates"] | {closed: jnp.zeros_like(variables["gates"][closed])}
    out = layer.apply(variables | {"gates": gates}, x, POSITIONS)
    np.testing.assert_array_equal(out, 0.0)


def test_fractional_gates_scale_the_bias_of_a_sublayer_and_its_channels():
    layer, x = Attention(N, K, H, bias=True), stream(D, T)
    variables, _ = draw(layer, x, POSITIONS)
    channels = jnp.linspace(0.5, 1.0, D)
    plain = layer.apply(variables, x, POSITIONS, jnp.ones(D))
    gates = variables["gates"] | {"sublayer": jnp.asarray(0.5)}
    actual = layer.apply(variables | {"gates": gates}, x, POSITIONS, channels)
    np.testing.assert_allclose(actual, plain * channels[None, None] / 2, atol=1e-5)


def test_dropout_needs_a_key_and_follows_it():
    layer, x = Attention(N, K, H, dropout=0.5), stream(D, T)
    variables, _ = draw(layer, x, POSITIONS)
    run = lambda **key: layer.apply(variables, x, POSITIONS, **key)
    plain = layer.clone(dropout=0.0).apply(variables, x, POSITIONS)
    np.testing.assert_array_equal(run(), plain)
    first, again, other = (run(key=jax.random.key(i)) for i in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - plain).max() > 0.01
    assert np.abs(first - other).max() > 0.01


def test_names_of_axes_are_those_that_walks_know():
    layer = CrossAttention(
        *(N, K, H),
        bias=True,
        qk_norm=True,
        axis="text_embed",
        memory_axis="image_embed",
    )
    names = draw(layer, stream(D, T), stream(M, S))[1]
    assert names == {
        "query": ("text_embed", "heads", "head_dim"),
        "key": ("image_embed", "kv_heads", "head_dim"),
        "value": ("image_embed", "kv_heads", "head_dim"),
        "out": ("heads", "head_dim", "text_embed"),
        "query_bias": ("heads", "head_dim"),
        "key_bias": ("kv_heads", "head_dim"),
        "value_bias": ("kv_heads", "head_dim"),
        "out_bias": ("bias", "text_embed"),
        "query_norm": ("head_dim",),
        "key_norm": ("head_dim",),
        "norm": {"scale": ("text_embed",)},
    }


def slow_bucket(ahead, num_buckets, max_distance, causal):
    """Raffel et al.: half the buckets for single distances, half for wider ones."""
    first = 0
    if not causal:
        num_buckets //= 2
        first = num_buckets if ahead > 0 else 0
    behind = abs(ahead) if not causal else max(-ahead, 0)
    exact = num_buckets // 2
    if behind < exact:
        return first + behind
    growth = math.log(behind / exact) / math.log(max_distance / exact)
    return first + min(exact + int(growth * (num_buckets - exact)), num_buckets - 1)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("sizes", [(32, 128), (8, 20), (5, 9)])
def test_buckets_are_those_of_the_paper(causal, sizes):
    ahead = np.arange(-200, 201)
    expected = [slow_bucket(int(a), *sizes, causal) for a in ahead]
    actual = np.asarray(bucket_of(jnp.asarray(ahead), *sizes, causal))
    # At powers of the ratio the paper's formula depends on the last bit of a logarithm.
    assert np.mean(actual != expected) < 0.02
    assert (actual >= 0).all()
    assert actual.max() == max(expected)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("num_queries", "num_keys"), [(6, 6), (1, 5), (7, 3)])
def test_a_relative_bias_is_that_of_its_positions_with_its_gradient(
    causal, num_queries, num_keys
):
    layer = RelativeBias(3, 8, 5, causal)
    table = {"params": {"table": jax.random.normal(jax.random.key(0), (8, 3))}}
    positions = jnp.arange(num_queries)[None]
    slope = jax.random.normal(jax.random.key(1), (1, 3, num_queries, num_keys))

    def pull(*positions):
        run = lambda table: layer.apply(table, num_queries, num_keys, *positions)
        out, vjp = jax.vjp(run, table)
        return out, vjp(slope)[0]["params"]["table"]

    for a, b in zip(pull(), pull(positions), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
