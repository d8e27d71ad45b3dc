"""What layers are made of: the choices that a family of models shares."""

import dataclasses

from slimjax.errors import ConfigError, suggest
from slimjax.nn.implementations import ACTIVATIONS, CELLS, NORMS

GATED = "gated_"
ALIASES = {"swiglu": "gated_silu", "geglu": "gated_gelu", "reglu": "gated_relu"}
MLPS = (*ALIASES, *(f"{GATED}{name}" for name in ACTIVATIONS), *ACTIVATIONS)
"""Kinds of MLPs: an activation, or one after ``gated_``; and usual names of these."""

POSITIONS = ("rotary", "learned", "sinusoidal", "relative", "none")
SEES = ("past", "all")
PLACES = ("input", "output")
BIASES = (True, False, "attention", "qkv")
"""Which products add biases: all, none, those of attention, or all of these but one."""


@dataclasses.dataclass(frozen=True)
class Style:
    """How the layers of a tower compute.

    Attributes:
        norm: rms or layer.
        norm_at: Where norms stand: at the ``input`` of each sublayer and before the
            heads, or at the ``output`` of each sublayer and of the embedding.
        mlp: The MLP, one of `MLPS`, such as ``swiglu`` or ``relu``.
        bias: Whether products with weights add biases: True, False, only in
            ``attention``, or only to ``qkv``, queries, keys and values.
        positions: rotary, learned, sinusoidal, relative (T5's buckets) or none.
        qk_norm: Whether queries and keys are normalised.
        tied: Whether the table of tokens also scores them.
        sees: What a position attends to: the ``past`` and itself, or ``all``.
        cell: Of a recurrent layer in place of attention: rnn, gru or lstm; empty for
            attention. It runs from both ends where a position sees ``all``.
    """

    norm: str = "rms"
    norm_at: str = "input"
    mlp: str = "swiglu"
    bias: bool | str = False
    positions: str = "rotary"
    qk_norm: bool = False
    tied: bool = True
    sees: str = "past"
    cell: str = ""

    def check(self, where: str) -> None:
        """Raises `ConfigError`, naming the place, where a choice is unknown."""
        choices = dict(norm=NORMS, norm_at=PLACES, mlp=MLPS)
        choices |= dict(positions=POSITIONS, sees=SEES, cell=("", *CELLS))
        for name, known in choices.items():
            value = getattr(self, name)
            if value not in known:
                hint = suggest(value, known)
                raise ConfigError(f"{where}.{name}={value!r} is unknown. {hint}")
        if self.bias not in BIASES:
            raise ConfigError(
                f"{where}.bias={self.bias!r} must be true, false, 'attention' or 'qkv'."
            )
        for name in ("qk_norm", "tied"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise ConfigError(f"{where}.{name}={value!r} must be true or false.")

    @property
    def is_gated(self) -> bool:
        """Whether hidden units are products of two."""
        return self._mlp.startswith(GATED)

    @property
    def activation(self) -> str:
        """The activation of hidden units.

        Examples:
            >>> LLAMA.activation, LLAMA.is_gated, BERT.activation, BERT.is_gated
            ('silu', True, 'gelu', False)
        """
        return self._mlp.removeprefix(GATED)

    @property
    def _mlp(self) -> str:
        return ALIASES.get(self.mlp, self.mlp)


LLAMA = Style()
"""The default. References: Touvron et al., "LLaMA", 2023, section 2.2."""

BERT = Style("layer", "output", "gelu", True, "learned", sees="all")
"""References: Devlin et al., "BERT", 2019, section 3."""

GPT2 = Style("layer", "input", "gelu_tanh", True, "learned")
"""References: Radford et al., "Language Models are Unsupervised...", 2019, 2.3."""

T5 = Style("rms", "input", "relu", False, "relative")
"""References: Raffel et al., "Exploring the Limits of Transfer...", 2020, 2.1."""

VIT = Style("layer", "input", "gelu", True, "learned", tied=False, sees="all")
"""References: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, 3.1."""

STYLES = {"llama": LLAMA, "bert": BERT, "gpt2": GPT2, "t5": T5, "vit": VIT}
