"""Ranking: partners among a batch in training, among all texts in evaluation."""

import gzip
import json

import jax.numpy as jnp
import numpy as np
import pytest

from slimjax.cli.main import main
from slimjax.nn.losses import contrast_nats
from slimjax.predict.candidates import rank_among
from slimjax.predict.predictor import open_predictor
from slimjax.run.progress import Display
from slimjax.run.start import train
from slimjax.tasks import ranking
from slimjax.tasks.answers import Results
from slimjax.text.examples import Example
from slimjax.train.config import make_run_config

SPECIAL = {"pad": 0, "bos": 1, "eos": 2}
SOURCE = np.random.default_rng(0)
B, T, D = 5, 4, 3


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def slow_nats(vectors, groups, weight, temperature):
    """The formula, one row at a time, in float64."""
    first, second = np.float64(vectors[:B]), np.float64(vectors[B:])
    nats = []
    for i in range(B):
        others = [
            j for j in range(B) if j != i and groups[j] != groups[i] and weight[j]
        ]
        own = first[i] @ second[i] / temperature
        ways = []
        for scores in (
            [first[i] @ second[j] / temperature for j in others],
            [first[j] @ second[i] / temperature for j in others],
        ):
            ways.append(np.log(np.exp(own) + np.sum(np.exp(scores))) - own)
        nats.append(sum(ways) / 2)
    return np.array(nats)


def test_nats_are_those_of_finding_the_partner_both_ways():
    vectors = unit(SOURCE.normal(size=(2 * B, D))).astype(np.float32)
    groups, weight = np.array([3, 9, 3, 7, 0]), np.array([1.0, 1.0, 1.0, 1.0, 0.0])
    inputs = map(jnp.asarray, (vectors, groups, weight))
    found = contrast_nats(*inputs, 0.5)
    expected = slow_nats(vectors, groups, weight, 0.5)
    np.testing.assert_allclose(found[:4], expected[:4], rtol=1e-5)
    assert np.isfinite(found).all()


def test_rows_with_the_same_partner_are_no_wrong_answers():
    tokens = jnp.array([[1, 7, 2, 0], [1, 7, 2, 0], [1, 8, 2, 0], [0, 0, 0, 0]])
    batch = {"tokens": tokens, "pair_tokens": tokens}
    target = ranking.make_task(SPECIAL).targets(batch, None)["vector"]
    one, same, other, _ = np.asarray(target.values)
    assert one == same != other
    np.testing.assert_array_equal(target.weight, [1, 1, 1, 0])
    inputs = ranking.make_task(SPECIAL).inputs(batch, None)
    assert inputs["tokens"].shape == (8, 4)
    assert ranking.make_task(SPECIAL).inputs({"tokens": tokens}, None)[
        "tokens"
    ].shape == (4, 4)


