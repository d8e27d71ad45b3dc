"""One step, compiled for a slice of chips that is not here, and measured."""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import jax

from slimjax.errors import ConfigError
from slimjax.memory import describe
from slimjax.plan.collectives import count_collectives
from slimjax.plan.hlo import Program
from slimjax.plan.memory import (
    GIB,
    Memory,
    count_saving,
    count_state,
    read_memory,
    read_shortage,
)
from slimjax.plan.roofline import flops_utilization, make_roofline
from slimjax.plan.topology import Topology
from slimjax.plan.work import count_work
from slimjax.train.stage import Stage

TRAINING = 3
"""FLOPs of a training step for each of the forward pass, nothing computed twice."""


def measure_step(stage: Stage, topology: Topology) -> dict[str, Any]:
    """Returns the plan of a stage's train step, as plain data.

    Bytes and FLOPs of ``device`` and below are those of one device, a chip of most
    kinds. No array is ever made.

    Args:
        stage: The stage, on a mesh of the slice's described devices.
        topology: The slice.
    """
    counted = describe_shape(stage) | {"state_bytes": count_state(stage)}
    counted |= {"saving_bytes": count_saving(stage)}
    compile_step = lambda: stage.programs.train_step
    return measure_program(compile_step, counted, topology, stage.mesh.size)


def measure_program(
    compile_program: Callable[[], Any],
    counted: dict[str, Any],
    topology: Topology,
    num_devices: int,
) -> dict[str, Any]:
    """Returns what is known of a program in advance, and what its compiler reports.

    Args:
        compile_program: Returns the compiled program.
        counted: What is known: ``state_bytes``, ``tokens`` and ``flops`` at least.
        topology: The slice.
        num_devices: Its devices.
    """
    capacity = topology.chip.hbm_gib * GIB
    start, cpu_start = time.perf_counter(), time.process_time()
    try:
        compiled = compile_program()
    except jax.errors.JaxRuntimeError as error:
        wanted = read_shortage(str(error))
        if wanted is None:
            raise ConfigError(
                f"--topology={topology}: libtpu cannot compile this: {describe(error)}"
            ) from error
        return counted | describe_shortage(counted, wanted, capacity)
    memory = read_memory(compiled, capacity)
    plan = counted | {"hbm": describe_memory(memory), "fits": memory.fits}
    plan |= {"compile_seconds": time.perf_counter() - start}
    plan |= {"compile_cpu_seconds": time.process_time() - cpu_start}
    return plan | measure_time(compiled, plan, topology, num_devices)


def describe_shape(stage: Stage) -> dict[str, Any]:
    """Returns a stage's sizes by our own walk, and what a step of it needs."""
    layer, targets = stage.blueprint.model.layers[0], stage.blueprint.targets_per_step
    leaves = jax.tree.leaves(stage.blueprint.abstract_params["params"])
    return {
        "layer": dataclasses.asdict(layer) | {"width": stage.blueprint.model.width},
        "num_layers": len(stage.blueprint.model.layers),
        "remat": stage.blueprint.model.remat,
        "params": int(stage.blueprint.sizes["params"]),
        "params_counted": sum(math.prod(leaf.shape) for leaf in leaves),
        "sizes": dict(stage.blueprint.sizes),
        "tokens": stage.blueprint.positions_per_step,
        "flops": TRAINING * stage.blueprint.sizes["flops"] * targets,
    }


def describe_memory(memory: Memory) -> dict[str, Any]:
    """Returns the memory of a program as plain data."""
    return dataclasses.asdict(memory) | {"total": memory.total}


def describe_shortage(
    counted: dict[str, Any], wanted: float, capacity: float
) -> dict[str, Any]:
    """Returns what is known of a program that the compiler refused for its memory."""
    own = sum(kind["device"] for kind in counted["state_bytes"].values())
    wanted = max(wanted, own)
    hbm = {"arguments": own, "temporaries": wanted - own, "total": wanted}
    return {"hbm": hbm | {"capacity": capacity}, "fits": False}


def measure_time(
    compiled: Any, plan: dict[str, Any], topology: Topology, num_devices: int
) -> dict[str, Any]:
    """Returns what a program sends and computes, and the time that takes at least."""
    program = Program(compiled.as_text())
    collectives, work = count_collectives(program, num_devices), count_work(program)
    executed = work.product_flops + work.kernel_flops
    roofline = make_roofline(
        topology.chip,
        flops=executed,
        hbm_bytes=work.hbm_bytes,
        ici_bytes=sum(kind["bytes"] for kind in collectives.values()),
    )
    seconds = float((compiled.cost_analysis() or {}).get("optimal_seconds", 0.0))
    bound = flops_utilization(
        topology.chip,
        model_flops=plan["flops"],
        num_devices=num_devices,
        seconds=roofline.seconds,
    )
    return {
        "collectives": collectives,
        "work": dataclasses.asdict(work),
        "flops_executed": executed * num_devices,
        "roofline": dataclasses.asdict(roofline)
        | {"seconds": roofline.seconds, "bound": roofline.bound},
        "mfu_bound": bound,
        "tokens_per_s_bound": plan["tokens"] / roofline.seconds,
        "compiler_seconds": seconds if seconds > 0 else None,
    }
