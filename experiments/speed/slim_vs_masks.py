"""A run that gets faster as it shrinks, against the same run with masks.

Run: python experiments/speed/slim_vs_masks.py [--workdir=runs/slim_vs_masks] [--json]
         [--steps=700] [--tiny]

The model of step.py, on the standard library of Python, goes to 40 % of its weights by
`exchange` in three seams. `slim` cuts at each seam. `masks` closes the same units at
the same steps, so that both are one function up to rounding, but keeps its shape and is
cut once, after the last step; at the seams it measures and decides as well, at its own
size. The time is that of a whole run in a process of its own, compiling included and
nothing compiled before, data apart. Killed and started again, it goes on where it was;
the time before is counted, with what was compiled twice. --tiny tries all of it on a
model of no interest.
"""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from paired import make_parser, write
from step import LENGTH, SHAPE

ARMS = ("slim", "masks")
BUDGET = "40%"
WHOLE = SHAPE | {"length": LENGTH}
TINY = dict(width=64, layers=2, heads=4, head_dim=16, hidden=512, length=64)


def main() -> None:
    parser = make_parser("A slim run against the same run with masks", rounds=1)
    parser.add_argument("--workdir", type=Path, default=Path("runs/slim_vs_masks"))
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--arm", choices=ARMS)
    flags = parser.parse_args()
    config = make_config(flags.steps, TINY if flags.tiny else WHOLE)
    if flags.arm:
        return run_arm(flags.arm, config, flags.workdir)
    from slimjax.tasks.lm import load
    from slimjax.train.config import make_run_config

    load(make_run_config(config).data)  # Kept for both.
    reports = {arm: run_alone(arm, flags.workdir) for arm in ARMS}
    slim, masks = (describe(reports[arm]) for arm in ARMS)
    seconds, bits = "seconds", "test_bits_per_byte"
    result = {
        "steps": flags.steps,
        "slim": slim,
        "masks": masks,
        "part_of_the_time": slim[seconds] / masks[seconds],
        "bits_per_byte_ratio": slim[bits] / masks[bits],
    }
    name = "slim_vs_masks"
    write(f"{name}_tiny" if flags.tiny else name, result, as_json=flags.json)


def make_config(steps: int, shape: dict[str, int]) -> dict[str, Any]:
    """Returns the recipe: seams between an eighth and a quarter of the steps."""
    seams = dict(first_step=steps // 8, every_steps=steps // 16, max_seams=3)
    limits = dict(units=("kv_heads", "mlp"), min_kv_heads=1, min_mlp_dim=32)
    splits = dict(valid_fraction=0.01, test_fraction=0.01)
    data = dict(
        source="stdlib",
        tokenizer="sentencepiece",
        vocab_size=2048 if shape is WHOLE else 300,
    )
    return dict(
        data=data | splits | dict(seq_len=shape["length"], batch_size=16),
        model=dict(
            width=shape["width"],
            num_layers=shape["layers"],
            num_heads=shape["heads"],
            head_dim=shape["head_dim"],
            mlp_dim=shape["hidden"],
            dtype="bfloat16",
        ),
        objective=dict(strategy="exchange", size="params", budget=BUDGET),
        optim=dict(learning_rate=3e-3, warmup_steps=steps // 20, decay="linear"),
        resize=dict(**seams, **limits, multiple=32),
        train=dict(num_steps=steps, eval_every_steps=0, save_every_steps=steps // 4),
    )


def run_alone(arm: str, workdir: Path) -> dict[str, Any]:
    """Runs one arm in a process that finds nothing compiled; returns its report."""
    env = os.environ | {"SLIMJAX_COMPILATION_CACHE": "0"}
    subprocess.run([sys.executable, *sys.argv, f"--arm={arm}"], env=env, check=True)
    return json.loads((workdir / arm / "report.json").read_text())


def run_arm(arm: str, config: dict[str, Any], workdir: Path) -> None:
    from slimjax import fit
    from slimjax.run import loop
    from slimjax.train import seam

    if arm == "slim":
        seam.cut_state = remember_cuts(seam.cut_state, workdir)
    else:
        loop.take_seam = mask_instead(workdir)
        loop.Loop = cut_at_the_end(loop.Loop)
    fit(config, workdir / arm)


def remember_cuts(cut_state: Any, workdir: Path) -> Any:
    """Returns `cut_state` that also writes down which units stay at which step."""

    def cut(stage, state, closed, plan, *bits, **options):
        path = workdir / f"open-{int(state.step)}.npz"
        np.savez(
            path, **{"/".join(gate): units for gate, units in plan.is_open.items()}
        )
        return cut_state(stage, state, closed, plan, *bits, **options)

    return cut


def mask_instead(workdir: Path) -> Any:
    """Returns a `take_seam` that closes what the slim run cut, and keeps the shape."""
    from slimjax.train.decide import decide
    from slimjax.train.probe import Probe

    def take_seam(stage, state, make_batch, history):
        probe = Probe(stage, state.variables, make_batch(0))
        before = probe({})
        decision = decide(stage, state, probe, history)
        gates = close_units(state, workdir)
        params = {**state.params, **stage.place({"gates": gates})}
        state = dataclasses.replace(state, params=params)
        change = Probe(stage, state.variables, make_batch(0))({}) - before
        return (
            stage,
            state,
            {
                "taken": False,
                "reason": "masks",
                "step": int(state.step),
                "alpha": decision.alpha,
                "next_calibration": history.calibration,
                "predicted_loss_change": None,
                "true_loss_change": change,
                "flops_spent": probe.flops,
                "params_before": stage.blueprint.sizes["params"],
                "params_after": stage.blueprint.sizes["params"],
            },
        )

    return take_seam


def close_units(state: Any, workdir: Path) -> Any:
    """Returns the gates of the whole model with all closed that the slim run cut."""
    from slimjax.strategies.base import host_gates
    from slimjax.trees import unflatten

    gates = host_gates(state.params["gates"])
    with np.load(workdir / f"open-{int(state.step)}.npz") as units_by_gate:
        for name, is_open in units_by_gate.items():
            gate = gates[tuple(name.split("/"))]
            left = np.flatnonzero(gate) if gate.ndim else ...
            gate[left] *= is_open
    return unflatten({path: np.float32(gate) for path, gate in gates.items()})


def cut_at_the_end(whole: Any) -> Any:
    """Returns the loop with one cut between its last step and its report."""
    from slimjax.resize import make_plan
    from slimjax.run.resume import record_of
    from slimjax.strategies.base import host_gates
    from slimjax.train.cutting import cut_state

    class MaskedLoop(whole):
        def finish(self):
            gates = host_gates(self.state.params["gates"])
            self.stage, self.state = cut_state(
                self.stage, self.state, gates, make_plan(gates)
            )
            self.history.stages.append(record_of(self.stage.blueprint, self.step))
            return super().finish()

    return MaskedLoop


def describe(report: dict[str, Any]) -> dict[str, Any]:
    train, stages = report["train"], report["stages"]
    return {
        "seconds": train["seconds"],
        "compile_seconds": train["compile_seconds"],
        "restarts": train["restarts"],
        "params_fraction": report["size"]["params_fraction"],
        "test_bits_per_byte": report["error"]["test_bits_per_byte"],
        "step_ms": [round(1e3 * s["step_time_s"]) for s in stages if s["num_steps"]],
    }


if __name__ == "__main__":
    main()
