"""No unit is removed: plain training, the dense baseline."""

import optax

from slimjax.strategies.base import Strategy

STRATEGY = Strategy(make_gate_tx=lambda _: optax.set_to_zero())
