"""Training: what is compiled for one shape of the model, and how the shape changes.

`config` checks a run's settings; `stage` holds what is compiled for one shape of the
model, `step` being the heart of it; `seam` changes the shape. The host's side of a run
is `slimjax.run`.
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.train.config import RunConfig as RunConfig
    from slimjax.train.config import make_run_config as make_run_config
    from slimjax.train.optim import make_tx as make_tx
    from slimjax.train.stage import Stage as Stage
    from slimjax.train.state import TrainState as TrainState
    from slimjax.train.step import make_train_step as make_train_step

__getattr__ = exports(
    __name__,
    {
        "RunConfig": "config",
        "Stage": "stage",
        "TrainState": "state",
        "make_run_config": "config",
        "make_train_step": "step",
        "make_tx": "optim",
    },
)
