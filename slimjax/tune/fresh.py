"""Fresh models of the same sizes, which stand beside a path: ``--compare=scratch``.

Each has as even a shape as the config's model, with fewer heads, narrower, and an MLP
that fills the size; all weights have one number of bits. Together the models of one arm
spend what the path of a fold may spend, each an equal part. Where bytes are counted
there is an arm of 4 bits and one of 8, and the better one of each size counts, as if
that had been known beforehand.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from slimjax.errors import ConfigError
from slimjax.objective.size import parse_measure
from slimjax.run.blueprints import make_blueprint
from slimjax.store.run_folder import RunFolder
from slimjax.train.blueprint import Blueprint
from slimjax.train.config import RunConfig, make_run_config
from slimjax.tune.preparing import Prepared, with_data
from slimjax.tune.walk import Piece

BITS = (4, 8)
DECAY, ROUNDED_FROM = 0.4, 0.1
"""Parts of the steps: in which the rate falls, and before weights are rounded."""

LEAST_MLP = 8
EVEN_KINDS = ("decoder", "encoder")


@dataclasses.dataclass(frozen=True)
class Shape:
    """An even shape.

    Attributes:
        settings: Of ``config.model``.
        flops: Forward FLOPs per target.
    """

    settings: Mapping[str, int]
    flops: float


@dataclasses.dataclass(frozen=True)
class Fresh:
    """Fresh models of all sizes that can be filled, in all folds.

    Attributes:
        prepared: The tune.
        root: Its folder.
        bits: Bits of all units; 0 where bits do not count.
    """

    prepared: Prepared
    root: Path
    bits: int

    @cached_property
    def shapes(self) -> dict[int, Shape]:
        """The shape of each size that can be filled, by its number."""
        finder = ShapeFinder(self.prepared.blueprint, self.bits)
        sizes = enumerate(self.prepared.facts.sizes)
        found = {k: finder.find(size) for k, size in sizes}
        return {k: shape for k, shape in found.items() if shape is not None}

    def name(self, fold: int, k: int) -> str:
        """Returns the folder of one model."""
        end = f"-{self.bits}bits" if self.bits else ""
        return f"fold{fold}/scratch{k}{end}"

    def pieces(self) -> Iterator[Piece]:
        """Yields all runs; none waits for another."""
        for fold in range(self.prepared.facts.folds):
            for k, shape in self.shapes.items():
                name = self.name(fold, k)
                is_done = RunFolder(self.root / name).report.is_file()
                yield Piece(name, self._run(fold, shape), is_done)

    def is_done(self) -> bool:
        """Whether all are finished."""
        return all(piece.is_done for piece in self.pieces())

    def arms(self) -> dict[str, list[list[str]]]:
        """Returns the folders of each size, one for each fold; none where none fits."""
        facts, title = self.prepared.facts, "fresh"
        title += f", {self.bits} bits" if self.bits else ""
        names = [
            [self.name(fold, k) for fold in range(facts.folds)]
            if k in self.shapes
            else []
            for k in range(len(facts.sizes))
        ]
        return {title: names} if self.shapes else {}

    def _run(self, fold: int, shape: Shape) -> RunConfig:
        prepared = self.prepared
        share = prepared.share.total / len(prepared.facts.sizes)
        of_step = 3 * shape.flops * prepared.targets_per_step
        num_steps = max(round(share / of_step), 2)
        data = {"num_folds": prepared.facts.folds, "fold": fold}
        config = with_data(prepared.recipe(data).shaped, {})
        config["model"] |= shape.settings
        config["objective"] |= {"strategy": "none", "max_price_ratio": 0.0}
        config["objective"] |= {"division": ""}
        config["train"] |= {"num_steps": num_steps}
        config["optim"] |= {"decay_fraction": DECAY}
        config["quantize"] |= {"bits": [self.bits or 16], "first_step": 0}
        if self.bits:
            first = round(ROUNDED_FROM * num_steps)
            config["quantize"] |= {"first_step": first}
        return make_run_config(config)


class ShapeFinder:
    """Finds even shapes that fill a size."""

    def __init__(self, blueprint: Blueprint, bits: int):
        """Keeps the model whose proportions the shapes have."""
        self.blueprint, self.bits = blueprint, bits
        self._sizes: dict[tuple[int, int], tuple[float, float]] = {}

    def find(self, size: float) -> Shape | None:
        """Returns the shape nearest to the model's own proportions; None if none fits.

        For each number of heads the MLP takes what room is left; the shape counts whose
        ratio of both is nearest to the model's.
        """
        model, found = self.blueprint.run.model, []
        for heads in range(1, model.num_heads + 1):
            mlp_dim = self._fill(heads, size)
            if mlp_dim >= LEAST_MLP:
                own = mlp_dim / heads / (model.mlp_dim / model.num_heads)
                found.append((abs(math.log(own)), heads, mlp_dim))
        if not found:
            return None
        _, heads, mlp_dim = min(found)
        flops = self._measure(heads, mlp_dim)[1]
        return Shape(self._settings(heads, mlp_dim), flops)

    def _fill(self, heads: int, size: float) -> int:
        """Returns the widest MLP with which a model is not above a size, or 0."""
        small, large = (self._measure(heads, n)[0] for n in (LEAST_MLP, 2 * LEAST_MLP))
        if small > size:
            return 0
        mlp_dim = LEAST_MLP + int((size - small) / (large - small) * LEAST_MLP)
        while mlp_dim > LEAST_MLP and self._measure(heads, mlp_dim)[0] > size:
            mlp_dim -= 1
        return mlp_dim

    def _measure(self, heads: int, mlp_dim: int) -> tuple[float, float]:
        """Returns size and FLOPs per target of a shape."""
        known = self._sizes.get((heads, mlp_dim))
        if known is None:
            run = self.blueprint.run
            model = dataclasses.replace(run.model, **self._settings(heads, mlp_dim))
            quantize = dataclasses.replace(
                run.quantize, bits=(self.bits or run.quantize.start,), first_step=0
            )
            other = dataclasses.replace(run, model=model, quantize=quantize)
            sizes = make_blueprint(other, self.blueprint.outline).sizes
            known = sizes[run.objective.size], sizes["flops"]
            self._sizes[heads, mlp_dim] = known
        return known

    def _settings(self, heads: int, mlp_dim: int) -> dict[str, int]:
        model = self.blueprint.run.model
        all_heads = model.num_heads
        head_dim = model.head_dim or model.width // all_heads
        groups = max(round((model.num_kv_heads or all_heads) * heads / all_heads), 1)
        while heads % groups:
            groups -= 1
        width = max(round(model.width * heads / all_heads), 1)
        return {
            "width": width,
            "num_heads": heads,
            "num_kv_heads": groups,
            "head_dim": head_dim,
            "mlp_dim": mlp_dim,
        }


def list_fresh(prepared: Prepared, root: Path) -> list[Fresh]:
    """Returns the arms of fresh models that are asked for, or finished already."""
    is_asked = prepared.request.compare == "scratch"
    if not is_asked and not any(root.glob("fold0/scratch*")):
        return []
    counts_bits = "bytes" in parse_measure(prepared.facts.measure)
    arms = [Fresh(prepared, root, bits) for bits in (BITS if counts_bits else (0,))]
    return [arm for arm in arms if is_asked or arm.is_done()]


def check_even(run: RunConfig) -> None:
    """Refuses models of which there are no even smaller ones.

    Raises:
        ConfigError: Naming the setting.
    """
    model: Any = run.model
    for name in ("init_from", "architecture"):
        if getattr(model, name):
            raise ConfigError(
                f"--compare=scratch makes smaller models of even layers, and "
                f"config.model.{name}={getattr(model, name)!r} gives others. Take "
                "--compare=none."
            )
    if model.kind not in EVEN_KINDS or model.cell:
        raise ConfigError(
            "--compare=scratch is for decoders and encoders with attention, not "
            f"config.model.kind={model.kind!r}. Take --compare=none."
        )
