"""A foreign model as one of ours: shape, weights, tokenizer and settings of a run."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from flax import linen as nn

from slimjax import tasks
from slimjax.data.codecs import sizes_of, special_of
from slimjax.data.dataset import Codec
from slimjax.errors import ConfigError, DataError
from slimjax.interop.families import family_of
from slimjax.interop.families.described import Described
from slimjax.interop.families.links import Plan
from slimjax.interop.foreign import Foreign, Tensor
from slimjax.interop.sentence_files import note_case, read_pool
from slimjax.interop.tokenizers import make_tokenizer
from slimjax.models.build import build_model
from slimjax.models.config import ModelConfig
from slimjax.train.config import RunConfig, make_run_config
from slimjax.trees import Path, flatten

WEIGHTS = ("float64", "float32", "float16", "bfloat16")
VECTORS = "ranking"
"""The task of models that give vectors of texts."""

OLD_NAMES = {".gamma": ".weight", ".beta": ".bias"}
"""Ends of names that old files of BERT have, and what they became."""


@dataclasses.dataclass(frozen=True, eq=False)
class Imported:
    """A foreign model as a model of ours; its weights are not read yet.

    Attributes:
        run: Settings, as those of a run that would train it.
        model: Its shape.
        plan: Which tensor is which weight.
        tensors: The tensors, by names without a prefix.
        codecs: Tokenizer and classes.
        foreign: What it was made of.
        notes: What the user should know, one line each.
    """

    run: RunConfig
    model: ModelConfig
    plan: Plan
    tensors: Mapping[str, Tensor]
    codecs: Mapping[str, Codec]
    foreign: Foreign
    notes: tuple[str, ...] = ()

    def weights(self) -> Iterator[tuple[Path, Callable[[], np.ndarray]]]:
        """Yields the path of each weight, and the function that reads it."""
        return self.plan.read(self.tensors)


def understand(
    foreign: Foreign, folder: str, tokenizer: Codec | None = None
) -> Imported:
    """Returns a foreign model as one of ours, all checked but the numbers.

    Args:
        foreign: The model.
        folder: Where its tokenizer will be, for the settings.
        tokenizer: Its tokenizer, if that is not among its files.

    Raises:
        DataError: If the model is not supported, or tensors are missing, left over, or
            of another shape than its settings say.
    """
    family = family_of(foreign.config)
    described: Described = family.describe(foreign.config)
    if described.task == VECTORS:
        model = {**described.model, "pool": read_pool(foreign)}
        described = dataclasses.replace(described, model=model)
    where = "the model" if foreign.source is None else foreign.source.path
    tensors = canonical(foreign, family.PREFIX[foreign.config["model_type"]])
    ties = foreign.config.get("tie_word_embeddings") is not False
    described, tied, notes = _untie(family, described, tensors, ties=ties)
    tokenizer = tokenizer or make_tokenizer(foreign, described.vocab_size)
    codecs: dict[str, Codec] = {"tokens": tokenizer, **described.codecs}
    run = _make_run(described, folder)
    model = _make_model(run, codecs)
    shapes = nn.meta.unbox(model.abstract_variables())["params"]
    links = family.links(model, foreign.config, described.order)
    if model.heads[0].table == "tied":  # A table that is there twice is read once.
        links = [link for link in links if link.name not in family.UNTIED]
    named = {path: tuple(leaf.shape) for path, leaf in flatten(shapes).items()}
    plan = Plan(links, named)
    plan.check(tensors, where)
    left = _left_out(tensors, plan, tied, family.LEFT_OUT, where)
    notes = (*described.notes, *notes, *left)
    if described.task == VECTORS:
        notes += note_case(foreign)
    return Imported(run, model, plan, tensors, codecs, foreign, notes)


def shape_of(
    config: Mapping[str, Any], codecs: Mapping[str, Codec], *, tied: bool
) -> ModelConfig:
    """Returns the shape of the model that a ``config.json`` describes.

    Args:
        config: What it holds.
        codecs: Tokenizer and classes of the model.
        tied: Whether there is no second table of tokens among the tensors.

    Raises:
        DataError: If it is not supported.
    """
    family = family_of(config)
    described: Described = family.describe(config)
    if family.UNTIED:
        described = dataclasses.replace(
            described, model={**described.model, "tied": tied}
        )
    return _make_model(_make_run(described, "."), {**codecs, **described.codecs})


def canonical(foreign: Foreign, prefix: str) -> dict[str, Tensor]:
    """Returns tensors by names without the prefix of a model below a head.

    Args:
        foreign: The model.
        prefix: Such as ``bert.``; empty for none.

    Raises:
        DataError: If two tensors have one name then.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in foreign.tensors.items():
        short = name.removeprefix(prefix)
        for end, now in OLD_NAMES.items():
            short = short.removesuffix(end) + now if short.endswith(end) else short
        if short in found:
            raise DataError(f"The tensor {name} is there twice, as {short} too.")
        found[short] = tensor
    return found


