"""BLEU, chrF and ROUGE are those of sacrebleu and rouge-score, resample by resample."""

import numpy as np
import pytest

from slimjax.errors import ConfigError
from slimjax.metrics import extra, texts
from slimjax.metrics.bootstrap import Resamples
from slimjax.metrics.reported import TEXTS

sacrebleu = pytest.importorskip("sacrebleu")
rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")

FOUND = [
    "The dog bit the man.",
    "It wasn't surprising.",
    "The man had just bitten him.",
]
RIGHT = [
    ["The dog bit the man.", "The dog had bit the man."],
    ["It was not unexpected.", "No one was surprised."],
    ["The man bit him first.", "The man had bitten the dog."],
]
METRICS = {metric.key: metric.of for metric in TEXTS}


def by_reference(right):
    return [list(each) for each in zip(*right, strict=True)]


def test_the_example_of_sacrebleu_has_its_published_scores():
    """From its README: BLEU 48.53, chrF2 59.73."""
    rows = texts.text_columns(FOUND, RIGHT)
    assert float(METRICS["bleu"](rows)) == pytest.approx(48.53, abs=0.005)
    assert float(METRICS["chrf"](rows)) == pytest.approx(59.73, abs=0.005)


@pytest.mark.parametrize("kept", [[0], [1], [2], [0, 1], [1, 2, 1], [0, 1, 2]])
def test_any_sample_has_the_scores_of_sacrebleu(kept):
    found, right = [FOUND[i] for i in kept], [RIGHT[i] for i in kept]
    drawn = np.array([kept, kept[::-1]])
    resamples = Resamples(texts.text_columns(FOUND, RIGHT), drawn)
    expected = {
        "bleu": sacrebleu.corpus_bleu(found, by_reference(right)).score,
        "chrf": sacrebleu.corpus_chrf(found, by_reference(right)).score,
    }
    for name, value in expected.items():
        assert METRICS[name](resamples) == pytest.approx([value] * 2, abs=1e-9)


def test_rouge_is_the_mean_of_the_best_references():
    rows = texts.text_columns(FOUND, RIGHT)
    scorer = rouge_scorer.RougeScorer(["rougeL"])
    best = [
        max(scorer.score(text, found)["rougeL"].fmeasure for text in right)
        for found, right in zip(FOUND, RIGHT, strict=True)
    ]
    assert float(METRICS["rougeL"](rows)) == pytest.approx(
        100 * np.mean(best), abs=1e-9
    )
    drawn = np.array([[0, 0, 1], [2, 1, 2]])
    np.testing.assert_allclose(
        METRICS["rougeL"](Resamples(rows, drawn)), 100 * np.array(best)[drawn].mean(1)
    )


def test_the_example_of_lin_has_its_published_scores():
    """From "ROUGE: A Package for Automatic Evaluation of Summaries", section 3.1."""
    found = ["police kill the gunman", "the gunman kill police"]
    scores = texts.score_rouge(found, [["police killed the gunman"]] * 2)
    assert scores[:, 2] == pytest.approx([75.0, 50.0])
    assert scores[0, 1] == pytest.approx(scores[1, 1])  # One bigram: "the gunman".
    assert scores[0, 1] == pytest.approx(100 / 3)


def test_chinese_is_cut_into_characters():
    found, right = ["打开文档"], [["打开 Writer 文档。"]]
    assert texts.choose_tokenizer(right) == "zh"
    rows = texts.text_columns(found, right)
    assert float(METRICS["rouge1"](rows)) == pytest.approx(100 * 2 * 4 / 9)
    expected = sacrebleu.corpus_bleu(found, by_reference(right), tokenize="zh").score
    assert float(METRICS["bleu"](rows)) == pytest.approx(expected, abs=1e-9)
    named = texts.describe_settings(right)
    assert "tok:zh" in named["bleu_signature"]
    assert named["rouge_words"] == "characters"
    assert "tok:13a" in texts.describe_settings(RIGHT)["bleu_signature"]
    assert texts.describe_settings(RIGHT)["rouge_words"] == "words"


def test_examples_may_have_different_numbers_of_references():
    right = [RIGHT[0][:1], RIGHT[1], RIGHT[2]]
    filled = [[t[0] for t in right], [None, RIGHT[1][1], RIGHT[2][1]]]
    expected = sacrebleu.corpus_bleu(FOUND, filled).score
    rows = texts.text_columns(FOUND, right)
    assert float(METRICS["bleu"](rows)) == pytest.approx(expected, abs=1e-9)


def test_an_empty_prediction_scores_nothing():
    rows = texts.text_columns([""], [["a text"]])
    assert {name: float(of(rows)) for name, of in METRICS.items()} == dict.fromkeys(
        METRICS, 0.0
    )


def test_a_missing_library_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setattr(extra.importlib.util, "find_spec", lambda _: None)
    assert extra.describe_left_out() == (
        "bleu, chrf, rouge1, rouge2, rougeL: pip install 'slimjax[tasks]'"
    )
    assert texts.text_columns(FOUND, RIGHT) == {}
    assert texts.describe_settings(RIGHT) == {}
    with pytest.raises(ConfigError, match=r"sacrebleu.*slimjax\[tasks\]"):
        texts.count_chrf(FOUND, RIGHT)


def test_japanese_is_cut_into_characters():
    found, right = ["私は本をよみました。"], [["私は本を読みましたよ。"]]
    assert texts.choose_tokenizer(right) == "char"
    assert "tok:char" in texts.describe_settings(right)["bleu_signature"]
    rows = texts.text_columns(found, right)
    expected = sacrebleu.corpus_bleu(found, by_reference(right), tokenize="char").score
    assert float(METRICS["bleu"](rows)) == pytest.approx(expected, abs=1e-9)
    assert expected > 10
    assert (
        texts.choose_tokenizer([["这是日文的 の 字在中文的广告里也很常见。"]]) == "zh"
    )
    assert texts.choose_tokenizer([["a word, かな, in a long English text"]]) == "13a"
