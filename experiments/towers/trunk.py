"""The steps that all slim models of a seed have in common, trained once.

Until the first seam nothing depends on the rule or the budget. The arm `TRUNK` keeps
its checkpoint of that step, and the others start there; each is, to the bit, what it
would be had it been trained alone (``--alone``).
"""

import shutil
from pathlib import Path

from arms import RULES
from splits import Settings, finish, make_draft

TRUNK = "price-50"
"""The arm whose beginning the others take over."""


def is_branch(arm: str) -> bool:
    """Whether an arm starts at the trunk.

    Examples:
        >>> is_branch("text_first-10"), is_branch("price-50"), is_branch("dense")
        (True, False, False)
    """
    return arm != TRUNK and arm.rpartition("-")[0] in RULES


def keep_trunk(first_seam: int) -> Settings:
    """Returns the settings with which a run keeps its checkpoint of that step."""
    return {"train.keep_every_steps": first_seam, "train.save_every_steps": first_seam}


def is_grown(run: Path, first_seam: int) -> bool:
    """Whether a run has come to its first seam."""
    return _checkpoint(run, first_seam).exists()


def start_at_trunk(run: Path, first_seam: int) -> Settings:
    """Returns the settings of a run that starts where another had its first seam.

    Args:
        run: Folder of the other run.
        first_seam: The step, to which it has come.
    """
    kept = _checkpoint(run, first_seam)
    trunk = run.with_name(f"{run.name}-trunk")
    if not trunk.exists():
        draft = make_draft(trunk)
        shutil.copytree(kept, draft / "checkpoints" / kept.name)
        shutil.copyfile(run / "config.json", draft / "config.json")
        finish(draft, trunk)
    return {"train.continue_from": str(trunk)}


def _checkpoint(run: Path, first_seam: int) -> Path:
    return run / "checkpoints" / f"{first_seam:08d}.00"
