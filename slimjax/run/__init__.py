"""A run: the host's side of training, from a config to a finished run folder.

`start` checks a run and begins it; `loop` puts stages and seams in a row; `resume`
takes a run up; `reading`, `saving` and `logbook` read and write on the way; `evaluate`
and `finish` measure what came out.
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.run.start import train as train

__getattr__ = exports(__name__, {"train": "start"})
