"""Training, from a config to a finished run folder.

`config` checks a run at the door; `stage` holds what is compiled for one shape of the
model, `step` being the heart of it; `seam` changes the shape; `loop` puts stages and
seams in a row; `evaluate` and `summary` tell what came out.
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.train.config import RunConfig as RunConfig
    from slimjax.train.config import make_run_config as make_run_config
    from slimjax.train.loop import train as train
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
        "train": "loop",
    },
)
