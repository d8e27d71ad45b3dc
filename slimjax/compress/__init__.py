"""Finished models made smaller in one go, from a pass over text.

`moments` has what products read and how the loss depends on what they write;
`removal` and `curves` price units by what is lost after the others have taken over;
`knapsack` chooses under a budget; `refit` cuts and refits layer by layer, `rounding`
rounds by second order. `pipeline` is all of it, for ``slimjax compress``.
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.compress.curves import Curve as Curve
    from slimjax.compress.curves import make_curves as make_curves
    from slimjax.compress.knapsack import choose as choose
    from slimjax.compress.moments import Moments as Moments
    from slimjax.compress.moments import collect as collect
    from slimjax.compress.pipeline import compress as compress
    from slimjax.compress.rounding import round_columns as round_columns

__getattr__ = exports(
    __name__,
    {
        "Curve": "curves",
        "Moments": "moments",
        "choose": "knapsack",
        "collect": "moments",
        "compress": "pipeline",
        "make_curves": "curves",
        "round_columns": "rounding",
    },
)
