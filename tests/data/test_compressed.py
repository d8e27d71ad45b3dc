"""The compressors get the text of the train rows, and are what they are called."""

import lzma
import shutil
import subprocess

import pytest

from slimjax.data.compressed import compress_train_text, text_of_rows
from slimjax.data.config import DataConfig
from slimjax.data.language import load_language_dataset
from slimjax.text.compressors import count_xz


@pytest.fixture(scope="module")
def corpus(text_folder):
    source = f"text:{text_folder}/*.txt"
    return load_language_dataset(DataConfig(source, tokenizer="bytes", seq_len=64))


def test_the_text_is_that_of_the_rows_without_ends_of_documents(corpus):
    text = text_of_rows(corpus.splits["train"]["tokens"], corpus.tokenizer)
    ends = (corpus.splits["train"]["tokens"] == corpus.tokenizer.eos_id).sum()
    assert len(text) + ends == corpus.splits["train"]["tokens"].size
    assert 0 <= corpus.counts["bytes"]["train"] - len(text) < 64
    assert text.decode()[:50] in "".join(
        corpus.tokenizer.decode(row) for row in corpus.splits["train"]["tokens"][:2]
    )


def test_sizes_are_those_of_the_programs(corpus, tmp_path):
    sizes = compress_train_text(corpus)
    text = text_of_rows(corpus.splits["train"]["tokens"], corpus.tokenizer)
    assert sizes.raw == len(text)
    assert lzma.decompress(lzma.compress(text)) == text
    assert sizes.xz == count_xz(text) < len(text) / 2
    if shutil.which("zstd") is None:
        assert sizes.zstd is None
        return
    (tmp_path / "text").write_bytes(text)
    command = ["zstd", "-19", "--long", "-q", str(tmp_path / "text")]
    subprocess.run(command, check=True)
    assert sizes.zstd == (tmp_path / "text.zst").stat().st_size


def test_without_the_program_zstd_has_no_size(corpus, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert compress_train_text(corpus).zstd is None
