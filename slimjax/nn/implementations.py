"""The choices that layers have, by name; no jax is loaded to know them."""

IMPLEMENTATIONS = ("auto", "reference", "blocked", "native", "cudnn", "splash")
"""The ways to compute attention."""

NORMS = ("rms", "layer")
"""The kinds of normalisation."""

ACTIVATIONS = (
    *("silu", "gelu", "gelu_tanh", "relu", "relu2", "sigmoid", "tanh", "none"),
)
"""The activations of hidden units; gelu is exact, gelu_tanh its approximation."""

POOLS = ("first", "mean", "max")
"""The ways to make one vector of a row."""
