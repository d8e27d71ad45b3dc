"""Random shapes of models, for laws that hold for all of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from hypothesis import strategies as st

from slimjax.models import (
    BERT,
    GPT2,
    LLAMA,
    T5,
    VIT,
    HeadConfig,
    LayerConfig,
    ModelConfig,
    Parts,
    captioner,
    decoder,
    encoder,
    encoder_decoder,
    fusion,
    mlp,
)
from slimjax.models.adapters import DOMAIN, add_adapters
from slimjax.nn.axes import is_filters
from slimjax.nn.gates import SUBLAYER
from slimjax.nn.implementations import IMAGE_NORMS, IMAGE_POOLS
from slimjax.nn.pictures import Picture, Stage
from slimjax.nn.positions import RopeScaling
from slimjax.trees import axis_names, flatten

CLASSES = (HeadConfig("label", 3, at="mean", bias=True),)
PAIR = (HeadConfig("tag", 4, bias=True), HeadConfig("label", 2, at="first", pooler=3))
NUMBER = (HeadConfig("value", 1, at="max", loss="gaussian", bias=True),)
MANY = (HeadConfig("label", 3, at="mean", loss="binary", bias=True),)
ENDS = tuple(HeadConfig(name, 1, loss="positions") for name in ("start", "end"))
VECTOR = (HeadConfig("vector", 0, at="mean", table="batch", loss="contrast"),)
STYLES = (
    LLAMA,
    GPT2,
    T5,
    BERT,
    dataclasses.replace(BERT, norm="rms", positions="relative"),
    dataclasses.replace(GPT2, positions="sinusoidal"),
    dataclasses.replace(LLAMA, mlp="relu2", qk_norm=True, tied=False, bias=True),
    dataclasses.replace(LLAMA, bias="qkv"),
    dataclasses.replace(LLAMA, bias="attention"),
    dataclasses.replace(T5, cell="rnn"),
    dataclasses.replace(GPT2, cell="lstm", positions="none"),
    dataclasses.replace(BERT, cell="gru", positions="none"),
)
IMAGE_STYLES = (VIT, BERT, dataclasses.replace(LLAMA, positions="sinusoidal"))
LENGTH = 5
"""Positions of the rows that `draw_inputs` draws."""


@st.composite
def layers(draw, *, cross: bool = False, cell: str = "") -> LayerConfig:
    num_kv_heads = draw(st.integers(1, 3))
    cross_kv_heads = draw(st.integers(0, 2)) if cross else 0
    return LayerConfig(
        num_heads=num_kv_heads * draw(st.integers(1, 3)),
        num_kv_heads=num_kv_heads,
        head_dim=2 * draw(st.integers(1, 3)),
        mlp_dim=draw(st.integers(1, 9)),
        attention=not cell and draw(st.sampled_from([True, True, True, False])),
        state_dim=draw(st.integers(0, 5)) if cell else 0,
        mlp=draw(st.sampled_from([True, True, True, False])),
        cross_heads=cross_kv_heads * draw(st.integers(1, 2)),
        cross_kv_heads=cross_kv_heads,
    )


def many(draw, max_layers: int, **options) -> tuple[LayerConfig, ...]:
    """Draws layers, sometimes with equal ones that follow each other."""
    drawn = draw(st.lists(layers(**options), min_size=1, max_size=max_layers))
    return tuple(drawn) if draw(st.booleans()) else (drawn[0],) * max_layers


@st.composite
def models(draw, max_layers: int = 3, style=LLAMA, **options) -> ModelConfig:
    """Draws decoders."""
    return decoder(
        draw(st.integers(5, 17)),
        draw(st.integers(3, 10)),
        tuple(draw(st.lists(layers(), min_size=1, max_size=max_layers))),
        style=style,
        attention_impl="reference",
        **options,
    )


@st.composite
def recipes(draw, max_layers: int = 2) -> ModelConfig:
    """Draws models of all kinds, some of them with adapters."""
    config = draw(trunks(max_layers))
    if draw(st.booleans()):
        return config
    width = draw(st.integers(1, 3))
    towers = (add_adapters(tower, ("a", "b"), width) for tower in config.towers)
    return dataclasses.replace(config, towers=tuple(towers))


@st.composite
def trunks(draw, max_layers: int = 2) -> ModelConfig:
    """Draws models of all kinds: styles, widths, looped layers, several heads."""
    kinds = ["decoder", "encoder", "two towers", "mlp", "pictures", "fusion"]
    kind = draw(st.sampled_from(kinds))
    heads = draw(st.sampled_from([CLASSES, PAIR, NUMBER, ENDS, VECTOR, "gaps"]))
    if kind == "mlp":
        units, act = draw(st.integers(1, 9)), draw(st.sampled_from(["sigmoid", "relu"]))
        heads = draw(st.sampled_from([CLASSES, NUMBER, MANY]))
        return mlp(draw(st.integers(1, 6)), units, heads=heads, activation=act)
    if kind in ("pictures", "fusion"):
        return draw(picture_encoders() if kind == "pictures" else fusions())
    options = dict(
        style=draw(st.sampled_from(STYLES)),
        scan_layers=draw(st.sampled_from([False, True])),
        window=draw(st.sampled_from([0, 2])),
        rope_scaling=draw(st.sampled_from([None, RopeScaling("linear", 2.0)])),
        attention_scale=draw(st.sampled_from([0.0, 1.0])),
        attention_impl="reference",
    )
    if options["style"].positions in ("learned", "sinusoidal"):
        options["num_positions"] = LENGTH + 1
        options["position_offset"] = draw(st.sampled_from([0, 2]))
    sizes = draw(st.integers(5, 17)), draw(st.integers(3, 8))
    cell = options["style"].cell
    if kind == "decoder":
        return decoder(*sizes, many(draw, max_layers, cell=cell), **options)
    if kind == "encoder":
        if heads == "gaps":  # The table of tokens fills them.
            own = dict(transform="gelu", epsilon=1e-6, bias=True, scale=0.5)
            own = draw(st.sampled_from([{}, own]))
            heads = (HeadConfig("tokens", sizes[0], table="tied", **own),)
        elif draw(st.booleans()):  # Characters alone, or beside the table.
            options |= dict(stem="characters", token_bytes=4, byte_dim=3)
            sizes = draw(st.sampled_from([0, sizes[0]])), sizes[1]
        options |= dict(heads=heads, token_types=draw(st.sampled_from([0, 2])))
        return encoder(*sizes, many(draw, max_layers, cell=cell), **options)
    options["encoder_width"] = draw(st.sampled_from([0, 3, 6]))
    if draw(st.booleans()):
        table = "tied" if options["style"].tied else "own"
        head = HeadConfig("tokens", sizes[0], table=table, copy_dim=3)
        options["heads"] = (head,)
    own = many(draw, max_layers, cross=True, cell=cell)
    source = many(draw, max_layers, cell=cell)
    return encoder_decoder(*sizes, own, encoder_layers=source, **options)


@st.composite
def pictures(draw) -> Picture:
    """Draws pictures of 8 x 4 pixels, with stages of filters or patches."""
    size = 8, 4, draw(st.sampled_from([1, 3]))
    if draw(st.sampled_from([False, False, True])):
        return Picture(*size, patch=draw(st.sampled_from([1, 2, 4])))
    stages = tuple(
        Stage(draw(st.integers(1, 5)), draw(st.integers(1, 4)), *ends)
        for ends in draw(st.sampled_from(ENDS_OF_STAGES))
    )
    norm = draw(st.sampled_from(IMAGE_NORMS))
    return Picture(*size, stages, 0, norm, draw(st.sampled_from(IMAGE_POOLS)))


ENDS_OF_STAGES = (
    ((1, 2),),
    ((2, 1), (1, 2)),
    ((2, 1), (1, 1), (1, 2)),
)
"""Strides and pools of stages."""


def picture_options(picture: Picture, positions: str = "learned") -> dict:
    """Returns the fields of a tower that reads these pictures."""
    in_table = positions in ("learned", "sinusoidal")
    return dict(
        stem="patches" if picture.patch else "convolution",
        picture=picture,
        reads="image",
        num_positions=picture.num_positions if in_table else 0,
    )


@st.composite
def picture_encoders(draw) -> ModelConfig:
    """Draws models that read pictures, some of them without a layer."""
    style = dataclasses.replace(draw(st.sampled_from(IMAGE_STYLES)), tied=False)
    own = many(draw, 2) if draw(st.booleans()) else ()
    return encoder(
        *(0, draw(st.integers(3, 8)), own),
        heads=draw(st.sampled_from([CLASSES, PAIR, NUMBER])),
        style=style,
        attention_impl="reference",
        **picture_options(draw(pictures()), style.positions),
    )


@st.composite
def fusions(draw) -> ModelConfig:
    """Draws models of pictures and texts, some of one of them, some that write."""
    style = draw(st.sampled_from(IMAGE_STYLES))
    options: dict = dict(style=style, attention_impl="reference")
    if style.positions in ("learned", "sinusoidal"):
        options["num_positions"] = LENGTH + 1
    across = draw(layers(cross=True))
    none = dict(attention=False, num_heads=0, num_kv_heads=0)
    widths = st.integers(3, 7)
    parts = Parts(
        image_width=draw(widths),
        image_layers=draw(st.sampled_from([(), (draw(layers()),)])),
        text_width=draw(widths),
        text_layers=(draw(layers()),),
        mixing_layers=(dataclasses.replace(across, **none),),
        width=draw(widths),
        layers=many(draw, 2),
    )
    picture, vocab_size = draw(pictures()), draw(st.integers(5, 12))
    options |= dict(picture=picture)
    if draw(st.sampled_from([False, False, True])):
        own = many(draw, 1, cross=True)
        source = draw(st.sampled_from([0, 9]))
        sizes = vocab_size, draw(widths), own, parts
        return captioner(*sizes, source_vocab_size=source, **options)
    reads = draw(st.sampled_from(["both", "both", "image", "text"]))
    vocab_size *= reads != "image"
    options["picture"] = None if reads == "text" else picture
    heads = draw(st.sampled_from([CLASSES, PAIR, NUMBER]))
    return fusion(vocab_size, parts, heads=heads, **options)


@st.composite
def hard_gates(draw, config: ModelConfig) -> dict:
    """Draws gates of 0 and 1 that leave equal numbers of heads in each group."""
    boxed = config.abstract_variables()
    shapes = {
        p: g.shape for p, g in flatten(nn.meta.unbox(boxed.get("gates", {}))).items()
    }
    source = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    gates = {}
    for path, shape in shapes.items():
        if path[-1] == SUBLAYER:
            gates[path] = np.array(float(source.random() < 0.8))
        elif path[-1] == "heads":
            groups = shapes[(*path[:-1], "kv_heads")][0]
            size = shape[0] // groups
            kept = source.integers(1, size + 1)
            rows = [source.permutation(size) < kept for _ in range(groups)]
            gates[path] = np.concatenate(rows).astype(float)
        else:
            gates[path] = (source.random(shape) < 0.6).astype(float)
            # A model without width is not a model, nor is a stage without filters.
            if len(path) == 1 or is_filters(path[-1]):
                gates[path][source.integers(shape[0])] = 1.0
    return gates


def make_variables(config: ModelConfig, seed: int = 0) -> tuple[dict, dict]:
    """Returns variables of random weights and open gates, and the names of their axes.

    Nothing is compiled, since every shape would be compiled anew.
    """
    boxed = config.abstract_variables()
    shapes, source = nn.meta.unbox(boxed), np.random.default_rng(seed)

    def draw(shape):
        fan_in = max(1, int(np.prod(shape.shape[:-1])))
        return (source.standard_normal(shape.shape) / fan_in**0.5).astype(np.float32)

    gates = jax.tree.map(
        lambda g: np.ones(g.shape, np.float32), shapes.get("gates", {})
    )
    weights = jax.tree.map(draw, shapes["params"])
    variables = {"params": weights, "gates": gates}
    return jax.tree.map(jnp.asarray, variables), axis_names(boxed)


def draw_inputs(config: ModelConfig, num_rows: int = 2, seed: int = 0) -> dict:
    """Returns inputs of a model: rows of 5 positions, the last of them padding."""
    source, inputs = np.random.default_rng(seed), {}
    if config.main.domains:
        inputs[DOMAIN] = np.arange(num_rows, dtype=np.int32) % 3 - 1
    for tower in (tower for tower in config.towers if not tower.of):
        if tower.picture is not None:
            picture = tower.picture
            shape = num_rows, picture.height, picture.width, picture.colors
            inputs[tower.reads] = source.integers(0, 256, shape).astype(np.uint8)
            continue
        if tower.stem == "features":
            shape = num_rows, tower.num_inputs
            inputs[tower.reads] = source.normal(size=shape).astype(np.float32)
            continue
        length = LENGTH + bool(tower.name)  # Towers have lengths of their own.
        shape = num_rows, length
        if tower.num_positions:
            shape = num_rows, min(length, tower.num_positions)
        tokens = source.integers(0, max(tower.num_inputs, 1), shape)
        inputs[tower.reads] = tokens.astype(np.int32)
        if tower.stem == "characters":  # The last ones are missing.
            codes = source.integers(1, 250, (*shape, tower.token_bytes))
            codes[..., 2:] *= source.integers(0, 2, (*shape, 1))
            inputs[f"{tower.reads}_bytes"] = codes.astype(np.int32)
        if tower.token_types:
            inputs[f"{tower.reads}_types"] = np.ones(shape, np.int32)
        if tower.sees_all:
            there = np.arange(shape[1])[None] < shape[1] - np.arange(num_rows)[:, None]
            inputs[f"{tower.reads}_segments"] = there.astype(np.int32)
    return jax.tree.map(jnp.asarray, inputs)


def logits_of(config: ModelConfig, variables, inputs) -> dict:
    """Returns the logits of each head."""
    readouts = config.module().apply(variables, inputs)
    return {name: readout.logits() for name, readout in readouts.items()}
