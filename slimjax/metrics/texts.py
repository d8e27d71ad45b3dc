"""BLEU, chrF and ROUGE of generated texts, counted per example.

The counts come from sacrebleu and rouge-score (extra ``tasks``). Counts of examples add
up, so BLEU and chrF of any resample are functions of sums; ROUGE is a mean.
"""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from slimjax.metrics.extra import is_known, load_library
from slimjax.metrics.spans import KANA, WIDE

ORDER, CHRF_ORDER, CHRF_BETA = 4, 6, 2
ROUGES = ("rouge1", "rouge2", "rougeL")
WORDS = re.compile(rf"{WIDE.pattern}|(?:(?!{WIDE.pattern})[^\W_])+")
"""A Chinese or Japanese character, or a run of other letters and digits."""

MIN_WIDE = 0.3
"""Part of the letters from which on texts are Chinese or Japanese."""

MIN_KANA = 0.1
"""Part of their Chinese and Japanese characters from which on texts are Japanese."""

References = Sequence[Sequence[str]]
"""The right texts of each example, one or several."""


def choose_tokenizer(references: References) -> str:
    """Returns sacrebleu's tokenizer for the language of the right texts.

    Its ``zh`` leaves runs of kana whole, so Japanese is cut into characters.

    Examples:
        >>> texts = [["打开 Writer 文档"]], [["本を読みました"]], [["a page", "文"]]
        >>> [choose_tokenizer(references) for references in texts]
        ['zh', 'char', '13a']
    """
    letters = [c for texts in references for t in texts for c in t if c.isalpha()]
    wide = [char for char in letters if WIDE.match(char)]
    if not wide or len(wide) < MIN_WIDE * len(letters):
        return "13a"
    kana = sum(1 for char in wide if KANA.match(char))
    return "char" if kana >= MIN_KANA * len(wide) else "zh"


def count_bleu(
    predictions: Sequence[str], references: References, tokenizer: str
) -> Int[np.ndarray, "N 10"]:
    """Returns BLEU's counts of each example: lengths, matches, n-grams.

    Args:
        predictions: One text for each example.
        references: The right texts of each example.
        tokenizer: See `choose_tokenizer`.

    Returns:
        Length of the prediction and of the nearest reference; matching 1- to 4-grams;
        1- to 4-grams of the prediction.

    Raises:
        ConfigError: If sacrebleu is not installed.
    """
    metric = load_library("sacrebleu.metrics").BLEU(tokenize=tokenizer, force=True)
    return _count(metric, predictions, references, 2 + 2 * ORDER)


def count_chrf(
    predictions: Sequence[str], references: References
) -> Int[np.ndarray, "N 18"]:
    """Returns chrF's counts of each example, by length of the character n-grams.

    Each triple has the n-grams of the prediction, of the reference, and those shared.

    Raises:
        ConfigError: If sacrebleu is not installed.
    """
    metric = load_library("sacrebleu.metrics").CHRF()
    return _count(metric, predictions, references, 3 * CHRF_ORDER)


def bleu(counts: Float[np.ndarray, "*batch 10"]) -> Float[np.ndarray, "*batch"]:
    """Returns BLEU from sums of `count_bleu`, between 0 and 100.

    An order without a match is smoothed as in mteval-v13a ("exp").

    References:
        Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine
        Translation", 2002. Post, "A Call for Clarity in Reporting BLEU Scores", 2018.

    Examples:
        >>> float(bleu(np.array([7, 7, 7, 6, 5, 4, 7, 6, 5, 4.0])).round(6))
        100.0
    """
    counts = np.asarray(counts, np.float64)
    length, wanted = counts[..., 0], counts[..., 1]
    right, grams = counts[..., 2 : 2 + ORDER], counts[..., 2 + ORDER :]
    halvings = np.cumsum((right == 0) & (grams > 0), axis=-1)
    smooth = np.where(right > 0, right, 0.5**halvings)
    known = (grams > 0).all(-1) & (right > 0).any(-1)
    precision = np.divide(smooth, grams, out=np.ones_like(grams), where=grams > 0)
    short = np.divide(wanted, length, out=np.ones_like(length), where=length > 0)
    penalty = np.exp(np.minimum(0.0, 1 - short))
    mean = np.exp(np.mean(np.log(precision), axis=-1))
    return np.where(known, 100 * penalty * mean, 0.0)


