"""The path: the configs of its pieces and decays, from a config and the sizes.

The trunk goes from the config's model to the smallest size on the plateau of the
learning rate. Each piece continues from the one before (``train.continue_from``) and
ends at the budget of its size, so that alpha comes out as the dual variable of that
budget. From the end of each piece a decay branches off, in which nobody goes and bits
stay as they were chosen. Its end is the model of that size.
"""

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

from slimjax.errors import ConfigError
from slimjax.objective.config import DENSE
from slimjax.objective.latency import LATENCY
from slimjax.objective.size import parse_measure
from slimjax.train.config import RunConfig, make_run_config
from slimjax.train.optim_config import OptimConfig
from slimjax.tune.cost import seam_steps

Blocks = dict[str, Any]

FALLS = ("linear", "cosine")
"""Decays that a point may end with; in place of any other the first one is taken."""

OWN: Mapping[str, Any] = {
    "distill.decay_fraction": 0.0,
    "objective.alpha": 0.0,
    "objective.budget": "",
    "objective.budgets": {},
    "objective.report_in": "nats",
    "optim.decay_fraction": 1.0,
    "resize.first_step": 0,
    "resize.every_steps": 0,
    "resize.max_seams": 8,
    "train.eval_every_steps": 0,
    "train.patience": 0,
}
"""Settings that the path sets itself, and their values where a piece has no other."""


REPLACED: Mapping[str, Any] = {
    "objective.max_price_ratio": 0.0,
    "quantize.first_step": 0,
    "train.num_epochs": 0.0,
}
"""Settings that pieces or decays replace, and their defaults."""

SHOWN_IF_WRITTEN = ("optim.decay_fraction", "resize.max_seams")
"""Settings whose default is replaced, too."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What all pieces of a path share.

    Attributes:
        given: The blocks of the config, as the first piece takes them.
        shaped: The same with the shape and tokenizer of ``model.init_from``, as pieces
            take them that continue.
        sizes: Budgets of the points, the largest first.
        is_whole: Whether the first point is the whole model, which has no budget.
    """

    given: Blocks
    shaped: Blocks
    sizes: tuple[float, ...]
    is_whole: bool

    def trunk(self, k: int, start: int, steps: int, before: str) -> RunConfig:
        """Returns the piece that ends at size k, on the plateau.

        Args:
            k: Which size.
            start: Steps before it.
            steps: Its steps.
            before: Folder of the piece before; empty for the first.
        """
        changes = _length(start + steps, 0, before)
        if self.is_whole and k == 0:
            return self._make(k, changes, self._nobody(k))
        ratio = self.sizes[k - 1] / self.sizes[k] if k else 4.0
        first, every, count = seam_steps(start, steps, ratio, is_first=k == 0)
        changes["resize"] = dict(first_step=first, every_steps=every, max_seams=count)
        strategy = self.shaped["objective"]["strategy"]
        objective = dict(budget=self.sizes[k])
        if strategy in DENSE:
            objective |= dict(strategy="exchange")
        return self._make(k, changes, dict(objective=objective))

    def decay(self, k: int, start: int, steps: int, trunk: str) -> RunConfig:
        """Returns the decay that finishes size k.

        Args:
            k: Which size.
            start: Steps before it.
            steps: Its steps.
            trunk: Folder of the piece that ends there.
        """
        changes = _length(start + steps, steps, trunk)
        return self._make(k, changes, self._nobody(k))

    def _nobody(self, k: int) -> Blocks:
        """Returns the settings with which nothing is removed."""
        objective = dict(strategy="none", max_price_ratio=0.0, division="")
        if not (self.is_whole and k == 0):
            return dict(objective=objective)
        start = max(self.shaped["quantize"]["bits"])  # Nobody chooses yet.
        return dict(objective=objective, quantize=dict(bits=[start]))

    def _make(self, k: int, *changes: Blocks) -> RunConfig:
        continues = any(c.get("train", {}).get("continue_from") for c in changes)
        config = copy.deepcopy(self.shaped if continues or k else self.given)
        for change in changes:
            for block, values in change.items():
                config.setdefault(block, {}).update(values)
        return make_run_config(config)


