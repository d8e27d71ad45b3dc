"""The choices that layers have, by name; no jax is loaded to know them."""

IMPLEMENTATIONS = ("auto", "reference", "blocked", "native", "cudnn", "splash")
"""The ways to compute attention."""

NORMS = ("rms", "layer")
"""The kinds of normalisation."""

IMAGE_NORMS = (*NORMS, "group", "none")
"""The kinds of normalisation of filters; group is over all places of a picture too."""

IMAGE_POOLS = ("max", "mean")
"""The ways to make one place of a square of them."""

ACTIVATIONS = (
    *("silu", "gelu", "gelu_tanh", "relu", "relu2", "sigmoid", "tanh", "none"),
)
"""The activations of hidden units; gelu is exact, gelu_tanh its approximation."""

CELLS = ("rnn", "gru", "lstm")
"""The kinds of recurrent layers."""

PARTS = {"rnn": 1, "gru": 3, "lstm": 4}
"""Numbers that are computed for each unit in a step."""

STATES = {"rnn": ("h",), "gru": ("h",), "lstm": ("h", "c")}
"""Names of what is carried."""

POOLS = ("first", "mean", "max")
"""The ways to make one vector of a row."""
