"""Each task that answers: a short run, then predictions without targets."""

import json

import numpy as np
import pytest

from slimjax.cli.main import main
from slimjax.config import override, read_config
from slimjax.predict.model import load
from slimjax.run.progress import Display
from slimjax.run.start import train
from slimjax.train.config import make_run_config

TINY = [
    ("data.tokenizer", "bytes"),
    ("data.seq_len", "24"),
    ("data.batch_size", "4"),
    ("data.valid_fraction", "0.25"),
    ("data.test_fraction", "0.25"),
    ("model.width", "8"),
    ("model.num_layers", "1"),
    ("model.num_heads", "2"),
    ("model.mlp_dim", "12"),
    ("objective.strategy", "none"),
    ("objective.budget", ""),
    ("train.num_steps", "3"),
    ("train.num_epochs", "0"),
    ("mesh.data", "1"),
]


TASKS = ("regression", "tagging", "seq2seq", "relation", "span_qa")
TASKS += ("ranking", "extractive", "chat")
ROLES = ("user", "assistant")


def make_examples(task):
    """Returns 40 examples with targets, of one short text and one long one in turn."""
    for i in range(40):
        words = ["Ada", "saw", f"x{i}"] + ["the", "old", "city"] * (i % 2) * 3
        answers = {"text": ["Ada"], "answer_start": [0]}
        text, tags = " ".join(words), ["B-P"] + ["O"] * (len(words) - 1)
        yield {
            "regression": {"text": text, "value": i / 7},
            "tagging": {"tokens": words, "tags": tags},
            "seq2seq": {"source": text, "target": text[:5]},
            "relation": {"text": text, "spans": [[0, 3], [4, 7]], "label": "ab"[i % 2]},
            "span_qa": {"question": f"Who {i}?", "context": text, "answers": answers},
            "ranking": {"text": text, "text_pair": f"{i} {text}"},
            "extractive": {"document": f"{text}. It is {i}. No.", "summary": text},
            "chat": {"messages": [{"role": role, "content": text} for role in ROLES]},
        }[task] | {"id": i}


def check_answer(task, example, line):
    if task == "regression":
        assert np.isfinite(line["prediction"])
    elif task == "tagging":
        assert len(line["prediction"]) == len(example["tokens"])
    elif task == "ranking":
        assert np.linalg.norm(line["vector"]) == pytest.approx(1, abs=1e-3)
    else:
        assert isinstance(line["prediction"], str)
        assert {"logprob", "scores", "nbest", "chosen"} & set(line)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_every_task_answers(task, tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))
    examples = list(make_examples(task))
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(example) + "\n" for example in examples))
    changes = [*TINY, ("data.source", f"jsonl:{path}")]
    config = override(read_config(f"configs/{task}.py"), changes)
    for block in ("resize", "quantize", "distill"):
        config.pop(block, None)
    config["data"].pop("source_vocab_size", None)
    config["model"].pop("num_kv_heads", None)
    config["model"].pop("head_dim", None)
    folder = tmp_path / "run"
    with Display(quiet=True) as display:
        train(make_run_config(config), folder, display=display)
    targets = {"value", "tags", "target", "label", "answers", "text_pair", "summary"}
    inputs = [{k: v for k, v in e.items() if k not in targets} for e in examples]
    lines = load(folder).predict(inputs, batch_size=8)
    for example, line in zip(examples, lines, strict=True):
        assert line["id"] == example["id"]
        check_answer(task, example, line)
    assert main(["evaluate", f"--workdir={folder}"]) == 0
    written = (folder / "predictions-test.jsonl").read_text().splitlines()
    by_id = {line["id"]: line.get("prediction") for line in lines}
    for line in map(json.loads, written):
        assert targets & set(line["expected"]) or task == "chat"
        if task == "regression":
            assert line["prediction"] == pytest.approx(by_id[line["id"]], abs=1e-4)
        elif task != "ranking":
            assert line["prediction"] == by_id[line["id"]]
