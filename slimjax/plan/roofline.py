"""The least time that a step can take: what it does, over what the chips can do."""

import dataclasses

from slimjax.plan.chips import Chip


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Seconds for each resource of one device, if each were used without a pause.

    Attributes:
        compute_s: Matrix products and kernels at the peak rate.
        hbm_s: Bytes of the main memory at its bandwidth.
        ici_s: Bytes between chips, with all links busy.
    """

    compute_s: float
    hbm_s: float
    ici_s: float

    @property
    def seconds(self) -> float:
        """The least time: everything at once, and the slowest of it."""
        return max(self.compute_s, self.hbm_s, self.ici_s)

    @property
    def bound(self) -> str:
        """What the step waits for."""
        times = dataclasses.asdict(self)
        return max(times, key=lambda name: times[name]).removesuffix("_s")


def make_roofline(
    chip: Chip, *, flops: float, hbm_bytes: float, ici_bytes: float
) -> Roofline:
    """Returns the roofline of one device of a chip.

    Args:
        chip: What the chip can do.
        flops: FLOPs of the device in a step.
        hbm_bytes: Bytes that it moves through its memory.
        ici_bytes: Bytes that it sends to others.

    References:
        Williams et al., "Roofline", 2009.
    """
    return Roofline(
        compute_s=flops / (chip.tflops * 1e12),
        hbm_s=hbm_bytes / (chip.hbm_gb_s * 1e9),
        ici_s=ici_bytes / (chip.ici_gb_s * 1e9),
    )


def flops_utilization(
    chip: Chip, *, model_flops: float, num_devices: int, seconds: float
) -> float:
    """Returns the model FLOPs utilization (MFU): FLOPs a model needs, of the peak.

    References:
        Chowdhery et al., "PaLM", 2022, appendix B.
    """
    peak = chip.tflops * 1e12 * num_devices
    return model_flops / (peak * seconds)