def _length(num_steps: int, decay_steps: int, before: str) -> Blocks:
    """Returns the settings of a plateau, and a fall in the last steps."""
    return dict(
        train=dict(num_steps=num_steps, num_epochs=0.0, continue_from=before),
        optim=dict(decay_fraction=decay_steps / num_steps),
    )


def make_recipe(
    given: Mapping[str, Any], run: RunConfig, sizes: tuple[float, ...], start: float
) -> Recipe:
    """Returns the recipe of a path.

    Args:
        given: Blocks of the config.
        run: The same, checked, with the shape of ``model.init_from``.
        sizes: Budgets of the points.
        start: Size of the model that the path starts from.
    """
    shaped = run.as_dict()
    if run.model.init_from:
        shaped["model"]["init_from"] = ""
        plain = copy.deepcopy(dict(given))
    else:
        plain = copy.deepcopy(shaped)
    for config in (plain, shaped):
        _set_own(config, run)
    return Recipe(plain, shaped, sizes, is_whole=sizes[0] >= start)


def _set_own(config: Blocks, run: RunConfig) -> None:
    """Sets all that the path decides itself to what asks for nothing."""
    for name, value in OWN.items():
        block, _, key = name.partition(".")
        config.setdefault(block, {})[key] = copy.copy(value)
    if run.optim.decay not in FALLS:
        plain = OptimConfig()
        own = dict(decay=FALLS[0], decay_rate=plain.decay_rate)
        own |= dict(decay_every_steps=plain.decay_every_steps)
        config.setdefault("optim", {}).update(own)
    if run.quantize.first_step:
        config["quantize"]["first_step"] = 1  # Rounded from the first step on.
    config.setdefault("train", {})["num_epochs"] = 0.0


def describe_own(run: RunConfig, given: Mapping[str, Any]) -> str:
    """Returns one line on settings of the config that the path replaces, or nothing.

    Args:
        run: The config, checked.
        given: Its blocks as they were written.
    """
    plain, usual = run.as_dict(), make_run_config({}).as_dict()
    names = []
    for name, own in {**OWN, **REPLACED}.items():
        block, _, key = name.partition(".")
        is_written = name in SHOWN_IF_WRITTEN and key in given.get(block, {})
        if is_written or plain[block][key] not in (own, usual[block][key]):
            names.append(f"config.{name}={plain[block][key]!r}")
    if run.optim.decay not in FALLS:
        names.append(f"config.optim.decay={run.optim.decay!r}")
    if run.objective.strategy in DENSE:
        names.append(f"config.objective.strategy={run.objective.strategy!r}")
    if not names:
        return ""
    return f"The path has values of its own for {', '.join(names)}."


def check_run(run: RunConfig) -> None:
    """Refuses configs that have no path.

    Raises:
        ConfigError: Naming the setting.
    """
    if run.train.continue_from:
        raise ConfigError(
            f"config.train.continue_from={run.train.continue_from!r}: a path starts "
            "from fresh weights, or from config.model.init_from. Leave it out."
        )
    if LATENCY in parse_measure(run.objective.size):
        raise ConfigError(
            f"config.objective.size={run.objective.size!r}: a path is reckoned in what "
            "can be counted. Set params, flops, bytes or kv_bytes."
        )
    is_cache = {*parse_measure(run.objective.size)} == {"kv_bytes"}
    if is_cache and not run.resize.min_kv_heads:
        raise ConfigError(
            "config.objective.size='kv_bytes' may fall to 0, and sizes of a path are "
            "compared by their ratios. Set config.resize.min_kv_heads=1."
        )
    if run.distill.is_on and run.distill.teacher in ("start", "together"):
        raise ConfigError(
            f"config.distill.teacher={run.distill.teacher!r} is of one run, and a path "
            "has many. Name the folder of a finished run, or set it to ''."
        )


def find_relief(run: RunConfig) -> float:
    """Returns by what factor bits alone may lower the size; see `Share`."""
    counts_bits = "bytes" in parse_measure(run.objective.size)
    if not (run.quantize.chooses and counts_bits):
        return 1.0
    return run.quantize.start / max(min(run.quantize.bits), 4)
