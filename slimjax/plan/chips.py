"""What TPU chips can do, from their data sheets; this loads no jax."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Chip:
    """One kind of chip.

    Attributes:
        tflops: Peak of products with bfloat16 operands, in TFLOP/s.
        hbm_gib: Memory that a program may use, in GiB: what libtpu's compiler allows,
            which is a little less than what is built in.
        hbm_gb_s: Bandwidth of that memory, in GB/s.
        ici_gb_s: What a chip can send to its neighbours, all links together and one
            way, in GB/s: half of the bidirectional bandwidth.
        num_axes: Axes of the torus in which the chips stand.
        most_chips: Chips in the largest slice.
        config: Libtpu's name for the way in which the cores of a chip cooperate;
            each chip is then one device. Empty for its default.
        source: Where the numbers are from.
    """

    tflops: float
    hbm_gib: float
    hbm_gb_s: float
    ici_gb_s: float
    num_axes: int
    most_chips: int
    config: str = ""
    source: str = ""


DOCS = "https://docs.cloud.google.com/tpu/docs"

CHIPS = {
    "v4": Chip(
        *(275, 30.5, 1200, 300, 3, 4096),
        config="megacore",
        source=f"{DOCS}/v4; Jouppi et al., 2023",
    ),
    "v5e": Chip(197, 15.75, 819, 200, 2, 256, source=f"{DOCS}/v5e"),
    "v5p": Chip(459, 95.74, 2765, 600, 3, 6144, source=f"{DOCS}/v5p"),
    "v6e": Chip(918, 31.25, 1638, 400, 2, 256, source=f"{DOCS}/v6e"),
}
"""Chips by the name that a topology starts with.

References:
    Jouppi et al., "TPU v4", 2023, table 4 (six links of 50 GB/s each way).
"""
