"""The answer in words, and the command that uses the model of it."""

import pytest

from slimjax import tasks
from slimjax.tune.answer import describe_end

SPECIAL = {"pad": 0, "bos": 1, "eos": 2, "unk": 3, "mask": 4}


@pytest.mark.parametrize("name", tasks.names())
def test_the_closing_command_is_one_that_takes_such_a_model(name):
    task = tasks.get(name).make_task(SPECIAL)
    wanted = "predict"
    if task.answer is None:
        wanted = "generate" if task.generates else "evaluate"
    assert describe_end("runs/a", "chosen", name).split()[1] == wanted
