"""Many runs: grids of settings, several seeds, one after the other.

`grid` reads what is to vary, `arms` makes and checks the configs, `claims` shares the
work between processes (their files are in `claim_file`, their processes in `holder`),
and `runner` runs it, with data by `loading` and `clearing` after each run. `equal`
finds steps of equal cost; `halving` makes rounds, which `rounds` trains and `ranks`
compares. `sweep` puts that together and writes
``sweep.json`` from the `outcome` of each run, with means and intervals by `intervals`.
Tables and figures are made from that file by `slimjax.report`. `submit` starts workers
where a `submit_request` asks for them.

How much is size worth? `request` has the flags of ``slimjax tune``, `path` the configs
of a path through sizes, `cost` its steps, `walk` what may be done now, `fresh` models
beside it; `loading` reads the folds, `preparing` checks it all, with `notes` for the
user, and `tuning` runs it. `points` and `record` write ``tune.json``, with errors over
folds by `pooled`; `rules` choose a point of a `curve`, `answer` says so in words, and
`chosen` finds its model.
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.tune.arms import Arm as Arm
    from slimjax.tune.arms import make_arms as make_arms
    from slimjax.tune.claims import Claims as Claims
    from slimjax.tune.grid import Axis as Axis
    from slimjax.tune.grid import parse_axis as parse_axis
    from slimjax.tune.halving import Halving as Halving
    from slimjax.tune.intervals import Interval as Interval
    from slimjax.tune.intervals import take_mean as take_mean
    from slimjax.tune.preparing import prepare as prepare
    from slimjax.tune.request import Request as Request
    from slimjax.tune.sweep import Plan as Plan
    from slimjax.tune.sweep import sweep as sweep
    from slimjax.tune.tuning import Tuner as Tuner

__getattr__ = exports(
    __name__,
    {
        "Arm": "arms",
        "Axis": "grid",
        "Claims": "claims",
        "Halving": "halving",
        "Interval": "intervals",
        "Plan": "sweep",
        "Request": "request",
        "Tuner": "tuning",
        "make_arms": "arms",
        "parse_axis": "grid",
        "prepare": "preparing",
        "sweep": "sweep",
        "take_mean": "intervals",
    },
)
