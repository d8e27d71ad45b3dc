"""What is removed at a price or within budgets, and how many bits the rest keeps.

`units` lists what can be removed, as far as `limits` allow it; `bits` has the prices of
bits. A `ledger` holds what each unit costs and saves, `chooser` decides at one width of
the residual streams, `fill` uses up what is left of a budget and `swap` exchanges units
where that is not enough; `width` searches over widths, and `kinds` keeps a seam from
taking too much of one kind of sublayer.
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.budget.bits import BitCosts as BitCosts
    from slimjax.budget.bits import BitPrices as BitPrices
    from slimjax.budget.chooser import Chooser as Chooser
    from slimjax.budget.decision import Decision as Decision
    from slimjax.budget.limits import Limits as Limits
    from slimjax.budget.units import list_units as list_units
    from slimjax.budget.width import WidthChooser as WidthChooser

__getattr__ = exports(
    __name__,
    {
        "BitCosts": "bits",
        "BitPrices": "bits",
        "Chooser": "chooser",
        "Decision": "decision",
        "Limits": "limits",
        "WidthChooser": "width",
        "list_units": "units",
    },
)