def _untie(
    family: Any, described: Described, tensors: dict[str, Tensor], *, ties: bool
) -> tuple[Described, set[str], tuple[str, ...]]:
    """Compares tables that are stored twice; one that differs stays by itself.

    Of a copy without an original, the copy becomes the original.

    Returns:
        The model, the tensors that are copies, and notes.
    """
    copies: set[str] = set()
    notes: tuple[str, ...] = ()
    for name, original in family.TIED.items():
        if name in tensors and original not in tensors:
            tensors[original] = tensors.pop(name)
        if name not in tensors:
            continue
        if described.model.get("tied") is False and name in family.UNTIED:
            continue
        is_same = tensors[name].shape == tensors[original].shape and np.array_equal(
            tensors[name].read(), tensors[original].read()
        )
        if is_same:
            copies.add(name)
        elif name in family.UNTIED:
            note = f"{name} is not {original}, although config.json ties them; both "
            notes += (f"{note}are kept.",) if ties else ()
            model = {**described.model, "tied": False}
            described = dataclasses.replace(described, model=model)
        else:
            raise DataError(
                f"The tensor {name} is not {original}, which is not supported."
            )
    return described, copies, notes


def _make_run(described: Described, folder: str) -> RunConfig:
    data: dict[str, Any] = dict(
        tokenizer=f"{folder}/tokenizer",
        vocab_size=described.vocab_size,
        seq_len=described.seq_len,
    )
    is_many = any(labels.is_many for labels in described.codecs.values())
    config: dict[str, Any] = dict(task=described.task, data=data, model=described.model)
    config["head"] = dict(multi_label=is_many)
    try:
        return make_run_config(config)
    except ConfigError as error:
        raise DataError(f"config.json describes no model of ours: {error}") from None


def _make_model(run: RunConfig, codecs: Mapping[str, Codec]) -> ModelConfig:
    task = tasks.get(run.task).make_task(special_of(codecs))
    sizes = sizes_of(codecs)
    lengths = tasks.lengths(run.task, dataclasses.asdict(run.data))
    return build_model(run.model, sizes, task.heads(sizes), lengths)


def _left_out(
    tensors: Mapping[str, Tensor],
    plan: Plan,
    tied: set[str],
    patterns: tuple[str, ...],
    where: str,
) -> tuple[str, ...]:
    """Returns a note on tensors that are not kept.

    Raises:
        DataError: If there are some that no model of this kind has.
    """
    rest = sorted(set(tensors) - set(plan.tensors()) - tied)
    odd = [n for n in rest if not any(re.fullmatch(p, n) for p in patterns)]
    if odd:
        more = f" (and {len(odd) - 1} more)" if len(odd) > 1 else ""
        raise DataError(
            f"{where}: the tensor {odd[0]!r:.120}{more} is no part of such a model."
        )
    weights = [name for name in rest if tensors[name].dtype in WEIGHTS]
    lost = [name for name in weights if not name.endswith(("bias", "inv_freq"))]
    if not lost:
        return ()
    return (f"Left out: {', '.join(lost)[:200]}.",)
