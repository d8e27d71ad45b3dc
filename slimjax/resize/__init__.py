"""The act of changing a model's size, by the names of axes alone.

`make_plan` reads from gates what stays; `fold` moves gates into weights; `cut` changes
any tree of weights or gates, `carry_state` an optimizer's state. `plan_growth` and
`grow` add units.
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.resize.carry import carry_state as carry_state
    from slimjax.resize.carry import fold_moments as fold_moments
    from slimjax.resize.config import ResizeConfig as ResizeConfig
    from slimjax.resize.growth import grow as grow
    from slimjax.resize.growth import plan_growth as plan_growth
    from slimjax.resize.least_squares import refit as refit
    from slimjax.resize.plan import Change as Change
    from slimjax.resize.plan import make_plan as make_plan
    from slimjax.resize.shrink import cut as cut
    from slimjax.resize.shrink import fold as fold

__getattr__ = exports(
    __name__,
    {
        "Change": "plan",
        "ResizeConfig": "config",
        "carry_state": "carry",
        "cut": "shrink",
        "fold": "shrink",
        "fold_moments": "carry",
        "grow": "growth",
        "make_plan": "plan",
        "plan_growth": "growth",
        "refit": "least_squares",
    },
)
