"""lm_eval's numbers are those of the model itself."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from run.folders import make_folder

from slimjax.errors import ConfigError
from slimjax.generate.model import load
from slimjax.predict.harness import Harness, make_lm

TEXTS = ["The old house stood on the hill.", "a", "It was dark, and then it was not."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("model") / "run")


def log_probability(folder, context, continuation):
    """Returns it in one row, token by token."""
    model = load(folder)
    encode = model.tokenizer.encode
    row = np.concatenate([[model.tokenizer.bos_id], encode(context + continuation)])
    logits = np.asarray(model.apply(jnp.asarray(row[None, :-1])))[0].astype(np.float64)
    scores = logits - np.asarray(jax.nn.logsumexp(logits, axis=-1, keepdims=True))
    logs = scores[np.arange(len(row) - 1), row[1:]]
    is_best = logits.argmax(-1) == row[1:]
    own = len(encode(continuation))
    return logs[-own:].sum(), bool(is_best[-own:].all())


def test_continuations_are_as_likely_as_the_model_holds_them(folder):
    pairs = [(text[:6], text[6:22]) for text in TEXTS if len(text) > 6]
    pairs += [("", "dark"), ("a", "b")]
    found = Harness(folder).likelihoods(pairs)
    for pair, likelihood in zip(pairs, found, strict=True):
        log, is_greedy = log_probability(folder, *pair)
        assert likelihood.log == pytest.approx(log, abs=1e-4)
        assert likelihood.is_greedy == is_greedy


def test_blanks_before_a_continuation_belong_to_it(folder):
    harness = Harness(folder)
    one, other = harness.likelihoods([("It was ", "dark"), ("It was", " dark")])
    assert one == other


def test_only_the_likeliest_token_is_greedy(folder):
    model = load(folder)
    row = np.append([model.tokenizer.bos_id], model.tokenizer.encode("The"))
    best = int(np.asarray(model.apply(jnp.asarray(row[None])))[0, -1].argmax())
    signs = [chr(code) for code in range(33, 127)]
    found = Harness(folder).likelihoods([("The", sign) for sign in signs])
    best_log = max(own.log for own in found)
    for sign, own in zip(signs, found, strict=True):
        is_best = model.tokenizer.encode(sign).tolist() == [best]
        assert own.is_greedy == is_best
        assert not is_best or own.log == best_log


def test_long_texts_are_scored_once_each_token(folder):
    """The first span has nothing before it; later ones read as much as fits."""
    harness, text = Harness(folder), TEXTS[0] * 3
    (found,) = harness.whole_likelihoods([text])
    model, longest = harness.model, harness.longest
    row = np.append([model.tokenizer.bos_id], model.tokenizer.encode(text))
    assert len(row) > 2 * longest
    log = 0.0
    for start in range(1, len(row), longest):
        end = min(start + longest, len(row))
        part = row[max(end - longest - 1, 0) : end]
        logits = np.asarray(model.apply(jnp.asarray(part[None, :-1])))[0]
        scores = np.asarray(jax.nn.log_softmax(logits))
        logs = scores[np.arange(len(part) - 1), part[1:]]
        log += logs[-(end - start) :].sum()
    assert found.log == pytest.approx(log, abs=1e-3)


def test_texts_end_where_they_are_to(folder):
    options = dict(until=["e", " "], max_gen_toks=8, do_sample=False)
    text = Harness(folder).write("The old", options)
    assert not {"e", " "} & set(text)
    with pytest.raises(ConfigError, match="beams"):
        Harness(folder).write("The old", {"beams": 3})


def test_other_tasks_are_refused(tmp_path):
    other = make_folder(tmp_path / "run", "classification", ("a", "b"))
    with pytest.raises(ConfigError, match="language models"):
        Harness(other)


@pytest.mark.slow
def test_a_local_task_of_lm_eval_gives_our_numbers(folder, tmp_path):
    task = pytest.importorskip("lm_eval.api.task")
    evaluator = pytest.importorskip("lm_eval.evaluator")

    rows = [
        {"text": "It was", "choices": [" dark", " light"], "right": 0},
        {"text": "The old", "choices": [" house", " hill"], "right": 1},
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    files = dict(data_files={"test": str(path)}, cache_dir=str(tmp_path / "cache"))
    config = dict(
        task="local",
        dataset_path="json",
        dataset_kwargs=files,
        test_split="test",
        output_type="multiple_choice",
        doc_to_text="{{text}}",
        doc_to_choice="choices",
        doc_to_target="right",
        target_delimiter="",
        metric_list=[dict(metric="acc")],
    )
    result = evaluator.simple_evaluate(
        make_lm(folder),
        tasks=[task.ConfigurableTask(config=config)],
        log_samples=True,
        bootstrap_iters=0,
    )
    assert result is not None
    samples = result["samples"]["local"]
    correct = []
    for row, sample in zip(rows, samples, strict=True):
        expected = [log_probability(folder, row["text"], c)[0] for c in row["choices"]]
        found = [float(own[0]) for own in sample["filtered_resps"]]
        np.testing.assert_allclose(found, expected, atol=1e-4)
        correct.append(int(np.argmax(expected)) == row["right"])
    assert result["results"]["local"]["acc,none"] == pytest.approx(np.mean(correct))
