"""Text from a model: `load` opens one, `decode` runs it with a KV cache."""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.generate.decode import generate as generate
    from slimjax.generate.model import Model as Model
    from slimjax.generate.model import load as load
    from slimjax.generate.sampling import Sampling as Sampling
    from slimjax.generate.sampling import sample as sample

__getattr__ = exports(
    __name__,
    {
        "Model": "model",
        "Sampling": "sampling",
        "generate": "decode",
        "load": "model",
        "sample": "sampling",
    },
)
