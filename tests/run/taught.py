"""What tests of teachers share: the tiny config, and a power cut."""

from collections.abc import Callable

from slimjax.config import override, read_config
from slimjax.run import start
from slimjax.run.progress import Display
from slimjax.train.config import make_run_config

DENSE = [("objective.strategy", "none"), ("objective.budget", "")]


class Killed(BaseException):
    """Stands for the power cut."""


def make_train(text_folder, num_steps: int) -> Callable[..., dict]:
    """Returns a function that runs the tiny config, with changes."""

    def train(workdir, *changes, **distill) -> dict:
        base = [("data.source", f"text:{text_folder}/*.txt"), ("mesh.data", "1")]
        base += [("model.num_layers", "1"), ("train.num_steps", str(num_steps))]
        base += [("train.eval_every_steps", "0"), ("resize.max_seams", "1")]
        base += [(f"distill.{name}", str(value)) for name, value in distill.items()]
        config = override(read_config("configs/tiny_test.py"), [*base, *changes])
        with Display(quiet=True) as display:
            return start.train(make_run_config(config), workdir, display=display)

    return train
