"""Answers in a text: the best span of all windows, and when there is none."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.nn.losses import position_nats
from slimjax.nn.readout import Readout
from slimjax.predict.predictor import open_predictor
from slimjax.run.progress import Display
from slimjax.run.start import train
from slimjax.tasks import span_qa
from slimjax.tasks.error import losses_of
from slimjax.train.config import make_run_config

SPECIAL = {"pad": 0, "bos": 1, "eos": 2}
SOURCE = np.random.default_rng(0)


def slow_spans(words, starts, ends):
    """Returns gains by (first, last) word, one pair at a time."""
    gains = {}
    for own, start, end in zip(words, starts, ends, strict=True):
        places = [i for i, word in enumerate(own) if word >= 0]
        for i in places:
            for j in places:
                if i <= j and own[j] - own[i] < span_qa.MAX_WORDS:
                    gain = start[i] - start[0] + end[j] - end[0]
                    key = int(own[i]), int(own[j])
                    gains[key] = max(gains.get(key, -np.inf), float(gain))
    return gains


def test_every_span_has_the_best_score_of_its_windows():
    words = np.full((2, 60), -1)
    words[0, 3:43], words[1, 2:58:2] = np.arange(40), np.arange(25, 53)
    starts, ends = SOURCE.normal(size=(2, 2, 60))
    found = span_qa.find_spans(words, starts, ends)
    ends_of = zip(found.first.tolist(), found.last.tolist(), strict=True)
    gains = dict(zip(ends_of, found.gain, strict=True))
    expected = slow_spans(words, starts, ends)
    assert gains.keys() == expected.keys()
    for key, gain in expected.items():
        assert gains[key] == pytest.approx(gain)


def test_probabilities_of_all_answers_and_none_add_up():
    words = np.array([[-1, 0, 1, -1]])
    starts = np.array([[0.5, 2.0, 1.0, 9.0]])
    ends = np.array([[0.0, 1.0, 3.0, 9.0]])
    found = span_qa._describe("Ada Bob", span_qa.find_spans(words, starts, ends))
    assert found["prediction"] == "Ada Bob"
    assert (found["start"], found["end"]) == (0, 7)
    assert sum(one["score"] for one in found["nbest"]) == pytest.approx(1.0)
    weights = {"": 0.5, "Ada": 3.0, "Bob": 4.0, "Ada Bob": 5.0}
    total = sum(np.exp(list(weights.values())))
    for one in found["nbest"]:
        assert one["score"] == pytest.approx(np.exp(weights[one["text"]]) / total)
    low = span_qa._describe("Ada Bob", span_qa.find_spans(words, -starts, -ends))
    assert low["prediction"] == ""
    assert low["start"] is None
    assert json.dumps(low)


def test_only_the_context_and_no_answer_may_be_chosen():
    tokens = jnp.array([[1, 7, 8, 2, 5, 6, 2, 0], [1, 9, 2, 5, 5, 5, 5, 2]])
    is_open = np.asarray(span_qa.find_open(tokens, SPECIAL))
    expected = [[1, 0, 0, 0, 1, 1, 0, 0], [1, 0, 0, 1, 1, 1, 1, 0]]
    np.testing.assert_array_equal(is_open, expected)
    logits = SOURCE.normal(size=(2, 8)).astype(np.float32)
    nats = position_nats(jnp.asarray(logits), jnp.array([4, 0]), jnp.asarray(is_open))
    for row, right in enumerate([4, 0]):
        own = np.exp(np.float64(logits[row]))[np.array(expected[row]) > 0]
        assert float(nats[row]) == pytest.approx(np.log(own.sum()) - logits[row, right])


def test_a_row_has_two_targets_and_padding_none():
    batch = {"tokens": jnp.array([[1, 7, 2, 5, 6, 2], [0] * 6])}
    batch |= {"start": jnp.array([3, -1]), "end": jnp.array([4, -1])}
    task = span_qa.make_task(SPECIAL)
    targets = task.targets(batch, None)
    assert [float(targets[name].weight.sum()) for name in ("start", "end")] == [1, 1]
    readouts = {
        name: Readout(jnp.zeros((2, 6, 3)), jnp.ones((1, 3))) for name in targets
    }
    _, nats = losses_of(span_qa.heads({}), readouts, targets)
    assert float(nats["start"][0]) == pytest.approx(np.log(3))
    assert np.isfinite(nats["end"]).all()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder, draw = tmp_path_factory.mktemp("qa"), np.random.default_rng(0)
    lines = []
    for number in range(200):
        words = [str(word) for word in draw.choice(["saw", "and", "in", "on"], 5)]
        name, place = str(draw.choice(["Ada", "Bob", "Eve"])), int(draw.integers(5))
        answers = {"text": [], "answer_start": []}
        if number % 4:
            words[place] = name
            start = len(" ".join(words[:place])) + (place > 0)
            answers = {"text": [name], "answer_start": [start]}
        context = f"{' '.join(words)} {number}"
        lines.append({"question": "who", "context": context, "answers": answers})
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = dict(source=f"jsonl:{path}", tokenizer="bytes", seq_len=32, batch_size=16)
    data |= dict(valid_fraction=0.2, test_fraction=0.2)
    model = dict(kind="encoder", width=24, num_layers=1, num_heads=2, mlp_dim=32)
    model |= dict(dtype="float32", positions="rotary", token_types=2)
    run = make_run_config(
        dict(
            task="span_qa",
            data=data,
            model=model,
            objective=dict(strategy="none"),
            optim=dict(learning_rate=1e-2, warmup_steps=5),
            train=dict(num_steps=60, eval_every_steps=30),
            mesh=dict(data=1),
        )
    )
    with Display(quiet=True) as display:
        report = train(run, folder / "run", display=display)
    return folder / "run", report


def test_a_model_learns_to_point_at_names(finished):
    _, report = finished
    metrics = {metric["key"]: metric for metric in report["metrics"]}
    assert next(iter(metrics)) == "answer_f1"
    assert metrics["exact_match"]["test"] > 0.6  # No answer at all: 0.25.


def test_it_answers_without_answers_and_finds_them_in_long_texts(finished):
    predictor = open_predictor(finished[0])
    context = "and in " * 20 + "Ada saw" + " on and" * 20
    (found,) = predictor.predict([{"question": "who", "context": context, "id": 7}])
    assert found["id"] == 7
    assert len(found["nbest"]) == span_qa.NUM_BEST
    if found["start"] is not None:
        assert context[found["start"] : found["end"]] == found["prediction"]
    assert 0 < found["score"] <= 1
