"""Whether a change of the code leaves four small runs as they were, to the bit.

Each run trains a few steps and cuts. Kept of it are ``state_hash``, which is over every
array of the last state, and the optimised train step of each stage, without the places
in the source that its instructions come from. Both depend on the machine, so the record
of one commit is compared with another on the same machine:

    python experiments/equality/guard.py --record=before.json     # at the old commit
    python experiments/equality/guard.py --compare=before.json    # at the new one
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BITS = [
    "--config.objective.size=bytes",
    "--config.objective.budget=30%",
    "--config.quantize.bits=[16,8,4,2]",
]
RUNS = {
    "tiny": [],
    "bits": BITS,
    "teacher": ["--config.distill.teacher=start"],
    "loops": ["--config.model.scan_layers=true", "--config.model.num_layers=5"],
}
"""Flags beside ``--config=configs/tiny_test.py``, by the name of the run."""


def observe(name: str, flags: list[str]) -> dict[str, Any]:
    """Returns the hash of a run's last state, and those of its train steps."""
    with tempfile.TemporaryDirectory() as folder:
        dump = Path(folder) / "programs"
        run = Path(folder) / name
        xla = f"--xla_dump_to={dump} --xla_dump_hlo_module_re=.*_step.*"
        settings = {
            "XLA_FLAGS": f"{xla} --xla_dump_hlo_as_text",
            "SLIMJAX_COMPILATION_CACHE": "0",
            "JAX_PLATFORMS": "cpu",
            "NPROC": "1",
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-m", "slimjax", "train"]
        command += ["--config=configs/tiny_test.py", f"--workdir={run}", *flags]
        subprocess.run(
            command,
            env=os.environ | settings,
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        report = json.loads((run / "report.json").read_text())
        programs = sorted(dump.glob("*cpu_after_optimizations.txt"))
        return {
            "state_hash": report["state_hash"],
            "steps": [hash_program(path.read_text()) for path in programs],
        }


def hash_program(text: str) -> str:
    """Returns a name for a program's instructions and how many there are."""
    text = re.sub(r"(, )?metadata=\{[^}]*\}", "", text)
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line.startswith(("%", "ROOT", "ENTRY"))]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    return f"{digest} ({len(lines)} instructions)"


def is_same(now: dict[str, Any], before: dict[str, Any] | None) -> bool:
    """Whether state and steps are as before; those of a later timing do not count."""
    if before is None or now["state_hash"] != before["state_hash"]:
        return False
    return now["steps"][: len(before["steps"])] == before["steps"]


def main() -> int:
    """Records or compares; the exit code is 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--compare", type=Path)
    parser.add_argument("--only", choices=RUNS)
    args = parser.parse_args()
    names = [args.only] if args.only else list(RUNS)
    found = {name: observe(name, RUNS[name]) for name in names}
    if args.record:
        args.record.write_text(json.dumps(found, indent=1))
        return 0
    before = json.loads(args.compare.read_text()) if args.compare else {}
    different = [n for n in found if not is_same(found[n], before.get(n))]
    for name in found:
        print(name, "differs" if name in different else "is the same")
        if name in different:
            print(json.dumps({"before": before.get(name), "now": found[name]}))
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
