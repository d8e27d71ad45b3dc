"""Texts are the same tokens, and as likely, as in transformers."""

import os
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from foreign_models import TEXTS, save_model, save_tokenizer  # noqa: E402

from slimjax.compress.config import Request  # noqa: E402
from slimjax.compress.errors import measure  # noqa: E402
from slimjax.compress.settings import read_settings  # noqa: E402
from slimjax.compress.texts import read_texts  # noqa: E402
from slimjax.interop.foreign import Foreign  # noqa: E402
from slimjax.interop.hf_reading import read_folder  # noqa: E402
from slimjax.interop.importing import understand  # noqa: E402
from slimjax.interop.run_folders import write_run_folder  # noqa: E402
from slimjax.interop.tokenizers import make_tokenizer  # noqa: E402

pytestmark = pytest.mark.slow

NUM_LINES = 10_000


def lines():
    """Returns lines of code and prose, of Chinese, and of control characters."""
    random = np.random.default_rng(0)
    files = sorted(Path(os.__file__).parent.glob("*.py"))
    text = [line for f in files for line in f.read_text().splitlines(keepends=True)]
    codes = [1, 9, 10, 11, 12, 13, 27, 32, 48, 65, 127, 133, 160, 8232, 0x4E00, 0x1F642]
    drawn = [random.choice(codes, 20) for _ in range(NUM_LINES // 5)]
    chinese = [random.integers(0x4E00, 0x9FFF, 20) for _ in range(NUM_LINES // 5)]
    numbers = random.choice(len(text), NUM_LINES * 3 // 5, replace=False)
    made = ["".join(map(chr, row.tolist())) for row in (*drawn, *chinese)]
    return [text[i] for i in numbers] + made


@pytest.mark.parametrize("kind", ["llama", "bert", "roberta", "t5"])
def test_tokens_are_those_of_transformers(tmp_path, kind):
    size = save_tokenizer(tmp_path, kind)
    names = ("tokenizer.json", "tokenizer_config.json")
    files = {name: (tmp_path / name).read_bytes() for name in names}
    ours = make_tokenizer(Foreign({"model_type": kind}, {}, files), size)
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "tokenizer.json")
    )
    texts = lines()
    assert len(texts) == NUM_LINES
    expected = theirs(texts, add_special_tokens=False)["input_ids"]
    for text, own, ids in zip(texts, ours.encode_batch(texts), expected, strict=True):
        assert own.tolist() == ids, repr(text)


@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2"])
def test_perplexities_are_those_of_transformers(tmp_path, name):
    theirs = save_model(tmp_path / "theirs", name)
    imported = understand(read_folder(tmp_path / "theirs"), str(tmp_path / "ours"))
    write_run_folder(imported, tmp_path / "ours", "hf")
    text = "\n\n".join(f"{line} {i}" for i, line in enumerate(TEXTS * 20))
    (tmp_path / "text.txt").write_text(text)
    data = f"text:{tmp_path}/text.txt"
    settings = (("data.seq_len", "32"), ("data.valid_fraction", "0.2"))
    request = Request(
        *(str(tmp_path / "ours"), data, str(tmp_path / "slim"), ("90%",)),
        size="params",
        overrides=settings,
    )
    found = read_settings(request)
    rows = read_texts(request, found)[data].rows
    assert len(rows.inputs) == 1  # Nothing stands before the first token.
    own = measure(found.model.config, found.model.params, rows).perplexity
    tokens = torch.tensor(rows.inputs["tokens"]).long()
    with torch.no_grad():
        logits = theirs(tokens).logits
    targets = torch.tensor(rows.targets).long().reshape(-1)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets)
    assert own == pytest.approx(float(torch.exp(loss)), rel=1e-3)
