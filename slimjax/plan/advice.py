"""What can be done about a step that does not fit."""

from collections.abc import Callable
from typing import Any

from slimjax.plan.memory import GIB

STRONGER = {"none": ("dots", "full"), "dots": ("full",), "full": ()}
"""Policies that keep less for the backward pass, the cheaper ones first."""


def explain(plan: dict[str, Any], where: str) -> str:
    """Returns the reason for which a step does not fit, in a sentence.

    Examples:
        >>> hbm = dict(total=3 * GIB, capacity=2 * GIB, arguments=1 * GIB)
        >>> explain({"hbm": hbm}, "v5e:4x4")
        'needs 3.0 GiB of the 2.0 GiB of a device of v5e:4x4, 1.0 of them for the state'
    """
    hbm = {name: size / GIB for name, size in plan["hbm"].items()}
    return (
        f"needs {hbm['total']:.1f} GiB of the {hbm['capacity']:.1f} GiB of a device of "
        f"{where}, {hbm['arguments']:.1f} of them for the state"
    )


def suggest_changes(
    plan: dict[str, Any],
    mesh: dict[str, int],
    batch_size: int,
    try_remat: Callable[[str], bool],
) -> list[str]:
    """Returns settings that make a step smaller, those that were tried first.

    Args:
        plan: The step that does not fit.
        mesh: Sizes of the axes of its mesh.
        batch_size: Rows of its batch.
        try_remat: Compiles the step with a policy, and returns whether it fits.
    """
    for policy in STRONGER[plan["remat"]]:
        if try_remat(policy):
            return [f"set config.model.remat={policy}, with which it fits"]
    hbm, advice = plan["hbm"], []
    rows = mesh.get("data", 1) * mesh.get("fsdp", 1)
    if hbm["arguments"] > hbm["capacity"] / 2:
        if mesh.get("data", 1) > 1:
            advice.append(f"set config.mesh.fsdp={rows} and config.mesh.data=1")
        else:
            advice.append("take more chips, or a smaller model: the state is too large")
    if batch_size > rows:
        advice.append(f"set config.data.batch_size={max(rows, batch_size // 2)}")
    model = 2 * mesh.get("model", 1)
    if hbm["arguments"] < hbm["capacity"] and rows % 2 == 0:
        advice.append(f"set config.mesh.model={model}, with half of the batch")
    if plan["remat"] != "full":
        advice.insert(0, "set config.model.remat=full")
    return advice


def suggest_rows(plan: dict[str, Any], mesh: dict[str, int]) -> list[str]:
    """Returns settings with which a step of decoding takes less memory.

    Args:
        plan: The step that does not fit.
        mesh: Sizes of the axes of its mesh.

    Examples:
        >>> hbm, weights = dict(capacity=4), dict(device=3)
        >>> plan = dict(hbm=hbm, state_bytes=dict(weights=weights), tokens=64)
        >>> suggest_rows(plan, {"fsdp": 8})
        ['set --decode=32', 'set config.mesh.model=2']
    """
    rows, shares = plan["tokens"], mesh.get("data", 1) * mesh.get("fsdp", 1)
    advice = [f"set config.mesh.model={2 * mesh.get('model', 1)}"]
    leaves_room = plan["state_bytes"]["weights"]["device"] < plan["hbm"]["capacity"]
    if leaves_room and rows > shares:
        half = max(rows // 2 // shares, 1) * shares
        advice.insert(0, f"set --decode={half}")
    return advice
