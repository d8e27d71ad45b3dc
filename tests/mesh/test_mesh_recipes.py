"""Law 6 for models that are no decoders: runs on eight devices go the way of one."""

import json

import numpy as np
import pytest

from slimjax import fit
from slimjax.config import override, read_config
from slimjax.store.run_folder import RunFolder

SMALL = [("model.width", "16"), ("model.num_heads", "4"), ("model.num_layers", "2")]
SMALL += [("model.mlp_dim", "32"), ("data.tokenizer", "bytes"), ("data.seq_len", "12")]
SMALL += [("data.batch_size", "8"), ("model.dropout", "0"), ("train.num_steps", "24")]
SMALL += [("train.eval_every_steps", "8"), ("resize.multiple", "2")]
SMALL += [("resize.first_step", "8"), ("resize.every_steps", "8")]
SMALL += [("objective.strategy", "exchange"), ("objective.size", "params")]
SMALL += [("objective.budget", "60%"), ("quantize.bits", "[16]")]
SMALL += [("resize.max_seams", "2"), ("resize.kv_heads_multiple", "2")]
SMALL += [("optim.warmup_steps", "4"), ("data.source_vocab_size", "0")]
MESH = [("mesh.data", "2"), ("mesh.fsdp", "2"), ("mesh.model", "2")]
FLOAT32 = ("model.dtype", "float32")
MOST = ("objective.budget", "95%")  # Most weights read bytes, and must stay.
ADAPTERS = '{"width": 4, "skip": 0.1}'
CASES = {
    "classification": ("classification", []),
    "seq2seq": ("seq2seq", []),
    # States add up what rounding differs in: float32.
    "recurrent": ("classification", [("model.cell", "gru"), FLOAT32]),
    # Costs of adapters, which begin at zero, differ little: float32.
    "adapters": ("domains", [("model.adapters", ADAPTERS), FLOAT32]),
    "characters": ("classification", [("model.stem", "characters"), FLOAT32, MOST]),
}
WORDS = ["north", "south", "east", "west", "up", "down", "left", "right"]


def write_examples(path, task: str) -> None:
    """Writes texts of two or three words, their first word as label, and reversed."""
    lines = []
    for i in range(160):
        words = [WORDS[i % 8], WORDS[i // 8 % 8]]
        text = f"{i} {' '.join(words)}"
        target = {"label": words[0][:1]}
        if task == "seq2seq":
            text, target = text[:11], {"target": text[:11][::-1]}
        lines.append({"text" if task != "seq2seq" else "source": text} | target)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def fit_both(name, folder, *changes):
    """Returns the reports of the same run on one device and on eight."""
    task, own = CASES[name]
    path = folder / "examples.jsonl"
    write_examples(path, task)
    sources = [("data.source", f"jsonl:{path}")]
    if task == "domains":
        domains = {"plain": f"jsonl:{path}", "other": f"jsonl:{path}"}
        sources = [("data.domains", json.dumps(domains))]
    changes = [*SMALL, *sources, *own, *changes]
    reports = []
    for name, mesh in (("one", [("mesh.data", "1")]), ("eight", MESH)):
        config = override(read_config(f"configs/{task}.py"), [*changes, *mesh])
        reports.append(fit(config, folder / name, quiet=True))
    return reports


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_losses_of_eight_devices_are_those_of_one(name, tmp_path):
    dense = [("objective.strategy", "none"), ("objective.budget", ""), FLOAT32]
    dense += [("train.num_steps", "50"), ("train.log_every_steps", "1")]
    fit_both(name, tmp_path, *dense)
    one, eight = (
        [line["loss"] for line in RunFolder(tmp_path / folder).metrics.read()]
        for folder in ("one", "eight")
    )
    assert len(one) == 50
    np.testing.assert_allclose(eight, one, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_eight_devices_go_the_way_of_one(name, tmp_path):
    one, eight = fit_both(name, tmp_path)
    assert len(one["stages"]) == 3
    for key in ("architecture", "params"):
        assert [s[key] for s in one["stages"]] == [s[key] for s in eight["stages"]]
    expected = one["error"]["valid_nats_per_target"]
    assert eight["error"]["valid_nats_per_target"] == pytest.approx(expected, rel=1e-4)
