"""A run: the host's side of training, from a config to a finished run folder.

`loop` puts stages and seams in a row; `resume` begins a run or takes it up; `saving`
and `logbook` write on the way; `evaluate` and `summary` measure what came out.
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.run.loop import train as train

__getattr__ = exports(__name__, {"train": "loop"})
