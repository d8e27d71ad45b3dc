"""MaxText's own train step for the shape of configs/llama_1b.py, read as our plans are.

Run from the root of this repository by a Python of 3.12 or later that has what
``maxtext.txt`` lists:

    JAX_PLATFORMS=cpu python -m experiments.plan.beside_maxtext

It is compiled by MaxText's `train_compile`, for the same slice, tokens a step and
policies: weights and moments in float32 over all chips, products in bfloat16, splash
attention, layers computed again in the backward pass. Only the reading is ours.
"""

import json
import os
import resource
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from slimjax.plan.chips import CHIPS
from slimjax.plan.collectives import count_collectives
from slimjax.plan.hlo import Program
from slimjax.plan.roofline import make_roofline
from slimjax.plan.topology import SETTINGS
from slimjax.plan.work import count_work

RESULT = Path(__file__).parent / "maxtext-1b-v5e.json"
CHIP, NUM_CHIPS = CHIPS["v5e"], 16
SHAPE = dict(
    decoder_block="llama2",
    base_emb_dim=2048,
    base_num_decoder_layers=16,
    base_num_query_heads=32,
    base_num_kv_heads=8,
    head_dim=64,
    base_mlp_dim=8192,
    vocab_size=128_256,
    logits_via_embedding=True,
    rope_max_timescale=500_000,
    max_target_length=8192,
    per_device_batch_size=2,
)
HOW = dict(
    compile_topology="v5e-16",
    compile_topology_num_slices=1,
    ici_fsdp_parallelism=NUM_CHIPS,
    attention="flash",
    remat_policy="full",
    run_name="plan",
    base_output_directory="/dev/null",
    enable_checkpointing=False,
    dataset_type="synthetic",
)


def main() -> None:
    os.environ.update(SETTINGS)
    train_compile: Any = import_module("maxtext.trainers.pre_train.train_compile")
    configs = import_module("maxtext.configs")
    found: dict[str, Any] = {}
    compile_step = train_compile.jit_and_compile

    def compile_and_keep(*args: Any) -> Any:
        found["compiled"] = compile_step(*args)
        return found["compiled"]

    train_compile.jit_and_compile = compile_and_keep
    base = Path(configs.__path__[0]) / "base.yml"
    settings = [f"{key}={value}" for key, value in (SHAPE | HOW).items()]
    start = time.perf_counter()
    train_compile.main(["", str(base), *settings])
    plan = {"settings": SHAPE | HOW, "compile_seconds": time.perf_counter() - start}
    used = resource.getrusage(resource.RUSAGE_SELF)
    plan |= {"compile_cpu_seconds": used.ru_utime + used.ru_stime}
    plan |= read_step(found["compiled"])
    RESULT.write_text(json.dumps(plan, indent=1) + "\n", encoding="utf-8")


def read_step(compiled: Any) -> dict[str, Any]:
    """Returns what `slimjax.plan.measure` reads of our own steps."""
    program, memory = Program(compiled.as_text()), compiled.memory_analysis()
    work, collectives = count_work(program), count_collectives(program, NUM_CHIPS)
    flops = work.product_flops + work.kernel_flops
    sent = sum(kind["bytes"] for kind in collectives.values())
    line = make_roofline(CHIP, flops=flops, hbm_bytes=work.hbm_bytes, ici_bytes=sent)
    told = (compiled.cost_analysis() or {}).get("optimal_seconds")
    return {
        "hbm": {
            "arguments": memory.argument_size_in_bytes,
            "temporaries": memory.temp_size_in_bytes,
        },
        "collectives": collectives,
        "work": vars(work),
        "flops_executed": flops * NUM_CHIPS,
        "roofline": vars(line),
        "compiler_seconds": told,
    }


if __name__ == "__main__":
    main()
