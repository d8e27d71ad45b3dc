"""Metrics and intervals of tags, spans, rankings and values follow from their files.

Answers are made by hand: right ones with noise, in the place of a model's outputs. All
behind a model is what `slimjax evaluate` runs.
"""

import json
import string
from collections import Counter
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from slimjax import tasks
from slimjax.data.config import DataConfig
from slimjax.run import evaluate as evaluate_file
from slimjax.run.answers import write_predictions
from slimjax.run.evaluation import describe_split
from slimjax.tasks.error import KEPT
from slimjax.train.config import make_run_config

NUM, NUM_RESAMPLES = 120, 1_000
WORDS = ("the", "old", "Ada", "Rome", "saw", "a", "town", "Oslo", "in", "Bob.")
NAMES = {"Ada": "PER", "Bob.": "PER", "Rome": "LOC", "Oslo": "LOC"}
DRAW = np.random.default_rng


def make_examples(task):
    """Returns examples that all differ, some of them without entities or answers."""
    draw, lines = DRAW(1), []
    for i in range(NUM):
        words = [*draw.choice(WORDS, size=draw.integers(2, 6)), f"x{i}"]
        text, tags = (
            " ".join(words),
            [f"B-{NAMES[w]}" if w in NAMES else "O" for w in words],
        )
        line = {
            "tagging": {"tokens": words, "tags": tags},
            "span_qa": {
                "question": f"Who {i}?",
                "context": text,
                "answers": answers(text),
            },
            "ranking": {"text": f"query {i}", "text_pair": f"{text} {i % 37}"},
            "regression": {"text": text, "value": round(i % 17 / 3 - 1.1, 3)},
        }[task]
        lines.append(line)
    return lines


def answers(text):
    """Returns one or two answers of one or two words, or none."""
    words = [w for w in text.split() if w in NAMES]
    found = [*words[:1], *([" ".join(text.split()[:2])] if words else [])]
    return {"text": found, "answer_start": [text.index(answer) for answer in found]}


def noisy(rng, right, size, strength):
    """Returns logits: noise, and more where the right class is."""
    logits = rng.normal(size=(*right.shape, size))
    return logits + strength * np.eye(size)[np.maximum(right, 0)]


def make_readouts(name, batch, sizes):
    """Returns what a model might answer: the right answers, with noise."""
    rng = DRAW(2)
    if name == "tagging":
        logits = {"tags": noisy(rng, batch["tags"], sizes["classes"], 2.5)}
    elif name == "span_qa":
        length = batch["tokens"].shape[1]
        logits = {
            end: noisy(rng, batch[end], length, 1.0)[..., None]
            for end in ("start", "end")
        }
    elif name == "regression":
        mean, deviation = batch["value_unit"].T
        number = (batch["value"] - mean) / deviation
        logits = {"value": (number + rng.normal(size=number.shape))[:, None]}
    else:
        vectors = rng.normal(size=(len(batch["tokens"]), 6))
        both = np.concatenate([vectors, vectors + rng.normal(size=vectors.shape)])
        both /= np.linalg.norm(both, axis=1, keepdims=True)
        return {"vector": SimpleNamespace(x=jnp.float32(both))}
    give = lambda x: SimpleNamespace(logits=lambda: jnp.float32(x))
    return {head: give(x) for head, x in logits.items()}


