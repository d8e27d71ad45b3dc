"""Many runs: grids of settings, several seeds, one after the other.

`grid` reads what is to vary, `arms` makes and checks the configs, `claims` shares the
work between processes, `equal` finds steps of equal cost, `sweep` runs it all and
writes ``sweep.json``, whose means and intervals `intervals` takes. Tables and figures
are made from that file by `slimjax.report`.
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.tune.arms import Arm as Arm
    from slimjax.tune.arms import make_arms as make_arms
    from slimjax.tune.claims import Claims as Claims
    from slimjax.tune.grid import Axis as Axis
    from slimjax.tune.grid import parse_axis as parse_axis
    from slimjax.tune.intervals import Interval as Interval
    from slimjax.tune.intervals import take_mean as take_mean
    from slimjax.tune.sweep import Plan as Plan
    from slimjax.tune.sweep import sweep as sweep

__getattr__ = exports(
    __name__,
    {
        "Arm": "arms",
        "Axis": "grid",
        "Claims": "claims",
        "Interval": "intervals",
        "Plan": "sweep",
        "make_arms": "arms",
        "parse_axis": "grid",
        "sweep": "sweep",
        "take_mean": "intervals",
    },
)
