"""Commands take the folder of an imported model like that of a finished run."""

import json

import jax
import numpy as np
import pytest
from own_folders import config_of, random_folder

import slimjax
from slimjax.cli.main import main
from slimjax.trees import flatten

pytestmark = pytest.mark.slow
WORDS = ["the", "quick", "brown", "fox", "lazy", "dog", "sleeps", "gold", "told"]
SMALL = dict(seq_len=16, batch_size=8, valid_fraction=0.2, test_fraction=0.1)
STEPS = dict(num_steps=2, eval_every_steps=0, save_every_steps=2)
RUN = dict(objective=dict(strategy="none"), train=STEPS, mesh=dict(data=1))
RATES = dict(learning_rate=1e-9, warmup_steps=0, weight_decay=0.0)
ROUNDED = 2.0**-8
"""Relative distance of weights that a finished run stores in bfloat16."""


@pytest.fixture(scope="module")
def lines():
    source = np.random.default_rng(0)
    return [" ".join(source.choice(WORDS, 9)) for _ in range(120)]


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Returns the run folders of a Llama and of a BERT with classes."""
    folder, found = tmp_path_factory.mktemp("imported"), {}
    for kind in ("llama", "bert-classes"):
        given, run = folder / f"{kind}-hf", folder / kind
        random_folder(given, config_of(kind))
        argv = ["import", "--format=hf", f"--input={given}", f"--output={run}"]
        assert main(argv) == 0
        found[kind] = run
    return found


@pytest.fixture(scope="module")
def text(lines, tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n\n".join(lines))
    return f"text:{path}"


@pytest.fixture(scope="module")
def examples(lines, tmp_path_factory):
    path = tmp_path_factory.mktemp("examples") / "examples.jsonl"
    rows = [{"text": t, "label": f"LABEL_{i % 5}"} for i, t in enumerate(lines)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def result_of(capsys, *argv):
    """Returns the object that a command prints at its end."""
    capsys.readouterr()
    assert main([*argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def train(folder, config, *flags):
    """Trains with a config; returns the report and the model."""
    path = folder / "config.json"
    path.write_text(json.dumps(RUN | config))
    argv = ["train", f"--config={path}", f"--workdir={folder / 'run'}", *flags]
    assert main(argv) == 0
    report = json.loads((folder / "run" / "report.json").read_text())
    return report, slimjax.load(folder / "run")


def check_same_weights(found, known):
    found, known = (flatten(jax.device_get(m.params["params"])) for m in (found, known))
    assert found.keys() == known.keys()
    for path, weight in known.items():
        np.testing.assert_allclose(found[path], weight, rtol=ROUNDED, atol=1e-6)


def test_a_decoder_is_evaluated(imported, text, capsys):
    argv = "evaluate", f"--workdir={imported['llama']}", f"--data={text}"
    found = result_of(capsys, *argv)
    model = slimjax.load(imported["llama"])
    nats = next(v for k, v in found.items() if k.endswith("nats_per_token"))
    assert 0.5 * np.log(model.config.vocab_size) < nats < 20
    again = result_of(capsys, *argv)
    assert again == found


def test_classes_are_evaluated_and_predicted(imported, examples, tmp_path, capsys):
    run = imported["bert-classes"]
    found = result_of(
        capsys, "evaluate", f"--workdir={run}", f"--data=jsonl:{examples}"
    )
    output = tmp_path / "answers.jsonl"
    argv = ["predict", f"--workdir={run}", f"--input=jsonl:{examples}"]
    assert main([*argv, f"--output={output}"]) == 0
    answers = [json.loads(line) for line in output.read_text().splitlines()]
    given = [json.loads(line) for line in examples.read_text().splitlines()]
    assert [a["text"] for a in answers] == [g["text"] for g in given]
    model = slimjax.load(run)
    few = model.predict([g["text"] for g in given[:6]])
    assert [a["prediction"] for a in answers[:6]] == [a["prediction"] for a in few]
    right = [a["prediction"] == g["label"] for a, g in zip(answers, given, strict=True)]
    accuracy = next(v for k, v in found.items() if k.endswith("accuracy"))
    assert accuracy == pytest.approx(np.mean(right))


def test_a_decoder_is_trained_on(imported, text, tmp_path):
    run = imported["llama"]
    data = SMALL | dict(source=text)
    config = dict(task="lm", data=data, optim=RATES)
    report, model = train(tmp_path, config, f"--config.model.init_from={run}")
    assert report["init_from"]["fresh"] == report["init_from"]["left_out"] == []
    check_same_weights(model, slimjax.load(run))


def test_an_encoder_is_trained_on_with_its_classes(imported, examples, tmp_path):
    run = imported["bert-classes"]
    fields = dict(text="text", label="label")
    data = SMALL | dict(source=f"jsonl:{examples}", fields=fields)
    config = dict(task="classification", data=data, optim=RATES)
    report, model = train(tmp_path, config, f"--config.model.init_from={run}")
    assert report["init_from"]["fresh"] == []
    theirs = slimjax.load(run).params["params"]
    for path, weight in flatten(jax.device_get(model.params["params"])).items():
        known = np.asarray(flatten(theirs)[path])[: len(weight)]
        np.testing.assert_allclose(weight, known, rtol=ROUNDED, atol=1e-6)


def test_a_decoder_teaches(imported, text, tmp_path):
    run = imported["llama"]
    size = slimjax.load(run).config.vocab_size
    data = SMALL | dict(source=text, tokenizer=f"{run}/tokenizer", vocab_size=size)
    model = dict(width=8, num_layers=1, num_heads=2, num_kv_heads=2, head_dim=4)
    model |= dict(mlp_dim=16, dtype="float32")
    config = dict(task="lm", data=data, model=model, optim=dict(RATES))
    config["optim"]["learning_rate"] = 1e-2
    (tmp_path / "alone").mkdir()
    (tmp_path / "taught").mkdir()
    alone, _ = train(tmp_path / "alone", config)
    taught, _ = train(tmp_path / "taught", config, f"--config.distill.teacher={run}")
    assert taught["train"]["teacher_flops"] > 0
    assert taught["state_hash"] != alone["state_hash"]
