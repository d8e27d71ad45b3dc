"""What ``slimjax compress`` is asked for."""

import dataclasses
import math
from pathlib import Path

from slimjax.errors import ConfigError, suggest

KEEP, PRICE = "keep", "price"
"""What becomes of rows of the vocabulary: they stay, or go for a price."""

ALL = "all budgets"
"""Stands for a budget where several are kept to at once."""

AT_ONCE = "objective.budgets"
"""The setting that has them."""


HEALED = 0.5
"""The part of what a cut of units costs that is left after healing, in prices.

Healing gives back more of a cut than of the rounding that comes after it. At 1.0, a
packed file of 25 MB with all rows of the vocabulary was worse than one made in two
steps; at 0.5, one with fewer rows was. The study of experiments/pretrained tried these
two values, with 22 to 37 steps of one language model.
"""


@dataclasses.dataclass(frozen=True)
class HealConfig:
    """How healing steps: settings of the block ``optim``.

    Attributes:
        learning_rate: Largest step of a weight; the rate falls from it along a cosine.
        warmup_steps: Steps in which the rate rises from 0; 0 for a tenth of all.
    """

    learning_rate: float = 1e-4
    warmup_steps: int = 0

    def __post_init__(self):
        """Refuses values with which nothing can be learned."""
        if not 0 < self.learning_rate < math.inf:
            raise ConfigError(
                f"config.optim.learning_rate={self.learning_rate} must be above 0."
            )
        if self.warmup_steps < 0:
            raise ConfigError(
                f"config.optim.warmup_steps={self.warmup_steps} must be 0 or more."
            )

    def rise(self, num_steps: int) -> int:
        """Returns the steps in which the rate rises, of `num_steps`.

        Examples:
            >>> HealConfig().rise(200), HealConfig(warmup_steps=3).rise(200)
            (20, 3)
        """
        return self.warmup_steps or max(1, round(num_steps / 10))


@dataclasses.dataclass(frozen=True)
class Request:
    """A model, text, and how small the model shall be.

    Attributes:
        model: Folder of a finished or imported run.
        data: Source of text to calibrate on, and to measure on.
        workdir: Folder of the result; with several budgets, folder of their folders.
        budgets: Sizes, as ``"50M"`` or ``"40%"``; none where the overrides have
            ``objective.budgets``, which are kept to all at once.
        size: What is counted: params, flops, bytes, kv_bytes, or gguf_bytes, those of
            the GGUF file that is exported.
        also: Other sources to measure on.
        num_rows: Most rows that are calibrated on.
        num_slope_rows: Rows among them that gradients are taken of.
        num_error_rows: Most rows of each source that errors are measured on.
        num_seams: Cuts on the way to a budget.
        heal_steps: Steps of distillation from the original afterwards.
        kind: With gguf_bytes, type of the matrices of that file.
        vocabulary: Whether rows of the vocabulary may go: ``keep`` or ``price``.
        times_decoding: Whether original and result are timed as they write.
        overrides: Other settings, ``("a.b", "value")``.
    """

    model: str
    data: str
    workdir: str
    budgets: tuple[str, ...]
    size: str = "bytes"
    also: tuple[str, ...] = ()
    num_rows: int = 240
    num_slope_rows: int = 48
    num_error_rows: int = 36
    num_seams: int = 1
    heal_steps: int = 0
    kind: str = ""
    vocabulary: str = KEEP
    times_decoding: bool = False
    overrides: tuple[tuple[str, str], ...] = ()

    @property
    def cut_factor(self) -> float:
        """The part of what a cut of units costs that its price counts."""
        return HEALED if self.heal_steps else 1.0

    def __post_init__(self):
        """Refuses what cannot be meant."""
        self._check_budgets()
        if len(set(self.budgets)) < len(self.budgets):
            raise ConfigError(f"--budget={','.join(self.budgets)} names a size twice.")
        if self.vocabulary not in (KEEP, PRICE):
            hint = suggest(self.vocabulary, (KEEP, PRICE))
            raise ConfigError(f"--vocabulary={self.vocabulary} is unknown. {hint}")
        self._check_kind()
        least = {
            "--rows": (self.num_rows, 12),
            "--slope_rows": (self.num_slope_rows, 1),
        }
        least |= {"--seams": (self.num_seams, 1), "--heal_steps": (self.heal_steps, 0)}
        least |= {"--error_rows": (self.num_error_rows, 12)}
        for flag, (value, floor) in least.items():
            if value < floor:
                raise ConfigError(f"{flag}={value} must be {floor} or more.")

    def _check_budgets(self) -> None:
        at_once = [name for name, _ in self.overrides if name.startswith(AT_ONCE)]
        if at_once and self.budgets:
            raise ConfigError(
                f"--budget={','.join(self.budgets)} and --config.{at_once[0]} exclude "
                "each other. Set one of them."
            )
        if not at_once and (not self.budgets or "" in self.budgets):
            raise ConfigError(
                "--budget needs a size, or several with commas, such as 50M,35M."
            )

    @property
    def targets(self) -> tuple[str, ...]:
        """What a model is made for: each of the budgets, or all at once."""
        return self.budgets or (ALL,)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know beforehand, one line each."""
        if self.vocabulary != PRICE or self.also:
            return ()
        return (
            "--vocabulary=price makes text of another kind than --data much longer, "
            "and no such text is measured. Name one with --also.",
        )

    def _check_kind(self) -> None:
        """Refuses a type without a file, a file without one, and bits beside it."""
        is_file = self.size == "gguf_bytes"
        if is_file != bool(self.kind):
            raise ConfigError(
                "--size=gguf_bytes needs --type=F16, Q8_0, Q4_0 or Q4_1, the type of "
                "the exported GGUF file; other sizes take no --type."
            )
        at_once = [name for name, _ in self.overrides if name.startswith(AT_ONCE)]
        if is_file and at_once:
            raise ConfigError(
                f"--config.{at_once[0]} is not for --size=gguf_bytes, which has one "
                "budget. Set --budget."
            )
        own = [name for name, _ in self.overrides if name.startswith("quantize")]
        if is_file and own:
            raise ConfigError(
                f"--config.{own[0]} is not for --size=gguf_bytes: bits are those of "
                "--type."
            )
        if is_file and self.vocabulary != KEEP:
            raise ConfigError(
                "--vocabulary=price is not for --size=gguf_bytes. Leave it out."
            )

    def folder_of(self, budget: str) -> Path:
        """Returns the folder of a budget."""
        if len(self.targets) == 1:
            return Path(self.workdir)
        return Path(self.workdir) / budget.replace("%", "percent").replace("/", "_")
