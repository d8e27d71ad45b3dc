"""Pages show what a model answered: numbers, mistakes and pairs from its file."""

import json

import numpy as np
import pytest

from slimjax import report
from slimjax.errors import CheckpointError
from slimjax.metrics.scores import roc_auc
from slimjax.report.answer_figures import plot_confusion, plot_curves
from slimjax.report.answer_page import write_answers, write_pairs
from slimjax.report.answer_tables import make_class_table, make_metric_table
from slimjax.report.answer_texts import MAX_HUES, rank_mistakes, show_mistakes
from slimjax.report.answers import read_answers
from slimjax.report.markup import STYLE
from slimjax.report.overfitting import find_gaps, make_gap_table
from slimjax.report.read import Run

NAMES = ("bad", "<b>good</b>")
EVIL = "<script>alert(1)</script>"


def make_run(folder, lines, *, fields=None, metrics=(), seams=(), name="run") -> Run:
    """Returns a run whose folder has a prediction file."""
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "predictions-test.jsonl").write_text(text, encoding="utf-8")
    data = {"source": "csv:x.csv", "fields": fields or {}}
    blocks = {"config": {"data": data}, "report": {"seed": 1}, "architecture": []}
    own = {"metrics": list(metrics), "seams": list(seams), "is_finished": True}
    return Run(name=name, folder=folder, **blocks, **own)


def class_lines(num=60, seed=0, strength=0.3):
    rng, own = np.random.default_rng(0), np.random.default_rng(seed)
    lines = []
    for _ in range(num):
        label, chance = rng.integers(2), float(own.normal(0, 0.5))
        good = 1 / (1 + np.exp(-(chance + strength * (2 * label - 1))))
        scores = dict(zip(NAMES, (float(1 - good), float(good)), strict=True))
        line = {"review": "x" * int(rng.integers(1, 80)), "stars": NAMES[label]}
        line |= {"prediction": max(scores, key=scores.__getitem__), "scores": scores}
        lines.append(line | {"loss": -float(np.log(scores[NAMES[label]]))})
    return lines