def make_outputs(task, data, split, numbers):
    """Returns what is kept of rows, as if a model had computed it."""
    batch = {n: jnp.asarray(x) for n, x in data.rows(split, numbers).items()}
    readouts = make_readouts(task.name, batch, data.sizes)
    kept = {
        f"{KEPT}{n}": np.asarray(x) for n, x in task.predict(readouts, batch).items()
    }
    outputs = {n: np.asarray(x) for n, x in task.outputs(readouts, batch).items()}
    each = [np.asarray(t.weight) for t in task.targets(batch, None).values()]
    num = sum(weight.reshape(len(numbers), -1).sum(1) for weight in each)
    return {**kept, **outputs, "targets": num, "nats": num * DRAW(3).random(len(num))}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Returns the lines of a prediction file and what is reported, by task."""
    found = {}
    for name in ("tagging", "span_qa", "ranking", "regression"):
        folder = tmp_path_factory.mktemp(name)
        lines = [json.dumps(example) + "\n" for example in make_examples(name)]
        (folder / "a.jsonl").write_text("".join(lines))
        data = dict(source=f"jsonl:{folder}/a.jsonl", tokenizer="bytes", seq_len=64)
        data = dict(data, valid_fraction=0.1, test_fraction=0.45)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLIMJAX_CACHE", str(folder / "cache"))
            found[name] = measure(name, data, folder, patch)
    return found


def measure(name, data, folder, patch):
    run = make_run_config(dict(task=name, data=data, model=dict(kind="encoder")))
    dataset = tasks.get(name).load(DataConfig(**data))
    task = tasks.get(name).make_task(dataset.special)
    make = lambda *args, **_: make_outputs(task, *args[2:])  # No stage, no weights.
    patch.setattr(evaluate_file, "measure_rows", make)
    stage = SimpleNamespace(blueprint=SimpleNamespace(run=run, task=task))
    own = dict(intervals=True, answers=True)
    result = evaluate_file.evaluate(stage, {}, dataset, "test", **own)
    path = folder / "predictions-test.jsonl"
    inputs = tasks.get(name).schema(run.data).inputs
    write_predictions(path, result.answered, inputs)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    described = json.loads(json.dumps(describe_split("a", "test", result)))
    assert len(lines) == described["num_examples"] > 40
    return lines, described


def spans_of(tags):
    """Returns the entities of tags that begin with B-, as sets of places and type."""
    starts = [i for i, tag in enumerate(tags) if tag.startswith("B-")]
    found = []
    for start in starts:
        end = start + 1
        while end < len(tags) and tags[end] == f"I-{tags[start][2:]}":
            end += 1
        found.append((start, end, tags[start][2:]))
    return found


def half_points(found, right):
    """Returns 1 for both ends of a name, 1/2 for an overlap, each right one once."""
    left, points = list(right), 0.0
    for start, end, _ in found:
        exact = [e for e in left if e[:2] == (start, end)]
        near = [e for e in left if e[0] < end and start < e[1]]
        for taken in (exact or near)[:1]:
            left.remove(taken)
            points += 1.0 if exact else 0.5
    return points


def count_tags(line):
    right, found = line["expected"]["tags"], line["prediction"]
    gold, said = spans_of(right), [tuple(entity) for entity in line["entities"]]
    assert said == spans_of(found)
    same = sum(a == b for a, b in zip(right, found, strict=True))
    partial = half_points(said, gold)
    hits = len({*said} & {*gold})
    return hits, partial, len(said), len(gold), same, len(right), line["loss"]


def f1(hits, said, gold):
    return 2 * hits.sum() / (said.sum() + gold.sum())


TAGGING = {
    "entity_f1": lambda c: f1(c[0], c[2], c[3]),
    "entity_precision": lambda c: c[0].sum() / c[2].sum(),
    "entity_recall": lambda c: c[0].sum() / c[3].sum(),
    "entity_partial_f1": lambda c: f1(c[1], c[2], c[3]),
    "tag_accuracy": lambda c: c[4].sum() / c[5].sum(),
    "nats_per_word": lambda c: np.average(c[6], weights=c[5]),
}


def words_of(text):
    """Returns words as the script of SQuAD compares them."""
    kept = "".join(c for c in text.lower() if c not in string.punctuation)
    return [word for word in kept.split() if word not in ("a", "an", "the")]


def overlap(found, right):
    if not found or not right:
        return float(found == right)
    shared = sum((Counter(found) & Counter(right)).values())
    return 2 * shared / (len(found) + len(right))


def count_answers(line):
    found = words_of(line["prediction"])
    texts = [words_of(text) for text, _ in line["expected"]["answers"]]
    texts = [words for words in texts if words] or [[]]
    best = max(overlap(found, words) for words in texts)
    return float(found in texts), best, line["loss"]


SPAN_QA = {
    "exact_match": lambda c: c[0].mean(),
    "answer_f1": lambda c: c[1].mean(),
    "nats_per_end": lambda c: c[2].mean(),  # Each row has two ends.
}


def count_ranks(line):
    shown = [entry["text"] for entry in line["ranking"]]
    right, rank = line["text_pair"], line["rank"]
    assert (shown.index(right) + 1 if right in shown else 11) in (rank, 11)
    assert rank > 10 or right in shown
    return rank, line["loss"]


RANKING = {
    "mrr": lambda c: (1 / c[0]).mean(),
    "hit_at_1": lambda c: (c[0] <= 1).mean(),
    "hit_at_5": lambda c: (c[0] <= 5).mean(),
    "hit_at_10": lambda c: (c[0] <= 10).mean(),
    "nats_per_pair": lambda c: c[1].mean(),
}


def count_values(line):
    return line["prediction"], line["expected"]["value"], line["loss"]


def ranks_of(x):
    """Returns places in order, equal values at the mean of theirs."""
    gaps = x[:, None] - x[None]
    return (gaps > 0).sum(1) + 0.5 * (gaps == 0).sum(1)


REGRESSION = {
    "pearson": lambda c: np.corrcoef(c[0], c[1])[0, 1],
    "spearman": lambda c: np.corrcoef(ranks_of(c[0]), ranks_of(c[1]))[0, 1],
    "mae": lambda c: np.abs(c[0] - c[1]).mean(),
    "rmse": lambda c: np.sqrt(np.square(c[0] - c[1]).mean()),
    "nats_per_example": lambda c: c[2].mean(),
}

BY_HAND = {
    "tagging": (count_tags, TAGGING),
    "span_qa": (count_answers, SPAN_QA),
    "ranking": (count_ranks, RANKING),
    "regression": (count_values, REGRESSION),
}
CASES = [(task, key) for task, (_, own) in BY_HAND.items() for key in own]


@pytest.mark.parametrize(("task", "key"), CASES)
def test_a_metric_and_its_interval_are_those_of_the_file(task, key, measured):
    lines, reported = measured[task]
    count, of = BY_HAND[task][0], BY_HAND[task][1][key]
    columns = np.array([count(line) for line in lines], float).T
    value = of(columns)
    assert reported[key] == pytest.approx(value, abs=1e-9)
    if not key.startswith("nats"):
        assert 0.05 < value < 0.98 or task == "regression"
    num = len(lines)
    drawn = DRAW(0).integers(num, size=(NUM_RESAMPLES, num))
    values = [of(columns[:, rows]) for rows in drawn]
    ends = np.quantile(values, (0.025, 0.975))
    assert ends[0] < ends[1]
    np.testing.assert_allclose(reported["intervals"][key], ends, atol=1e-9, rtol=0)


@pytest.mark.parametrize("task", BY_HAND)
def test_no_metric_of_the_task_is_left_unchecked(task, measured):
    assert set(measured[task][1]["intervals"]) == set(BY_HAND[task][1])


def test_scores_of_types_are_those_of_the_file(measured):
    lines, reported = measured["tagging"]
    for own in reported["classes"]:
        sides = [
            [{e for e in found if e[2] == own["class"]} for found in side]
            for side in (
                [[tuple(e) for e in line["entities"]] for line in lines],
                [spans_of(line["expected"]["tags"]) for line in lines],
            )
        ]
        hits = sum(len(a & b) for a, b in zip(*sides, strict=True))
        said, gold = (sum(map(len, side)) for side in sides)
        assert (own["num_predictions"], own["num_labels"]) == (said, gold)
        expected = hits / said, hits / gold, 2 * hits / (said + gold)
        found = tuple(own[name] for name in ("precision", "recall", "f1"))
        assert found == pytest.approx(expected, abs=1e-12)
    assert [own["class"] for own in reported["classes"]] == ["LOC", "PER"]
