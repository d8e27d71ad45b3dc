"""The plan of a run on a slice of chips: its step, that after a cut, and decoding."""

import dataclasses
from typing import Any

from jax.sharding import Mesh

from slimjax.errors import ConfigError, suggest
from slimjax.memory import describe
from slimjax.mesh.mesh import AXES, make_mesh
from slimjax.plan.advice import explain, suggest_changes, suggest_rows
from slimjax.plan.decode import measure_decode
from slimjax.plan.measure import measure_step
from slimjax.plan.slimmed import slim_uniformly
from slimjax.plan.topology import Topology, describe_devices
from slimjax.run.blueprints import expected_blueprint
from slimjax.run.init_shape import take_shape
from slimjax.train.config import RunConfig
from slimjax.train.stage import Stage, make_stage


def parse_mesh(text: str) -> dict[str, int]:
    """Returns sizes of all axes of a mesh, from some: ``fsdp:64,model:8``.

    Raises:
        ConfigError: If an axis is unknown or a size is not a number.

    Examples:
        >>> parse_mesh("fsdp:64,model:8")
        {'data': 1, 'fsdp': 64, 'model': 8, 'context': 1}
    """
    sizes: dict[str, int] = dict.fromkeys(AXES, 1)
    for part in text.split(","):
        axis, _, size = part.strip().partition(":")
        if axis not in sizes:
            raise ConfigError(f"--mesh={text}: no axis {axis!r}. {suggest(axis, AXES)}")
        if not size.removeprefix("-").isdigit():
            raise ConfigError(f"--mesh={text}: {axis} wants a size, as {axis}:8.")
        sizes[axis] = int(size)
    return sizes


def make_plan(
    run: RunConfig,
    topology: Topology,
    part: float | None = None,
    decode_rows: int | None = None,
) -> dict[str, Any]:
    """Returns the plan of a run as plain data, by step.

    Steps are ``start`` and maybe ``slimmed``, ``decode`` and ``decode_slimmed``.

    Args:
        run: The checked config.
        topology: The slice.
        part: The part of its size to which the model is cut for the second step.
        decode_rows: Rows for which each model also makes a token.

    Raises:
        ConfigError: If the slice does not exist, or the mesh cannot divide the model
            or the rows.
        NotFeasibleError: If the model cannot be cut so far.
    """
    run = take_shape(run)
    mesh = _lay_out(run, topology)
    blueprint = expected_blueprint(run)
    stage = make_stage(blueprint, mesh)
    plan: dict[str, Any] = {
        "topology": str(topology),
        "num_chips": topology.num_chips,
        "num_devices": mesh.size,
        "chip": dataclasses.asdict(topology.chip),
        "mesh": {axis: size for axis, size in mesh.shape.items() if size > 1},
    }
    plan["start"] = measure_step(stage, topology)
    if not plan["start"]["fits"]:
        plan |= {"advice": _advise(stage, topology, plan)}
        plan |= {"reason": explain(plan["start"], str(topology))}
    if decode_rows is not None:
        decode = plan["decode"] = measure_decode(stage, topology, decode_rows)
        if plan["start"]["fits"] and not decode["fits"]:
            plan |= {"advice": suggest_rows(decode, plan["mesh"])}
            plan |= {"reason": f"of decoding {explain(decode, str(topology))}"}
    if part is not None:
        slim, predicted = slim_uniformly(blueprint, part)
        sizes = blueprint.start_sizes
        after = dataclasses.replace(blueprint, model=slim, given_start_sizes=sizes)
        small = make_stage(after, mesh)
        plan["slimmed"] = measure_step(small, topology) | {"predicted": predicted}
        if decode_rows is not None:
            plan["decode_slimmed"] = measure_decode(small, topology, decode_rows)
    return plan


def _lay_out(run: RunConfig, topology: Topology) -> Mesh:
    """Returns the run's mesh on the devices of a slice.

    Raises:
        ConfigError: If libtpu knows no such slice, or the mesh does not fit its grid.
    """
    devices = describe_devices(topology)
    try:
        return make_mesh(run.mesh, devices)
    except (AssertionError, NotImplementedError, ValueError) as error:
        raise ConfigError(
            f"--topology={topology}: config.mesh cannot be laid out on these chips: "
            f"{describe(error)} Take all of them, or a slice of the size of the mesh."
        ) from error


def _advise(stage: Stage, topology: Topology, plan: dict[str, Any]) -> list[str]:
    def try_remat(policy: str) -> bool:
        model = dataclasses.replace(stage.blueprint.model, remat=policy)
        other = dataclasses.replace(stage.blueprint, model=model)
        return measure_step(make_stage(other, stage.mesh), topology)["fits"]

    batch_size = stage.blueprint.run.data.batch_size
    return suggest_changes(plan["start"], plan["mesh"], batch_size, try_remat)
