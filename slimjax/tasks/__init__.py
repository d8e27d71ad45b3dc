"""What Error means: for each task a loss, and the sums that metrics are made of."""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.tasks.lm import make_error_fn as make_error_fn
    from slimjax.tasks.lm import make_sums_fn as make_sums_fn

__getattr__ = exports(
    __name__,
    {
        "make_error_fn": "lm",
        "make_sums_fn": "lm",
    },
)
