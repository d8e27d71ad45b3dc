"""Answers for examples: what a finished model predicts, and the files of it.

`predictor` turns examples into answers, in batches of few shapes (`batches`), by one
compiled function (`programs`). `stream` runs over a source and keeps the order of its
examples; `part` writes the answers so that a kill loses little; `formats` are the ways
to write them; `model` is what `slimjax.load` returns.

    model = load("runs/demo")
    model.predict(["a text", {"text": "another", "id": 7}])
    model.vectors(["a text"])  # [1 D]
"""

from typing import TYPE_CHECKING

from slimjax.lazy import exports

if TYPE_CHECKING:
    from slimjax.predict.model import Model as Model
    from slimjax.predict.model import load as load
    from slimjax.predict.predictor import Predictor as Predictor
    from slimjax.predict.predictor import open_predictor as open_predictor

__getattr__ = exports(
    __name__,
    {
        "Model": "model",
        "Predictor": "predictor",
        "load": "model",
        "open_predictor": "predictor",
    },
)
