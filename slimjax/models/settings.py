"""The block ``config.model``: a uniform start, or an architecture from a file."""

import dataclasses

from slimjax.errors import ConfigError
from slimjax.models.checks import ROPE, check_settings
from slimjax.models.layer_config import LayerConfig
from slimjax.models.style import STYLES, Style
from slimjax.models.tower_config import IMAGE_STEMS
from slimjax.nn.pictures import Picture, Stage
from slimjax.nn.positions import RopeScaling

STYLED = tuple(field.name for field in dataclasses.fields(Style))
"""Settings that a style sets together."""


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """The block ``config.model``: a uniform start, or an architecture from a file.

    Attributes:
        kind: decoder, encoder, encoder_decoder, fusion (of pictures and texts), or mlp
            (a plain perceptron).
        width: Width of the residual stream, D; of an mlp the number of hidden units.
        num_layers: Number of layers, L.
        encoder_layers: Layers of the encoder of an encoder_decoder; 0 means num_layers.
        encoder_width: Width of the encoder of an encoder_decoder, which then has its
            own token table; 0 means that it shares width and table with the decoder.
        num_heads: Query heads per layer, N.
        num_kv_heads: Key/value heads per layer, K; 0 means as many as query heads.
        head_dim: Width of a head, H; 0 means width / num_heads.
        mlp_dim: Hidden width of the MLP, F.
        style: Sets the next eight settings at once: llama, bert, gpt2, t5 or vit. Empty
            means vit for an encoder of images and for a fusion, bert for another
            encoder, t5 for an encoder_decoder and llama otherwise.
            Each of the eight may also be set by itself; empty means that of the style.
        norm: Kind of the norms: rms or layer.
        norm_at: Place of the norms: input or output of the sublayers.
        mlp: Activation of the MLP: silu, gelu, gelu_tanh, relu, relu2, sigmoid, tanh or
            none. With ``gated_`` before it the MLP is gated; swiglu, geglu and reglu
            are names of gated MLPs. Of an mlp model the activation, by default sigmoid.
        bias: Whether attention and MLP add biases: true or false, ``attention`` for
            attention alone, ``qkv`` for its queries, keys and values alone.
        positions: rotary, learned, sinusoidal, relative or none.
        qk_norm: Whether queries and keys are normalised.
        tied: Whether the token table also scores the next token.
        sees: Positions that attention sees: past (with the position itself) or all. It
            is a choice of a decoder. An encoder and a fusion see all, the decoder of an
            encoder_decoder sees the past.
        cell: rnn, gru or lstm: a recurrent layer in place of attention, with a state
            from both ends where a position sees all. Empty means attention.
        state_dim: Units of a recurrent layer; 0 means width.
        window: Number of positions that are seen on each side, the position itself
            included; 0 for all.
        stem: Input of the model: tokens, characters (the bytes of tokens, by a
            convolution), features, or pictures, by a convolution or in patches; empty
            means that of the kind. Of an encoder of pictures `num_layers` may be 0.
        filters: Of a convolution of pictures: filters of each stage.
        kernels: Height and width of the filters of each stage, in places. Of this and
            the next two settings, one number stands for all stages.
        strides: Places from one use of a filter to the next, of each stage.
        pools: Height and width of the squares of places that become one at the end of
            each stage; 1 for none.
        image_pool: How squares become one place: max or mean.
        image_norm: Kind of the norm of filters: rms, layer, group (over all places of a
            picture and all filters) or none.
        image_activation: Activation of filters.
        patch_size: Of patches: their height and width, in pixels.
        inputs: Of a fusion, and of an encoder_decoder of pictures: both, or image or
            text alone, as a control.
        image_width: Width of the stream of pictures of such models; 0 means width.
        image_layers: Its layers, behind the convolution or the patches.
        text_width: Width of the stream of texts of such models; 0 means width.
        text_layers: Its layers.
        mixing_layers: Layers of attention of the text over the picture.
        token_table: Of characters: whether a table of tokens is read beside them.
        token_bytes: Of characters: bytes of a token that are read.
        byte_dim: Of characters: width of the vectors of bytes.
        pool: What a head that reads whole rows uses: first (the first position), mean
            or max. Empty means first for an encoder of texts and mean otherwise. Where
            positions see only the past, first is refused.
        pooler: Whether such a head reads through BERT's pooler, a product and tanh.
        pooler_activation: Activation of the pooler.
        copies: Whether what is written may be copied from the source, of an
            encoder_decoder with one tokenizer.
        token_types: Number of kinds of tokens, each with a vector; 0 for none.
        adapters: Adapters of domains, behind each sublayer, such as ``{"width": 16,
            "skip": 0.1}``: their hidden units, and the part of the rows that training
            passes through the trunk alone. Empty for none.
        dropout: Fraction of the numbers that are set to 0 in training: in embeddings,
            outputs of sublayers, inputs of heads and attention weights.
        drop_connect: Fraction of the weights that are set to 0 in training, by the name
            of one of their axes, such as ``{"mlp": 0.1}``.
        dtype: Type of the operands of matrix products: float32 or bfloat16.
        attention_impl: How attention is computed: auto, or by name reference, blocked,
            native (CPU), cudnn (GPU, bfloat16) or splash (TPU). All are exact.
        rope_base: Base of the angles of rotary positions.
        rope_scaling: How these angles are slowed down, as in ``config.json`` of a
            pretrained model: ``{"rope_type": "linear", "factor": 2}``, or ``llama3``
            with ``low_freq_factor``, ``high_freq_factor`` and
            ``original_max_position_embeddings``. Empty for not at all.
        position_offset: Rows of a table of learned positions before that of the first
            position; RoBERTa has 2.
        attention_scale: Factor of the scores of attention; 0 means 1 / sqrt(head_dim),
            and T5 has 1.
        relative_buckets: Buckets of relative positions.
        relative_distance: Distance from which on all relative positions are alike.
        token_transform: Activation of BERT's transform, a product and a norm before the
            tied table that scores tokens; empty for none.
        token_bias: Whether each token has a bias of its score.
        token_scale: Factor of what the table that scores tokens is multiplied with.
        remat: What each layer computes again in the backward pass: none, dots (all but
            products with weights) or full.
        embed_scale: Factor of the token vectors; 0 means sqrt(width). It does not
            change when the model becomes narrower.
        scan_layers: Whether runs of equal layers are compiled once, as a loop over
            their weights: true, false, or auto, which means from four layers on (16 on
            a CPU, where a loop makes steps about 5 % slower). It changes compile time
            and memory; results differ only by rounding.
        norm_epsilon: What is added below the root of norms; BERT has 1e-12.
        architecture: Path of an ``architecture.json`` whose layers and width replace
            the uniform ones, or what such a file holds; empty for none.
        init_from: Folder of a run whose weights this one starts from, for any task.
            Shape, style and tokenizer are those of the folder, and so is every setting
            of this block that is not given, but for `attention_impl`, `remat` and
            `scan_layers`. Heads of another shape or meaning are fresh. Empty for fresh
            weights.
    """

    kind: str = "decoder"
    width: int = 256
    num_layers: int = 4
    encoder_layers: int = 0
    encoder_width: int = 0
    num_heads: int = 8
    num_kv_heads: int = 0
    head_dim: int = 0
    mlp_dim: int = 704
    style: str = ""
    norm: str = ""
    norm_at: str = ""
    mlp: str = ""
    bias: bool | str = ""
    positions: str = ""
    qk_norm: bool | str = ""
    tied: bool | str = ""
    sees: str = ""
    cell: str = ""
    state_dim: int = 0
    window: int = 0
    stem: str = ""
    filters: tuple[int, ...] = (16, 32, 64)
    kernels: tuple[int, ...] = (3,)
    strides: tuple[int, ...] = (1,)
    pools: tuple[int, ...] = (2,)
    image_pool: str = "max"
    image_norm: str = "rms"
    image_activation: str = "relu"
    patch_size: int = 8
    inputs: str = "both"
    image_width: int = 0
    image_layers: int = 0
    text_width: int = 0
    text_layers: int = 1
    mixing_layers: int = 1
    token_table: bool = True
    token_bytes: int = 12
    byte_dim: int = 32
    pool: str = ""
    pooler: bool = False
    pooler_activation: str = "tanh"
    copies: bool = False
    token_types: int = 0
    adapters: dict = dataclasses.field(default_factory=dict)
    dropout: float = 0.0
    drop_connect: dict = dataclasses.field(default_factory=dict)
    dtype: str = "bfloat16"
    attention_impl: str = "auto"
    rope_base: float = 10_000.0
    rope_scaling: dict = dataclasses.field(default_factory=dict)
    position_offset: int = 0
    attention_scale: float = 0.0
    relative_buckets: int = 32
    relative_distance: int = 128
    token_transform: str = ""
    token_bias: bool = False
    token_scale: float = 1.0
    remat: str = "none"
    embed_scale: float = 0.0
    scan_layers: str | bool = "auto"
    norm_epsilon: float = 1e-6
    architecture: str | dict | list = ""
    init_from: str = ""

    def __post_init__(self):
        """Refuses values that no model has."""
        check_settings(self)
        if self.kind == "mlp":
            return
        self.full_style.check("config.model")
        if not self.num_layers:
            return
        if not self.head_dim and self.width % self.num_heads:
            raise ConfigError(
                f"config.model.width={self.width} must be a multiple of "
                f"config.model.num_heads={self.num_heads}, or set "
                "config.model.head_dim."
            )
        rotary = self.full_style.positions == "rotary"
        self.uniform_layer().check("config.model", rotary=rotary)

    @property
    def adapter_skip(self) -> float:
        """The part of the rows that pass without an adapter in training."""
        return float(self.adapters.get("skip", 0.0))

    @property
    def rope(self) -> RopeScaling | None:
        """How rotary angles are slowed down."""
        given = dict(self.rope_scaling)
        if not given:
            return None
        names = dict(
            zip(ROPE, ("kind", "factor", "low", "high", "length"), strict=True)
        )
        return RopeScaling(**{names[name]: value for name, value in given.items()})

    @property
    def reads_images(self) -> bool:
        """Whether pictures are read."""
        reads = self.stem in IMAGE_STEMS or (self.kind == "fusion" and not self.stem)
        return reads and self.inputs != "text"

    def picture(self, height: int, width: int, colors: int) -> Picture:
        """Returns what reads pictures of a size.

        Raises:
            ConfigError: If strides, pools or patches do not divide it.
        """
        size = height, width, colors
        if self.stem == "patches":
            picture = Picture(*size, patch=self.patch_size)
        else:
            of_stages = (self.kernels, self.strides, self.pools)
            spread = (v * (len(self.filters) if len(v) == 1 else 1) for v in of_stages)
            stages = map(Stage, self.filters, *spread)
            options = self.image_norm, self.image_pool, self.image_activation
            picture = Picture(*size, tuple(stages), 0, *options)
        picture.check()
        return picture

    @property
    def full_style(self) -> Style:
        """How layers compute."""
        by_kind = {"encoder": "bert", "encoder_decoder": "t5"}
        by_kind |= {"encoder": "vit"} if self.reads_images else {}
        by_kind |= {"fusion": "vit"}
        base = STYLES[self.style or by_kind.get(self.kind, "llama")]
        given = {name: getattr(self, name) for name in STYLED}
        given = {name: value for name, value in given.items() if value != ""}
        if self.kind != "decoder":
            sees_all = self.kind in ("encoder", "fusion")
            given["sees"] = "all" if sees_all else "past"
        return dataclasses.replace(base, **given)

    def uniform_layer(self) -> LayerConfig:
        """Returns the shape of every layer of a uniform start."""
        shape = LayerConfig(
            num_heads=self.num_heads,
            num_kv_heads=self.num_kv_heads or self.num_heads,
            head_dim=self.head_dim or self.width // self.num_heads,
            mlp_dim=self.mlp_dim,
        )
        if not self.full_style.cell:
            return shape
        units = self.state_dim or self.width
        none = dict(attention=False, num_heads=0, num_kv_heads=0)
        return dataclasses.replace(shape, **none, state_dim=units)
