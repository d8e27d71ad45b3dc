"""The act of changing a model's size, by the names of axes alone.

`fold` moves gates into weights; `plan` reads from gates what stays; `cut` takes any
tree of weights or gates along; `carry` does so for an optimizer's state; `seam` puts
them together, and `verify` tells whether the cut model still says what the closed one
said.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slimjax.resize.carry import carry_state as carry_state
    from slimjax.resize.plan import Plan as Plan
    from slimjax.resize.plan import make_plan as make_plan
    from slimjax.resize.shrink import cut as cut
    from slimjax.resize.shrink import fold as fold

_HOMES = {
    "Plan": "plan",
    "make_plan": "plan",
    "cut": "shrink",
    "fold": "shrink",
    "carry_state": "carry",
}


def __getattr__(name: str):
    """Loads a public name from the file it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
