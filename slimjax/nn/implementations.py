"""The ways to compute attention, by name; no jax is loaded to know them."""

IMPLEMENTATIONS = ("auto", "reference", "blocked", "native", "cudnn", "splash")
