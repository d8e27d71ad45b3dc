"""Text to text: rows of sources and targets, a run from files to written answers."""

import functools
import json
import random
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import slimjax
from slimjax import fit
from slimjax.cli.main import main
from slimjax.config import override, read_config
from slimjax.data.codecs import load_codecs, sizes_of
from slimjax.data.config import DataConfig
from slimjax.errors import ConfigError, DataError
from slimjax.generate.decode_config import DecodeConfig
from slimjax.generate.model import load
from slimjax.generate.rows import write_rows
from slimjax.metrics import extra
from slimjax.metrics.reported import TEXTS
from slimjax.models.build import build_model
from slimjax.models.config import ModelSettings
from slimjax.predict import predictor, windows
from slimjax.predict.part import Part
from slimjax.run.answers import Answered
from slimjax.run.evaluate import describe_answers
from slimjax.store.run_folder import RunFolder
from slimjax.tasks import seq2seq
from slimjax.tasks.answers import Results
from slimjax.tasks.base import nats_per_target
from slimjax.tasks.error import make_outputs_fn
from slimjax.text.examples import Example

PAIRS = [("abc", "cba"), ("de", "ed"), ("fghi", "ihgf"), ("jk", "kj"), ("lmn", "nml")]


@pytest.fixture
def data_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))


def write_pairs(path, rows=PAIRS, repeat=8):
    """Writes a file whose examples all differ."""
    lines = []
    for i in range(repeat):
        lines += [{"source": f"{a}{i}", "target": [b, f"{b}!"]} for a, b in rows]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return f"jsonl:{path}"


def make_data(tmp_path, **options):
    options = dict(tokenizer="bytes", seq_len=8, target_len=6) | options
    source = write_pairs(tmp_path / "pairs.jsonl")
    return seq2seq.load(DataConfig(source=source, batch_size=4, **options))


@pytest.mark.usefixtures("data_cache")
def test_rows_hold_a_source_and_the_first_target(tmp_path):
    data = make_data(tmp_path)
    tokenizer = data.tokenizer
    batch = data.batch("train", 0, 4, 0)
    assert batch["source"].shape == (4, 8)
    assert batch["tokens"].shape == (4, 6)
    assert data.lengths == {"source": 8, "": 6}
    for source, target in zip(batch["source"], batch["tokens"], strict=True):
        text = tokenizer.decode(source)
        assert tokenizer.decode(target) == text[:-1][::-1]
        assert source[0] == tokenizer.bos_id
        end = len(text) - 1
        assert target[end] == tokenizer.eos_id
        assert (target[end + 1 :] == tokenizer.pad_id).all()
    targets = data.row_counts["train"]["targets"]
    assert targets.sum() == (np.asarray(data.splits["train"]["tokens"]) != 0).sum()


@pytest.mark.usefixtures("data_cache")
def test_a_target_that_is_cut_has_no_end(tmp_path):
    data = make_data(tmp_path, target_len=3)
    rows = np.concatenate([data.splits[s]["tokens"] for s in ("train", "valid")])
    has_end = (rows == data.tokenizer.eos_id).any(1)
    is_short = [len(data.tokenizer.decode(row)) < 3 for row in rows]
    assert 0 < has_end.sum() < len(rows)
    np.testing.assert_array_equal(has_end, is_short)
    assert data.counts["cut_targets"]["train"] > 0


@pytest.mark.usefixtures("data_cache")
def test_error_is_of_target_tokens_and_sees_no_padding(tmp_path):
    data = make_data(tmp_path)
    task = seq2seq.make_task(data.special)
    settings = ModelSettings(
        kind="encoder_decoder", width=8, num_layers=1, num_heads=2, mlp_dim=9
    )
    heads = task.heads(data.sizes)
    model = build_model(settings, data.sizes, heads, data.lengths)
    variables = jax.tree.map(
        lambda x: x.value,
        model.init(jax.random.key(0)),
        is_leaf=lambda x: hasattr(x, "value"),
    )
    outputs = jax.jit(make_outputs_fn(task, model))
    batch = data.rows("train", np.arange(4))
    found = outputs(variables, batch)
    np.testing.assert_array_equal(
        found["targets"], (batch["tokens"] != data.tokenizer.pad_id).sum(1)
    )
    per_token = float(nats_per_target(jax.device_get(found)))
    # The sum over the chain rule is the log-probability that decoding reports.
    wide = {name: np.pad(x, ((0, 0), (0, 3))) for name, x in batch.items()}
    again = outputs(variables, wide)
    np.testing.assert_allclose(again["nats"], found["nats"], rtol=1e-5)
    assert 0 < per_token < 20


@pytest.mark.usefixtures("data_cache")
def test_bad_targets_are_refused_in_one_line(tmp_path):
    path = tmp_path / "bad.jsonl"
    for value, words in (("[]", "empty list"), ('["a", ""]', r"target\[1\] is empty")):
        path.write_text(f'{{"source": "a", "target": {value}}}\n')
        with pytest.raises(DataError, match=rf"line 1.*{words}"):
            seq2seq.load(DataConfig(source=f"jsonl:{path}", tokenizer="bytes"))