FIELDS = {"text": "review", "label": "stars"}
CLASSES = class_lines()
VALUES = [{"text": EVIL, "value": i % 5, "prediction": i % 7 + 0.5} for i in range(30)]
TAGS = [
    {
        "tokens": ["a", EVIL, "c"],
        "tags": ["O", "B-PER", "I-PER"],
        "prediction": ["B-LOC", "B-PER", "O"] if i % 2 else ["O", "B-PER", "I-PER"],
        "entities": [],
        "loss": 0.5 + i,
    }
    for i in range(30)
]
SPANS = [
    {
        "question": EVIL,
        "context": f"the old town of {EVIL}",
        "answers": {"text": ["old town"], "answer_start": [4]},
        "prediction": "old" if i % 2 else "old town",
        "start": 4,
    }
    for i in range(30)
]
TEXTS = [
    {"source": EVIL, "target": ["a b c"], "prediction": f"a {EVIL}", "loss": i / 7}
    for i in range(30)
]
MANY = [
    {
        "text": EVIL,
        "label": ["x", EVIL][: 1 + i % 3],
        "prediction": ["x", EVIL][: 1 + i % 2],
    }
    | {"scores": {"x": 0.9, EVIL: 0.2 + 0.6 * (i % 2), "y": i / 90}}
    for i in range(30)
]
RANKS = [
    {"text": f"query {i}", "text_pair": EVIL, "rank": 1 + i % 4}
    | {"ranking": [{"text": EVIL, "score": 0.5}], "expected": {"text_pair": EVIL}}
    for i in range(30)
]
CHOSEN = [
    {"sentences": ["One.", EVIL, "Three."], "chosen": [i % 3], "scores": [0.1] * 3}
    | {"prediction": "One.", "expected": {"labels": [1, 0, 0]}, "loss": 0.5}
    for i in range(30)
]
SUMMARIES = [
    {"document": f"One. {EVIL} Three.", "chosen": [i % 3], "prediction": f"a {EVIL}"}
    | {"scores": [0.1] * 3, "expected": {"summary": "a b"}, "loss": i / 7}
    for i in range(30)
]
KINDS = {
    "classes": (CLASSES, FIELDS),
    "values": (VALUES, {}),
    "entities": (TAGS, {}),
    "spans": (SPANS, {}),
    "texts": (TEXTS, {}),
    "several": (MANY, {}),
    "ranks": (RANKS, {}),
    "sentences": (CHOSEN, {}),
    "summaries": (SUMMARIES, {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_found_and_escaped(kind, tmp_path):
    lines, fields = KINDS[kind]
    answers = read_answers(make_run(tmp_path / "run", lines, fields=fields))
    assert answers.kind.name == kind
    assert len(answers.lines) == len(lines)
    heads, rows = make_metric_table(answers)
    assert [row[0] for row in rows] == [m.words for m in answers.metrics]
    assert all("to" in row[1] for row in rows), heads
    shown = show_mistakes(answers)
    assert shown.count("<li>") == min(20, len(rank_mistakes(answers))) > 0
    assert "<script>" not in shown
    assert "<b>good" not in shown
    assert "script" in shown or kind == "classes"


def test_numbers_are_those_of_the_file(tmp_path):
    run = make_run(tmp_path / "run", CLASSES, fields=FIELDS)
    answers = read_answers(run)
    right = np.mean([line["stars"] == line["prediction"] for line in CLASSES])
    assert float(answers.estimates["accuracy"].value) == pytest.approx(right)
    _, rows = make_class_table(answers)
    by_name = {row[0]: row for row in rows}
    for name in NAMES:
        assert by_name[name][1] == str(sum(x["stars"] == name for x in CLASSES))
        said = [x for x in CLASSES if x["prediction"] == name]
        precision = np.mean([x["stars"] == name for x in said])
        assert by_name[name][3].startswith(f"{precision:.3f} (")


def test_chosen_sentences_are_counted(tmp_path):
    answers = read_answers(make_run(tmp_path / "run", CHOSEN))
    assert answers.metrics[0].key == "sentence_f1"
    assert float(answers.estimates["sentence_f1"].value) == pytest.approx(1 / 3)
    summaries = read_answers(make_run(tmp_path / "other", SUMMARIES))
    assert summaries.metrics[0].key == "rougeL"


def test_a_page_says_that_it_shows_a_part_of_the_lines(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run", CLASSES, fields=FIELDS)
    said = "Only the first 40 lines of predictions-test.jsonl"
    for most, is_said in ((len(CLASSES), False), (40, True)):
        monkeypatch.setattr("slimjax.report.answers.MAX_LINES", most)
        monkeypatch.setattr("slimjax.report.answer_page.MAX_LINES", most)
        answers = read_answers(run)
        assert len(answers.lines) == most
        page = "".join(write_answers(run, answers, {}, prefix="a"))
        assert (said in page) == is_said


def test_classes_that_the_font_lacks_are_named_below(tmp_path):
    names = {NAMES[0]: "für", NAMES[1]: "好"}
    lines = [
        {"text": "x", "label": names[line["stars"]], "loss": line["loss"]}
        | {"prediction": names[line["prediction"]]}
        | {"scores": {names[n]: p for n, p in line["scores"].items()}}
        for line in CLASSES
    ]
    run = make_run(tmp_path / "run", lines)
    page = "".join(write_answers(run, read_answers(run), {}, prefix="a"))
    assert page.count("class 2 is 好.") == 2
    assert "class 1 is" not in page


def test_the_costliest_mistakes_come_first(tmp_path):
    answers = read_answers(make_run(tmp_path / "run", CLASSES, fields=FIELDS))
    losses = [answers.lines[i].loss for i in rank_mistakes(answers)]
    assert losses == sorted(losses, reverse=True)
    wrong = [x["loss"] for x in CLASSES if x["stars"] != x["prediction"]]
    assert losses == sorted(wrong, reverse=True)[:20]


def test_the_last_message_of_a_chat_is_expected(tmp_path):
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]
    lines = [{"messages": turns, "prediction": "no", "expected": {}, "loss": 1.0}] * 3
    answers = read_answers(make_run(tmp_path / "run", lines))
    assert answers.kind.name == "texts"
    assert answers.text_of(answers.lines[0]) == "hi"
    assert "<dt>right</dt><dd>yo</dd>" in show_mistakes(answers)


def test_the_parts_of_a_relation_are_marked(tmp_path):
    scores = {"is_a": 0.9, "part_of": 0.1}
    own = {"text": "oaks are <trees>", "spans": [[0, 4], [9, 16]], "label": "part_of"}
    lines = [own | {"prediction": "is_a", "scores": scores}] * 3
    shown = show_mistakes(read_answers(make_run(tmp_path / "run", lines)))
    assert "<mark class='hue0' title='1'>oaks</mark> are " in shown
    assert "<mark class='hue1' title='2'>&lt;trees&gt;</mark>" in shown


def test_a_right_answer_is_marked_where_it_stands(tmp_path):
    lines = [
        {"question": "who?", "context": "Ann met Bob, not Ann.", "prediction": "Bob"}
        | {"start": 8, "end": 11, "expected": {"answers": [["Ann", 17]]}}
        for _ in range(3)
    ]
    shown = show_mistakes(read_answers(make_run(tmp_path / "run", lines)))
    marks = "Ann met <mark class='hue0' title='predicted'>Bob</mark>, not "
    assert f"{marks}<mark class='hue1' title='right'>Ann</mark>." in shown


def test_expected_answers_go_before_fields_of_the_same_name(tmp_path):
    lines = [
        {"text": "abc", "prediction": ["O"], "entities": [[0, 1, "A"]]}
        | {"expected": {"entities": [[0, 1, "A"], [1, 2, "B"]]}}
        for _ in range(3)
    ]
    answers = read_answers(make_run(tmp_path / "run", lines))
    assert float(answers.estimates["entity_recall"].value) == 0.5


def test_a_line_without_an_answer_is_counted(tmp_path):
    lines = [*CLASSES[:5], {"error": "line 6 is broken"}]
    run = make_run(tmp_path / "run", lines, fields=FIELDS)
    assert "left out: 1" in "".join(
        write_answers(run, read_answers(run), {}, prefix="")
    )
    assert read_answers(make_run(tmp_path / "none", [{"text": "x"}])) is None
    empty = Run("run", {}, [], [], [], {}, is_finished=True, folder=tmp_path)
    assert read_answers(empty) is None


def test_a_damaged_file_is_named_with_its_line(tmp_path):
    run = make_run(tmp_path / "run", CLASSES[:3], fields=FIELDS)
    path = run.folder / "predictions-test.jsonl"
    path.write_text("{broken\n" + path.read_text())
    with pytest.raises(CheckpointError, match=r"predictions-test\.jsonl, line 1"):
        read_answers(run)


def test_runs_on_the_same_examples_are_paired(tmp_path):
    first = make_run(tmp_path / "a", CLASSES, fields=FIELDS, name="a")
    better = class_lines(seed=5, strength=1.0)
    second = make_run(tmp_path / "b", better, fields=FIELDS, name="b")
    runs = [first, second]
    page = "".join(write_pairs(runs, [read_answers(run) for run in runs]))
    assert "b against a" in page
    gained = sum(
        x["stars"] == x["prediction"] != y["prediction"]
        for x, y in zip(better, CLASSES, strict=True)
    )
    assert f"{gained} in b alone" in page


def test_runs_on_other_examples_are_not_paired(tmp_path):
    runs = [
        make_run(tmp_path / "a", CLASSES, fields=FIELDS, name="a"),
        make_run(tmp_path / "b", CLASSES[::-1], fields=FIELDS, name="b"),
    ]
    page = "".join(write_pairs(runs, [read_answers(run) for run in runs]))
    assert "other test examples" in page
    assert "<table" not in page
    page = "".join(write_pairs(runs, [read_answers(runs[0]), None]))
    assert "slimjax evaluate" in page
    assert write_pairs(runs, [None, None]) == []


def test_gaps_are_measured_before_the_first_cut_and_at_the_end(
    tmp_path,
):
    metrics = [
        {"step": step, "loss": 1.0, "valid_nats_per_target": 1.5 if step <= 40 else 1.2}
        for step in range(10, 101, 10)
    ]
    seams = [{"step": 40, "taken": True}, {"step": 60, "taken": True}]
    run = make_run(tmp_path / "run", [], metrics=metrics, seams=seams)
    before, after = find_gaps(run).values()
    assert (before.step, after.step) == (40, 100)
    assert (before.size, after.size) == pytest.approx((0.5, 0.2))
    assert make_gap_table([run])[1][1][-1] == "0.200"
    assert "the slim model overfits less" in "".join(
        write_answers(run, None, {}, prefix="")
    )
    dense = make_run(tmp_path / "run", [], metrics=metrics, name="dense")
    assert len(find_gaps(dense)) == 1
    assert [row[0] for row in make_gap_table([dense, run])[1]] == ["dense", "run"]


def test_a_page_of_a_classifier_has_its_figures(tmp_path):
    folder = tmp_path / "run"
    make_run(folder, CLASSES, fields=FIELDS)
    row = {"step": 1, "loss": 1.0, "valid_accuracy": 0.5}
    (folder / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    config = {"data": {"fields": FIELDS}, "train": {"num_steps": 1}}
    (folder / "config.json").write_text(json.dumps(config))
    written = report.write_report([report.read_run(folder)], tmp_path / "page.html")
    names = {path.name for path in written}
    assert {f"page_{n}.png" for n in ("confusion", "curves", "lengths")} <= names
    page = written[0].read_text()
    assert "Answers: 60 examples of test data" in page
    assert "<b>good" not in page


def test_colours_of_a_confusion_are_parts_of_whole_rows(tmp_path):
    names = [f"class {i:02}" for i in range(30)]
    scores = dict.fromkeys(names, 1 / 30)
    pairs = [(i, i if k % 3 else (i + k) % 30) for i in range(30) for k in range(30)]
    lines = [
        {"text": "x", "label": names[i], "prediction": names[j], "scores": scores}
        for i, j in pairs
    ]
    answers = read_answers(make_run(tmp_path / "run", lines))
    (image,) = plot_confusion(answers).axes[0].images
    right = [sum(i == j == k for i, j in pairs) / 30 for k in range(24)]
    np.testing.assert_allclose(np.diag(np.asarray(image.get_array())), right)
    page = "".join(
        write_answers(make_run(tmp_path / "run", lines), answers, {}, prefix="")
    )
    assert "the 24 most frequent of 30 classes" in page
    few = make_run(tmp_path / "few", CLASSES, fields=FIELDS)
    page = "".join(write_answers(few, read_answers(few), {}, prefix=""))
    assert "most frequent of" not in page


def with_images(folder, num=40):
    """Returns a run of questions, of which some have images."""
    names = ("no", EVIL)
    lines = [
        {"image": f"{i}.png", "question": f"{EVIL} {i}", "prediction": names[i % 2]}
        | {"scores": {"no": 0.7, EVIL: 0.3}, "loss": float(i)}
        | {"expected": {"answer": names[i % 3 % 2]}}
        for i in range(num)
    ]
    run = make_run(folder, lines)
    numbers = np.arange(0, num, 3)
    pixels = np.zeros((len(numbers), 300, 5, 1), np.uint8)
    pixels[:, 0, 0, 0] = numbers
    path, shown = folder / "images-test.npz", np.array([0, 9])
    np.savez_compressed(path, numbers=numbers, pixels=pixels, shown=shown)
    return run


def test_images_stand_beside_their_questions(tmp_path):
    answers = read_answers(with_images(tmp_path))
    assert set(answers.images.sources) == set(range(0, 40, 3))
    assert len(set(answers.images.sources.values())) == 14
    (page,) = ["".join(write_answers(with_images(tmp_path), answers, {}, prefix=""))]
    some, mistakes = page.split("Some examples</h3>")[1].split("mistakes (")
    assert some.count("<img class='seen'") == 2
    worst = rank_mistakes(answers)
    assert mistakes.count("<img class='seen'") == sum(i % 3 == 0 for i in worst) > 0
    assert EVIL not in page
    assert "image of example 10" in some
    assert page.count(" pictured'>") == 2  # Both lists are grids.


def test_examples_of_several_classes_have_curves_too(tmp_path):
    run, images = make_run(tmp_path / "run", MANY), {}
    answers = read_answers(run)
    page = "".join(write_answers(run, answers, images, prefix="a"))
    assert "acurves" in images
    assert "aconfusion" not in images
    assert "ROC curves and reliability" in page
    curves, bars = plot_curves(answers).axes
    names = [text.get_text() for text in curves.get_legend().get_texts()]
    has = np.array([len(line["label"]) > 1 for line in MANY])
    area = roc_auc(np.array([line["scores"][EVIL] for line in MANY]), has)
    assert len(names) == 1  # All examples have the first class, none the last.
    assert f"AUC {area:.3f}" in names[0]
    error = float(answers.estimates["ece"].value)
    assert f"{error:.3f}" in bars.get_ylabel()


def test_types_of_entities_have_colours_of_their_own():
    for hue in range(MAX_HUES):
        assert STYLE.count(f".hue{hue} ") == 1


def test_damaged_images_are_named(tmp_path):
    run = with_images(tmp_path)
    (tmp_path / "images-test.npz").write_bytes(b"PK nothing")
    with pytest.raises(CheckpointError, match=r"images-test\.npz is damaged"):
        read_answers(run)
    np.savez(tmp_path / "images-test.npz", numbers=np.zeros(2), pixels=np.zeros(3))
    with pytest.raises(CheckpointError, match=r"images-test\.npz is damaged"):
        read_answers(run)
