"""The run folder: checkpoints, logs, the packed model.

Whatever is written is whole or not there: files are replaced atomically, a checkpoint
counts only with its manifest, and what is read back is compared with its checksums.
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.store.checkpoint import Checkpoints as Checkpoints
    from slimjax.store.packed import read_packed as read_packed
    from slimjax.store.packed import write_packed as write_packed
    from slimjax.store.run_folder import RunFolder as RunFolder

__getattr__ = exports(
    __name__,
    {
        "Checkpoints": "checkpoint",
        "RunFolder": "run_folder",
        "read_packed": "packed",
        "write_packed": "packed",
    },
)