CHANGES = [
    ("data.vocab_size", "280"),
    ("data.source_vocab_size", "279"),
    ("data.seq_len", "8"),
    ("data.valid_fraction", "0.2"),
    ("data.test_fraction", "0.2"),
    ("data.batch_size", "8"),
    ("model.width", "8"),
    ("model.num_layers", "1"),
    ("model.num_heads", "2"),
    ("model.mlp_dim", "9"),
    ("optim.warmup_steps", "1"),
    ("train.num_steps", "2"),
    ("train.eval_every_steps", "2"),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Returns the folder of a finished run, and its report."""
    folder = tmp_path_factory.mktemp("pairs")
    source = write_pairs(folder / "pairs.jsonl")
    changes = [*CHANGES, ("data.source", source)]
    config = override(read_config("configs/seq2seq.py"), changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLIMJAX_CACHE", str(folder / "cache"))
        return folder / "run", fit(config, folder / "run")


@pytest.mark.usefixtures("data_cache")
def test_samples_of_one_row_go_on_from_sources(tmp_path):
    source = write_pairs(tmp_path / "pairs.jsonl")
    changes = [*CHANGES, ("data.source", source), ("data.one_row", "true")]
    changes += [("data.source_vocab_size", "0"), ("model.kind", "decoder")]
    changes += [("data.tokenizer", "bytes"), ("model.positions", "rotary")]
    config = override(read_config("configs/seq2seq.py"), changes)
    report = fit(config, tmp_path / "run")
    sources = {f"{a}{i}"[:6] for a, _ in PAIRS for i in range(8)}
    assert report["samples"]
    for sample in report["samples"]:
        assert sample["prompt"].strip()[:6] in sources


def test_a_run_keeps_two_tokenizers_and_writes_answers(finished):
    workdir, report = finished
    metrics = {metric["key"]: metric for metric in report["metrics"]}
    assert report["metrics"][0]["key"] == "nats_per_token"
    for metric in TEXTS:  # Answers are written at the end of a run only.
        assert 0 <= metrics[metric.key]["test"] <= 100
        assert metrics[metric.key]["valid"] is None
    assert {"prompt", "text"} <= set(report["samples"][0])
    folder = RunFolder(workdir)
    measured = json.loads((folder.root / "metrics-test.json").read_text())
    assert {"bleu", "chrf", "rougeL"} <= {*measured, *measured["intervals"]}
    assert "tok:13a" in measured["bleu_signature"]
    codecs = load_codecs(folder.tokenizer)
    sizes = sizes_of(codecs)
    assert (sizes["vocab"], sizes["source_vocab"]) == (280, 279)
    model = load(workdir)
    task = seq2seq.make_task(seq2seq.expected_outline(DataConfig()).special)
    columns = seq2seq.SCHEMA.prepare
    assert columns is not None
    rows = {"source": np.array([[1, 70, 71, 2, 0], [1, 72, 2, 0, 0]], np.int32)}
    read = task.inputs(jax.tree.map(jnp.asarray, rows), None)
    kept = write_rows(model.freeze(), read, codecs["tokens"].special, DECODE)
    results = Results([], kept, rows, np.array([0, 1, 2]), codecs)
    answers = seq2seq.answer(results)
    assert [set(answer) for answer in answers] == [{"prediction", "logprob"}] * 2
    assert all(answer["logprob"] < 0 for answer in answers)
    with pytest.raises(ConfigError, match="slimjax predict"):
        model.generate("abc")


DRAWN = ("--config.decode.beam_size=1", "--config.decode.temperature=2.0")


def predict(workdir, output, *flags):
    """Runs the command on 40 sources, in windows of 16; returns its exit code."""
    source = output.with_name("in.jsonl")
    lines = [json.dumps({"source": f"{i % 20} ab"}) + "\n" for i in range(40)]
    source.write_text("".join(lines))
    own = [f"--workdir={workdir}", f"--input=jsonl:{source}", f"--output={output}"]
    return main(["predict", *own, "--batch_size=8", *flags])


def test_drawn_answers_are_those_of_the_seed_also_when_continued(
    finished, tmp_path, capsys, monkeypatch
):
    whole, output = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    once = functools.cache(predictor.open_predictor)  # It compiles once.
    reopen = lambda *args, reading, **own: once(*args, reading=tuple(reading), **own)
    monkeypatch.setattr(predictor, "open_predictor", reopen)
    monkeypatch.setattr(windows, "WINDOW_BATCHES", 2)
    assert predict(finished[0], whole, *DRAWN) == 0
    lines = [json.loads(line) for line in whole.read_text().splitlines()]
    texts = [line["prediction"] for line in lines]
    assert texts[:20] == texts[20:]  # Equal sources.
    assert len(set(texts)) > 15
    with monkeypatch.context() as patch:
        append, number = Part.append, iter(range(2))

        def die_at_the_second(part, lines):
            if next(number):
                raise KeyboardInterrupt
            append(part, lines)

        patch.setattr(Part, "append", die_at_the_second)
        assert predict(finished[0], output, *DRAWN) == 130
    assert output.with_name("out.jsonl.part").read_bytes().count(b"\n") == 16
    capsys.readouterr()
    assert predict(finished[0], output, *DRAWN, "--config.decode.seed=1") == 2
    assert "other settings" in capsys.readouterr().err
    assert predict(finished[0], output, *DRAWN) == 0
    assert output.read_bytes() == whole.read_bytes()


def test_evaluations_draw_as_predictions_do(finished, tmp_path):
    workdir = shutil.copytree(finished[0], tmp_path / "run")
    changes = {"beam_size": 1, "temperature": 2.0, "seed": 5}
    path = RunFolder(workdir).config
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"decode": changes}))
    assert main(["evaluate", f"--workdir={workdir}"]) == 0
    written = (workdir / "predictions-test.jsonl").read_text().splitlines()
    lines = [json.loads(line) for line in written]
    items = [{"source": line["source"]} for line in lines]
    answers = slimjax.load(workdir).predict(items)
    for line, answer in zip(lines, answers, strict=True):
        assert line["prediction"] == answer["prediction"]
        assert line["logprob"] == pytest.approx(answer["logprob"], abs=1e-4)


@pytest.mark.slow  # Two minutes each: several hundred steps.
@pytest.mark.parametrize(
    ("positions", "most"),
    [("learned", 0.3), ("sinusoidal", 0.5), ("rotary", 0.6)],
)
def test_copying_is_learned(tmp_path, positions, most):
    draw, words = random.Random(0), ["ba", "de", "fi", "go", "hu", "ja", "ke", "li"]
    rows = [" ".join(draw.choices(words, k=draw.randint(4, 12))) for _ in range(6_000)]
    lines = [json.dumps({"source": row, "target": row}) + "\n" for row in rows]
    (tmp_path / "pairs.jsonl").write_text("".join(lines))
    changes = {"data.source": f"jsonl:{tmp_path}/pairs.jsonl", "data.seq_len": 32}
    changes |= {"data.vocab_size": 300, "data.source_vocab_size": 300}
    changes |= {"model.width": 64, "model.mlp_dim": 128, "train.num_steps": 600}
    changes |= {"train.eval_every_steps": 0, "model.positions": positions}
    texts = [(name, f"{value}") for name, value in changes.items()]
    config = override(read_config("configs/seq2seq.py"), texts)
    report = fit(config, tmp_path / "run")
    # An unknown word costs log 8, 2.1 nats, and a token is one word or two.
    assert report["error"]["valid_nats_per_token"] < most


DECODE = DecodeConfig(2, 0.6, 5)


def test_answers_are_counted_for_bleu_beside_all_their_references():
    sacrebleu = pytest.importorskip("sacrebleu")
    right = {"target": ["open the old document", "open the file"]}
    examples = [Example(right, "x.jsonl", 1), Example(right, "x.jsonl", 2)]
    answers = [{"prediction": "open the file"}, {"prediction": "no"}]
    columns = seq2seq.score(answers, examples)
    bleu = next(m for m in seq2seq.METRICS if m.key == "bleu")
    first = {name: column[:1] for name, column in columns.items()}
    by_reference = [[text] for text in right["target"]]
    expected = sacrebleu.corpus_bleu(["open the file"], by_reference).score
    assert float(bleu.of(first)) == pytest.approx(expected, abs=1e-9)
    assert "nrefs:2" in seq2seq.describe(examples)["bleu_signature"]
    assert not seq2seq.METRICS[0].from_answers  # Training is ranked without decoding.


def test_without_the_extra_metrics_are_left_out_with_one_line(monkeypatch):
    monkeypatch.setattr(extra, "has_library", lambda _: False)
    task = seq2seq.make_task(seq2seq.expected_outline(DataConfig()).special)
    examples = [Example({"target": ["a"]}, "x.jsonl", 1)]
    answers = [{"prediction": "a"}]
    assert seq2seq.score(answers, examples) == {}
    notes = describe_answers(task, Answered(examples, answers, np.zeros(1)))
    assert list(notes) == ["left_out"]
    assert notes["left_out"].startswith("bleu, chrf, rouge1, rouge2, rougeL")
    assert "pip install 'slimjax[tasks]'" in notes["left_out"]


def test_a_model_that_does_not_read_the_source_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMJAX_CACHE", str(tmp_path / "cache"))
    source = write_pairs(tmp_path / "pairs.jsonl")
    changes = [*CHANGES, ("data.source", source), ("model.kind", '"decoder"')]
    config = override(read_config("configs/seq2seq.py"), changes)
    with pytest.raises(ConfigError, match="encoder_decoder"):
        fit(config, tmp_path / "run")