def chrf(counts: Float[np.ndarray, "*batch 18"]) -> Float[np.ndarray, "*batch"]:
    """Returns chrF2 from sums of `count_chrf`, between 0 and 100.

    References:
        Popovic, "chrF: character n-gram F-score for automatic MT evaluation", 2015.
    """
    counts = np.asarray(counts, np.float64)
    found, right, both = (counts[..., place::3] for place in range(3))
    counting = (found > 0) & (right > 0)
    num = np.maximum(counting.sum(-1), 1)
    means = [
        np.divide(both, whole, out=np.zeros_like(both), where=counting).sum(-1) / num
        for whole in (found, right)
    ]
    precision, recall = means
    factor = CHRF_BETA**2
    part, whole = (1 + factor) * precision * recall, factor * precision + recall
    score = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return np.asarray(100 * score)


def score_rouge(
    predictions: Sequence[str], references: References
) -> Float[np.ndarray, "N 3"]:
    """Returns ROUGE-1, -2 and -L of each example, F1 between 0 and 100.

    With several references the best one counts. Words are not stemmed.

    Raises:
        ConfigError: If rouge-score is not installed.

    References:
        Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004.
    """
    library = load_library("rouge_score.rouge_scorer")
    scorer = library.RougeScorer(list(ROUGES), tokenizer=_choose_words(references))
    rows = []
    for prediction, right in zip(predictions, references, strict=True):
        found = scorer.score_multi(list(right), prediction)
        rows.append([100 * found[name].fmeasure for name in ROUGES])
    return np.array(rows, np.float64).reshape(-1, len(ROUGES))


def describe_settings(references: References) -> dict[str, str]:
    """Returns how texts are cut: BLEU's signature and ROUGE's words.

    ``bleu_signature`` is that of sacrebleu, ``rouge_words`` is ``characters`` or
    ``words``; each is missing where its library is.
    """
    found = {}
    if is_known("bleu"):
        cut = choose_tokenizer(references)
        metric = load_library("sacrebleu.metrics").BLEU(tokenize=cut)
        nums = {len(texts) for texts in references}
        metric.num_refs = nums.pop() if len(nums) == 1 else -1
        found["bleu_signature"] = str(metric.get_signature())
    if is_known("rougeL"):
        is_foreign = _choose_words(references) is not None
        found["rouge_words"] = "characters" if is_foreign else "words"
    return found


class Characters:
    """Cuts text into Chinese characters and other words, for rouge-score.

    Its own tokenizer drops all but a to z and digits.
    """

    def tokenize(self, text: str) -> list[str]:
        """Returns the pieces of a text, in lower case.

        Examples:
            >>> Characters().tokenize("打开 Writer, 文档")
            ['打', '开', 'writer', '文', '档']
        """
        return WORDS.findall(text.lower())


def _choose_words(references: References) -> Characters | None:
    """Returns the tokenizer of texts with many letters beside a to z, or None.

    The library's own, which drops them, is right for other texts.
    """
    letters = [c for texts in references for t in texts for c in t if c.isalpha()]
    foreign = sum(1 for char in letters if not char.isascii())
    return Characters() if foreign >= MIN_WIDE * len(letters) and foreign else None


def _count(
    metric, predictions: Sequence[str], references: References, width: int
) -> Int[np.ndarray, "N width"]:
    most = max((len(texts) for texts in references), default=1)
    filled = [[*texts, *[None] * (most - len(texts))] for texts in references]
    if not filled:
        return np.zeros((0, width), np.int64)
    by_reference = [list(texts) for texts in zip(*filled, strict=True)]
    counts = metric._extract_corpus_statistics(list(predictions), by_reference)
    return np.array(counts, np.int64).reshape(-1, width)


def text_columns(
    predictions: Sequence[str], references: References
) -> dict[str, np.ndarray]:
    """Returns the columns of text metrics, one entry per example.

    ``bleu_counts [N 10]`` and ``chrf_counts [N 18]`` where sacrebleu is installed,
    ``rouge [N 3]`` where rouge-score is.
    """
    columns: dict[str, np.ndarray] = {}
    if is_known("bleu"):
        tokenizer = choose_tokenizer(references)
        columns["bleu_counts"] = count_bleu(predictions, references, tokenizer)
        columns["chrf_counts"] = count_chrf(predictions, references)
    if is_known("rougeL"):
        columns["rouge"] = score_rouge(predictions, references)
    return columns
