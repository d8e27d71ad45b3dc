"""A run on a TPU pod, planned without one: memory, traffic and time of its step.

`make_plan` compiles the very train step of a config for a slice of described chips,
with libtpu's compiler, and reads from the result what each chip holds (`memory`), sends
(`collectives`) and computes (`work`), and by the chips' data sheet (`chips`) how long
that takes at least (`roofline`). Call `prepare_libtpu` before jax is imported.
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.plan.chips import CHIPS as CHIPS
    from slimjax.plan.plan import make_plan as make_plan
    from slimjax.plan.plan import parse_mesh as parse_mesh
    from slimjax.plan.slimmed import parse_part as parse_part
    from slimjax.plan.table import print_plan as print_plan
    from slimjax.plan.topology import parse_topology as parse_topology
    from slimjax.plan.topology import prepare_libtpu as prepare_libtpu

__getattr__ = exports(
    __name__,
    {
        "CHIPS": "chips",
        "make_plan": "plan",
        "parse_mesh": "plan",
        "parse_part": "slimmed",
        "parse_topology": "topology",
        "prepare_libtpu": "topology",
        "print_plan": "table",
    },
)