def test_ranks_are_among_all_partners_each_once():
    texts = ["x", "y", "x"]
    examples = [
        Example({"text": str(i), "text_pair": text}, "a", i)
        for i, text in enumerate(texts)
    ]
    vectors = np.float32([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    partners = np.float32([[0.6, 0.8], [1.0, 0.0], [0.6, 0.8]])
    kept = {"vector": vectors, "text_pair": partners}
    answers = ranking.answer(Results(examples, kept, {}, np.arange(4), {}))
    assert [said["rank"] for said in answers] == [2, 1, 1]
    assert [best["text"] for best in answers[0]["ranking"]] == ["y", "x"]
    assert answers[0]["ranking"][1]["score"] == pytest.approx(0.6)
    columns = ranking.score(answers, examples)
    assert float(ranking.METRICS[0].of(columns)) == pytest.approx((0.5 + 1 + 1) / 3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder, draw = tmp_path_factory.mktemp("ranking"), np.random.default_rng(0)
    lines = []
    for number in range(120):
        letters = "".join(draw.permutation(list("abcdefgh"))[:4])
        lines.append({"text": f"{letters} {number}", "text_pair": letters.upper()})
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = dict(source=f"jsonl:{path}", tokenizer="bytes", seq_len=12, batch_size=16)
    data |= dict(valid_fraction=0.2, test_fraction=0.2)
    model = dict(kind="encoder", width=24, num_layers=1, num_heads=2, mlp_dim=32)
    model |= dict(dtype="float32", pool="mean", positions="none")
    run = make_run_config(
        dict(
            task="ranking",
            data=data,
            model=model,
            objective=dict(strategy="none"),
            optim=dict(learning_rate=2e-2, warmup_steps=5),
            train=dict(num_steps=60, eval_every_steps=30),
            mesh=dict(data=1),
        )
    )
    with Display(quiet=True) as display:
        report = train(run, folder / "run", display=display)
    return folder / "run", report


def test_texts_find_their_partners(finished):
    _, report = finished
    metrics = {metric["key"]: metric for metric in report["metrics"]}
    assert next(iter(metrics)) == "mrr"
    assert metrics["mrr"]["test"] > 0.5  # By chance some 0.15.
    assert metrics["mrr"]["test"] <= metrics["hit_at_10"]["test"]


def test_a_text_gets_a_vector_or_a_ranking_of_candidates(finished, tmp_path, capsys):
    (found,) = open_predictor(finished[0]).predict(["abcd"])
    assert np.linalg.norm(found["vector"]) == pytest.approx(1.0, abs=1e-4)
    names = tmp_path / "names.txt"
    names.write_text("ABCD\nEFGH\nABCD\nEAGC\n")
    flags = [f"--workdir={finished[0]}", "--text=efgh 1", f"--candidates={names}"]
    assert main(["predict", *flags]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["text"] == "efgh 1"
    assert {best["text"] for best in line["ranking"]} == {"ABCD", "EFGH", "EAGC"}
    scores = [best["score"] for best in line["ranking"]]
    assert scores == sorted(scores, reverse=True)
    assert "rank" not in line
    names.write_text("")
    assert main(["predict", *flags]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "jsonl:a.jsonl"])
def test_candidates_are_read_by_the_ending_of_their_file(finished, tmp_path, name):
    plain = name.removeprefix("jsonl:")
    texts = ["ABCD", "EFGH", "ABCD", "x" * 20, "y" * 11]
    lines = [json.dumps({"id": 1, "text": text}) for text in texts]
    content = "\n".join(["text", *texts] if ".csv" in name else lines).encode()
    own = gzip.compress(content) if name.endswith(".gz") else content
    (tmp_path / plain).write_bytes(own)
    source, notes = name.replace(plain, f"{tmp_path}/{plain}"), []
    predictor = rank_among(open_predictor(finished[0]), source, notes.append)
    (found,) = predictor.predict(["efgh 1"])
    assert {best["text"] for best in found["ranking"]} == set(texts)
    (note,) = notes
    assert note.startswith("--candidates=")
    assert note.endswith("2 of 4 texts truncated (longer than data.seq_len=12).")


@pytest.mark.parametrize("num_candidates", [1, 10, 500])
def test_ranks_are_those_of_a_stable_sort(num_candidates, monkeypatch):
    draw = np.random.default_rng(num_candidates)
    vectors = draw.integers(-1, 2, (9, 3)).astype(np.float32)
    candidates = draw.integers(-1, 2, (num_candidates, 3)).astype(np.float32)
    vectors[3] = np.nan  # Ranked as the worst of all.
    right = draw.integers(0, num_candidates, 9)
    texts = [str(i) for i in range(num_candidates)]
    scores = vectors @ candidates.T
    orders = np.argsort(-scores, axis=1, kind="stable")
    monkeypatch.setattr(ranking, "_MOST_SCORES", 4 * num_candidates)
    answers = ranking.rank(vectors, texts, candidates, right)
    for i, (said, order) in enumerate(zip(answers, orders, strict=True)):
        best = [{"text": texts[k], "score": scores[i, k]} for k in order[:10]]
        if i == 3:
            best = [
                {"text": texts[k], "score": pytest.approx(np.nan, nan_ok=True)}
                for k in order[:10]
            ]
        assert said["ranking"] == best
        assert said["rank"] == order.tolist().index(right[i]) + 1
    assert "rank" not in ranking.rank(vectors, texts, candidates)[0]
