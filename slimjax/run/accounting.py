"""What a run's time went into: steps that count, steps done twice, and the rest."""

import resource
import sys
from pathlib import Path
from typing import Any

import jax

from slimjax.store.run_folder import RunFolder
from slimjax.train.history import History

RESTART, ROLLBACK = "restart", "rollback"

PEAK_FLOPS = {
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5": 459e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA H100 80GB HBM3": 989e12,
}
"""Dense bfloat16 FLOPs a second of one device, as its maker states them."""

MFU_METHOD = (
    "3 x forward FLOPs of the steps (recomputation not counted), by their seconds, by "
    "devices x the maker's bfloat16 peak"
)


def note_return(folder: RunFolder, step: int, saved: Path | None, reason: str) -> None:
    """Writes down that a run goes on from an earlier step, and what that costs.

    Args:
        folder: With the logs as the end of the process before left them.
        step: Where it goes on.
        saved: The checkpoint's folder; None for the very beginning.
        reason: RESTART or ROLLBACK.
    """
    logged = folder.metrics.read()
    last_step = max((entry["step"] for entry in logged), default=step)
    lost = _seconds_between(folder, saved) if reason == RESTART else 0.0
    entry = {"step": step, "reason": reason, "repeated_steps": max(last_step - step, 0)}
    folder.restarts.append(entry | {"lost_seconds": lost})


def _seconds_between(folder: RunFolder, saved: Path | None) -> float:
    """Returns how long the process before lived on after its last save, as logged."""
    began = (saved or folder.config).stat().st_mtime
    signs = [path for path in (folder.metrics.path, folder.seams.path) if path.exists()]
    return max([path.stat().st_mtime - began for path in signs] + [0.0])


def describe_time(
    folder: RunFolder, history: History, tokens_per_step: int
) -> dict[str, Any]:
    """Returns the part of the report's ``train`` on where the time went.

    ``goodput`` is the time of the steps that made the model, compiling apart, by the
    time in which any process worked on the run; times between two processes do not
    count, and of steps that a kill undid, those that were logged do.
    """
    returns = folder.restarts.read()
    lost = sum(entry["lost_seconds"] for entry in returns)
    useful = sum(stage.seconds for stage in history.stages)
    flops = sum(3 * s.flops_per_token * s.num_steps for s in history.stages)
    rate = flops * tokens_per_step / useful if useful else None
    peak = PEAK_FLOPS.get(jax.devices()[0].device_kind)
    mfu = rate / (peak * jax.device_count()) if rate and peak else None
    return {
        "goodput": useful / (history.seconds + lost) if history.seconds else None,
        "step_seconds": useful,
        "lost_seconds": lost,
        "restarts": sum(entry["reason"] == RESTART for entry in returns),
        "rollbacks": history.num_rollbacks,
        "repeated_steps": sum(entry["repeated_steps"] for entry in returns),
        "bad_steps": history.num_bad_steps,
        "flops_per_s": rate,
        "mfu": mfu,
        "mfu_method": MFU_METHOD if mfu else "the device's peak is not known",
        **peak_memory(),
    }


def peak_memory() -> dict[str, int | None]:
    """Returns the most memory that this process held, on the host and on a device."""
    unit = 1 if sys.platform == "darwin" else 1024
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    device = max(one.get("peak_bytes_in_use", 0) for one in stats)
    return {"peak_host_bytes": host, "peak_device_bytes": device or None}
