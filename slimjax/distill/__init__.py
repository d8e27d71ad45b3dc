"""A teacher beside the text: what a larger model says, not only what was written.

`DistillConfig` is the block ``config.distill``; `Teacher` a frozen model;
`make_distilled_error_fn` gives what a student descends, `distilled_sums` its formula.
`Outcomes` are what is kept of a teacher who is asked once, in an `OutcomeStore`.
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.distill.alignment import alignment_error as alignment_error
    from slimjax.distill.config import DistillConfig as DistillConfig
    from slimjax.distill.divergence import distilled_sums as distilled_sums
    from slimjax.distill.error import (
        make_distilled_error_fn as make_distilled_error_fn,
    )
    from slimjax.distill.outcome_store import OutcomeStore as OutcomeStore
    from slimjax.distill.outcomes import Outcomes as Outcomes
    from slimjax.distill.outcomes import make_outcomes_fn as make_outcomes_fn
    from slimjax.distill.teacher import Teacher as Teacher

__getattr__ = exports(
    __name__,
    {
        "DistillConfig": "config",
        "OutcomeStore": "outcome_store",
        "Outcomes": "outcomes",
        "Teacher": "teacher",
        "alignment_error": "alignment",
        "distilled_sums": "divergence",
        "make_distilled_error_fn": "error",
        "make_outcomes_fn": "outcomes",
    },
)
