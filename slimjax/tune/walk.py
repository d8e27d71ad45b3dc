"""One walk along a path: which pieces are done, and which may be done now.

All that is decided follows from the reports of finished pieces, so any process that
looks into the folder decides the same.
"""

import dataclasses
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from slimjax.store.files import read_json
from slimjax.store.run_folder import RunFolder
from slimjax.train.config import RunConfig
from slimjax.tune.cost import Share
from slimjax.tune.path import Recipe


@dataclasses.dataclass(frozen=True)
class Piece:
    """One run of a path.

    Attributes:
        name: Its folder, below that of the path's root.
        run: Its config.
        is_done: Whether it is finished.
        is_trunk: Whether others continue it, so that its model is not measured.
    """

    name: str
    run: RunConfig
    is_done: bool
    is_trunk: bool = False


@dataclasses.dataclass(frozen=True)
class Spent:
    """What a finished piece of the trunk has spent.

    Attributes:
        flops: FLOPs of its steps, of probes at seams, and of a teacher.
        of_seams: Those at seams.
        of_step: Training FLOPs of a step of the model that it leaves, with a teacher's.
    """

    flops: float
    of_seams: float
    of_step: float


@dataclasses.dataclass(frozen=True)
class Walk:
    """A path in a folder.

    Attributes:
        root: The folder of all paths.
        trunk: Folder of its pieces, below the root; piece k is in ``TRUNK/k``.
        points: Folders of the models of its sizes, by number. Sizes that are not among
            them get no decay, but the steps of the others are as if they had one.
        recipe: What the pieces share.
        share: What they may cost.
        targets_per_step: Targets of a step.
    """

    root: Path
    trunk: str
    points: dict[int, str]
    recipe: Recipe
    share: Share
    targets_per_step: int

    def pieces(self) -> Iterator[Piece]:
        """Yields all pieces whose predecessors are finished, in order."""
        spent, start = 0.0, 0
        now, probes, before = self.share.start_flops, 0.0, ""
        for k in range(max(self.points) + 1):
            steps = self.share.trunk_steps(k, spent, now, probes)
            name = f"{self.trunk}/{k}"
            run = self.recipe.trunk(k, start, steps, before)
            trunk = dataclasses.replace(self._piece(name, run), is_trunk=True)
            yield trunk
            if not trunk.is_done:
                return
            found = read_spent(self.root / name, self.targets_per_step)
            spent, now = spent + found.flops, found.of_step
            probes = max(probes, found.of_seams)
            before, start = str(self.root / name), start + steps
            decay = self.share.decay_steps(k, spent, now, probes)
            spent += decay * now
            if k in self.points:
                run = self.recipe.decay(k, start, decay, before)
                yield self._piece(self.points[k], run)

    def flops(self) -> float:
        """Returns the FLOPs that all its pieces have spent; they are finished."""
        spent = (read_spent(self.root / n, self.targets_per_step) for n in self.names)
        return sum(each.flops for each in spent)

    @property
    def names(self) -> Collection[str]:
        """Names of all its pieces, finished or not."""
        trunk = [f"{self.trunk}/{k}" for k in range(max(self.points) + 1)]
        return [*trunk, *self.points.values()]

    def is_done(self) -> bool:
        """Whether all pieces are finished."""
        folders = (RunFolder(self.root / name) for name in self.names)
        return all(folder.report.is_file() for folder in folders)

    def _piece(self, name: str, run: RunConfig) -> Piece:
        folder = RunFolder(self.root / name)
        return Piece(name, run, folder.report.is_file())


def read_spent(workdir: Path, targets_per_step: int) -> Spent:
    """Returns what a finished piece has spent."""
    folder = RunFolder(workdir)
    report: dict[str, Any] = read_json(folder.report, dict)
    train, stages = report["train"], report["stages"]
    num_steps = sum(stage["num_steps"] for stage in stages)
    teacher = train["teacher_flops"] / max(num_steps, 1)
    seams = sum(seam.get("flops_spent", 0.0) for seam in folder.seams.read())
    return Spent(
        flops=train["flops_total"] - train["flops_inherited"],
        of_seams=seams,
        of_step=3 * stages[-1]["flops_per_token"] * targets_per_step + teacher,
    )
