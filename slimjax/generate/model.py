"""A finished or running model, opened from its run folder."""

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int, PyTree

from slimjax.data.codecs import Codecs, check_codecs, load_codecs
from slimjax.data.json_tokenizer import JsonTokenizer
from slimjax.data.tokenizer import Tokenizer
from slimjax.data.tokens import begin_row
from slimjax.errors import ConfigError
from slimjax.generate.chat_template import write_chat
from slimjax.generate.decode import CHUNK, Writer, generate, round_up
from slimjax.generate.description import describe, write_html, write_text
from slimjax.generate.endings import TextStream, ends_of
from slimjax.generate.options import (
    DEFAULTS,
    Options,
    check_prompt,
    check_prompts,
)
from slimjax.generate.sampling import Sampling
from slimjax.generate.stored import (
    check_shapes,
    finished_weights,
    newest_checkpoint,
    read_model_config,
)
from slimjax.models.cached import freeze_decoder
from slimjax.models.config import ModelConfig
from slimjax.store.files import read_json
from slimjax.store.run_folder import RunFolder
from slimjax.trees import flatten, unflatten

MAX_ROWS = 256
"""Texts that are written at the same time, each with a cache of its own."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A model with its codecs, such as its tokenizer.

    Attributes:
        config: The shape.
        params: ``{"params": weights, "gates": gates}``, gates all open.
        codecs: What its numbers mean, by field: tokens, labels, features.
    """

    config: ModelConfig
    params: PyTree
    codecs: Codecs
    _frozen: dict[str, Writer] = dataclasses.field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        """Returns the shape in a few lines."""
        return write_text(describe(self.config, self.params))

    def _repr_html_(self) -> str:
        """Returns the shape as a table, for a notebook."""
        return write_html(describe(self.config, self.params))

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to tokens and back.

        Raises:
            ConfigError: If the model reads no text.
        """
        if "tokens" not in self.codecs:
            raise ConfigError("This model reads features, hence has no tokenizer.")
        return cast(Tokenizer, self.codecs["tokens"])

    def apply(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T V"]:
        """Returns the logits of the token that follows each position."""
        return _logits(self.config, self.params, tokens)

    def encode(self, text: str) -> np.ndarray:
        """Returns the ids of a text, with the id that begins a row before them.

        Of a model whose rows begin with none, an empty text is that of its end.
        """
        ids = np.concatenate([begin_row(self.tokenizer), self.tokenizer.encode(text)])
        ids = ids if len(ids) else np.array([self.tokenizer.bos_id])
        return ids.astype(np.int32)

    def encode_chat(self, message: str) -> np.ndarray:
        """Returns the ids of a message and the beginning of its answer.

        Raises:
            ConfigError: If the model has no chat template.
        """
        text = write_chat(self.tokenizer, message)
        return cast(JsonTokenizer, self.tokenizer).encode_marked(text)

    def freeze(self, weights: str = "") -> Writer:
        """Returns the model as it generates, prepared once for each format of weights.

        Args:
            weights: float32, bfloat16 or int8; by default the dtype of the model.

        Raises:
            ConfigError: If there is no such format.
        """
        weights = weights or self.config.dtype
        if weights not in self._frozen:
            self._frozen[weights] = freeze_decoder(self.config, self.params, weights)
        return self._frozen[weights]

    def generate(
        self,
        prompts: str | Iterable[str],
        *,
        max_new_tokens: int = DEFAULTS.max_new_tokens,
        temperature: float = DEFAULTS.temperature,
        top_k: int = DEFAULTS.top_k,
        top_p: float = DEFAULTS.top_p,
        seed: int = DEFAULTS.seed,
        num_samples: int = DEFAULTS.num_samples,
        stop: str | Iterable[str] = DEFAULTS.stop,
        weights: str = DEFAULTS.weights,
        chat: bool = DEFAULTS.chat,
    ) -> list[str]:
        """Returns what the model writes after each prompt, up to its end of text.

        The names and the defaults are those of ``slimjax generate``.

        Args:
            prompts: Texts to continue, which may be empty; a string is one prompt.
            max_new_tokens: Most tokens for each text.
            temperature: Divides the scores of tokens; 0 always takes the best.
            top_k: Only the k best tokens are drawn from; 0 for all.
            top_p: Only the best tokens that together reach this probability are drawn
                from; 1 for all.
            seed: Root of the randomness.
            num_samples: Texts for each prompt; those of one prompt follow each other.
            stop: Strings before which a text ends.
            weights: Format of the weights, see `freeze`.
            chat: Whether a prompt is the message of a user, see `encode_chat`.

        Raises:
            ConfigError: If a value is out of range, or needs more memory than is free.
        """
        options = Options(
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            num_samples=num_samples,
            stop=stop,  # pyright: ignore[reportArgumentType]
            weights=weights,
            chat=chat,
        )
        texts = check_prompts(prompts)
        num_samples = options.num_samples
        encode = self.encode_chat if chat else self.encode
        rows = [row for text in texts for row in [encode(text)] * num_samples]
        made: list[str] = []
        for start in range(0, len(rows), MAX_ROWS):
            made += self._write(rows[start : start + MAX_ROWS], options, start)
        return made

    def _write(self, rows: list[np.ndarray], options: Options, start: int) -> list[str]:
        """Returns the texts that follow some rows of tokens.

        Args:
            rows: Tokens of each prompt.
            options: How to write.
            start: Number of the first row among all.
        """
        chunk = CHUNK if options.stop else round_up(options.max_new_tokens)
        texts, parts = [TextStream(options.stop) for _ in rows], [[] for _ in rows]
        seed = options.seed
        if start:
            seed = int(np.random.SeedSequence((seed, start)).generate_state(1)[0])
        for piece in self._decode(rows, options, seed, chunk):
            for text, part, ids in zip(texts, parts, piece, strict=True):
                part.append(self._add(text, ids))
            if all(text.is_over for text in texts):
                break
        pairs = zip(texts, parts, strict=True)
        return ["".join([*part, text.finish()]) for text, part in pairs]

    def stream(self, prompt: str, options: Options = DEFAULTS) -> Iterator[str]:
        """Yields the text that the model writes after a prompt, as it is made."""
        encode = self.encode_chat if options.chat else self.encode
        rows, text = [encode(check_prompt(prompt))], TextStream(options.stop)
        for piece in self._decode(rows, options, options.seed, CHUNK):
            yield self._add(text, piece[0])
            if text.is_over:
                return
        yield text.finish()

    def _decode(
        self, rows: list[np.ndarray], options: Options, seed: int, chunk: int
    ) -> Iterator[np.ndarray]:
        return generate(
            self.freeze(options.weights),
            rows,
            max_new_tokens=options.max_new_tokens,
            eos_id=self.tokenizer.eos_id,
            more_ends=ends_of(self.tokenizer)[1:],
            sampling=Sampling(options.temperature, options.top_k, options.top_p),
            seed=seed,
            chunk=chunk,
        )

    def _add(self, text: TextStream, ids: np.ndarray) -> str:
        """Adds tokens to a text, up to the one that ends it; returns what is new."""
        ends = np.flatnonzero(np.isin(ids, ends_of(self.tokenizer)))
        ids = ids[: ends[0]] if len(ends) else ids
        return text.add(self.tokenizer.decode_bytes(ids), is_last=len(ends) > 0)


def _logits(config: ModelConfig, params: PyTree, tokens: Array) -> Array:
    def logits(params: PyTree, tokens: Array) -> Array:
        readouts = config.module().apply(params, {"tokens": tokens})
        return readouts[config.heads[0].name].logits()

    return jax.jit(logits)(params, jnp.asarray(tokens))


def load(workdir: str | Path) -> Model:
    """Opens the model of a run: the finished one, or the newest checkpoint's.

    Args:
        workdir: The run folder.

    Raises:
        CheckpointError: If there is no model in it, or it is damaged.
    """
    folder = RunFolder(workdir)
    folder.check_run()
    codecs = load_codecs(folder.tokenizer)
    config = read_model_config(folder, codecs)
    abstract = nn.meta.unbox(config.abstract_variables())
    if folder.report.is_file():
        known = read_json(folder.report, dict).get("data", {}).get("codecs", {})
        check_codecs(codecs, known, folder.tokenizer)
        weights, path = finished_weights(folder, config)
        check_shapes(weights, abstract["params"], path)
        gates = jax.tree.map(lambda g: jnp.ones(g.shape), abstract["gates"])
        leaves = flatten(weights)
        del weights  # Each array goes as soon as it is on the device.
        return Model(config, {"params": _on_device(leaves), "gates": gates}, codecs)
    config, variables = newest_checkpoint(folder, config)
    return Model(config, variables, codecs)


def _on_device(leaves: dict[tuple[str, ...], np.ndarray]) -> PyTree:
    """Returns weights on the device; takes them out of `leaves` one by one.

    On a CPU they are not copied, since nothing else holds them.
    """
    put = lambda leaf: jax.device_put(leaf, may_alias=True)
    return unflatten({path: put(leaves.pop(path)) for path in [*leaves]})
