"""A language model of a run folder for lm_eval, the evaluation harness of EleutherAI.

    import lm_eval
    from slimjax.predict.harness import make_lm

    lm_eval.simple_evaluate(make_lm("runs/slim"), tasks=[task])

A text is read as lm_eval's own models read it: context and continuation are encoded
together, and what has nothing before it is read after the token that begins a row, or
ends a text where no token begins rows.

References:
    Gao et al., "The Language Model Evaluation Harness", 2024,
    https://github.com/EleutherAI/lm-evaluation-harness (docs/model_guide.md).
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slimjax.data.tokens import begin_row
from slimjax.errors import ConfigError
from slimjax.generate.model import Model, load
from slimjax.predict.log_likelihoods import Likelihood, Span, cut_spans, score_spans
from slimjax.store.files import read_json
from slimjax.store.run_folder import RunFolder
from slimjax.tasks.base import DEFAULT_TASK

LANGUAGE_MODEL = "lm"
MAX_NEW_TOKENS = 256
"""Tokens that are written where a task does not say how many."""


class Harness:
    """What lm_eval asks of a model, without lm_eval.

    Attributes:
        model: The model.
        longest: Most tokens that it reads in a row.
    """

    def __init__(self, workdir: str | Path):
        """Opens a run folder.

        Args:
            workdir: The folder.

        Raises:
            ConfigError: If it holds no language model.
            CheckpointError: If there is no whole model in it.
        """
        config = read_json(RunFolder(workdir).config, dict)
        task = config.get("task", DEFAULT_TASK)
        if task != LANGUAGE_MODEL:
            raise ConfigError(
                f"{workdir} is of the task {task!r}; lm_eval takes language models, of "
                f"the task {LANGUAGE_MODEL!r}."
            )
        self.model: Model = load(workdir)
        most = self.model.config.main.num_positions
        self.longest = int(most or config.get("data", {}).get("seq_len", 2048))

    @property
    def begin_id(self) -> int:
        """The token that is read before what has nothing before it."""
        return self.model.tokenizer.bos_id

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        """Returns how likely each text is after another one.

        Args:
            pairs: Contexts, which may be empty, and their continuations.
        """
        return self._score([self._split(*pair) for pair in pairs])

    def whole_likelihoods(self, texts: Sequence[str]) -> list[Likelihood]:
        """Returns how likely whole texts are, each token of them scored once."""
        rows = [np.asarray(self.model.tokenizer.encode(text)) for text in texts]
        begin = np.array([self.begin_id])
        return self._score([Span(np.append(begin, row), len(row)) for row in rows])

    def write(self, prompt: str, options: Mapping[str, Any]) -> str:
        """Returns what the model writes after a prompt.

        Args:
            prompt: The prompt.
            options: Those of lm_eval: ``until``, ``max_gen_toks``, ``do_sample``,
                ``temperature``, ``top_k`` and ``top_p``; others are refused.

        Raises:
            ConfigError: If an option is unknown, or out of range.
        """
        left = dict(options)
        until = left.pop("until", [])
        samples = bool(left.pop("do_sample", left.get("temperature", 0) > 0))
        temperature = left.pop("temperature", 1.0)
        chosen = dict(
            max_new_tokens=left.pop("max_gen_toks", MAX_NEW_TOKENS),
            temperature=temperature if samples else 0.0,
            top_k=left.pop("top_k", 0),
            top_p=left.pop("top_p", 1.0),
            stop=[until] if isinstance(until, str) else [s for s in until if s],
        )
        if left:
            raise ConfigError(
                f"lm_eval's option {min(left)!r} of generation is unknown."
            )
        return self.model.generate(prompt, **chosen)[0]

    def _split(self, context: str, continuation: str) -> Span:
        """Returns the tokens of both, of which those of the continuation are scored.

        Blanks between them belong to the continuation, as its first token has them.
        """
        encode = self.model.tokenizer.encode
        blanks = len(context) - len(context.rstrip())
        if blanks:
            continuation = context[-blanks:] + continuation
            context = context[:-blanks]
        first = begin_row(self.model.tokenizer)
        if not context:
            own = encode(continuation)
            return Span(np.append(np.array([self.begin_id]), own), len(own))
        whole = np.append(first, encode(context + continuation))
        num_scored = len(whole) - len(first) - len(encode(context))
        return Span(whole, min(num_scored, len(whole) - 1))

    def _score(self, asked: Sequence[Span]) -> list[Likelihood]:
        parts = [cut_spans(*span, self.longest) for span in asked]
        scores = iter(score_spans(self.model, [s for own in parts for s in own]))
        found = []
        for own in parts:
            scored = [next(scores) for _ in own]
            is_greedy = all(score.is_greedy for score in scored)
            found.append(Likelihood(sum(score.log for score in scored), is_greedy))
        return found


def make_lm(workdir: str | Path) -> Any:
    """Returns the model of a run folder as lm_eval takes it.

    Args:
        workdir: The run folder of a language model.

    Raises:
        ConfigError: If lm_eval is not installed, or it is another model.
        CheckpointError: If there is no whole model in the folder.
    """
    try:
        base = importlib.import_module("lm_eval.api.model").LM
    except ImportError:
        raise ConfigError(
            "lm_eval is not installed. Run pip install 'slimjax[eval]'."
        ) from None
    harness = Harness(workdir)

    class RunFolderLM(base):
        """The model of a run folder."""

        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            found = harness.likelihoods([request.args for request in requests])
            return [(own.log, own.is_greedy) for own in found]

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            texts = [request.args[0] for request in requests]
            return [own.log for own in harness.whole_likelihoods(texts)]

        def generate_until(self, requests: list[Any]) -> list[str]:
            return [harness.write(*request.args) for request in requests]

    return RunFolderLM()
