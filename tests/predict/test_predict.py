"""`slimjax predict`: one line for each example, in order, whatever stands between."""

import dataclasses
import io
import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from reviews import make_reviews, write_lines

import slimjax
from slimjax.cli.main import main
from slimjax.errors import ConfigError, DataError
from slimjax.predict import programs
from slimjax.predict.predictor import make_line


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def predict(workdir, source, output, *flags):
    """Runs the command, with batches of four rows, so of 128 examples a window."""
    own = [f"--workdir={workdir}", f"--input=jsonl:{source}", f"--output={output}"]
    return main(["predict", *own, "--batch_size=4", *flags])


@pytest.fixture
def predictor(workdir, opened):
    return opened(workdir, batch_size=4, weights="")


@pytest.fixture
def reviews(tmp_path):
    """Returns a file of 300 examples without labels, two of them bad."""
    lines = [{"id": x["id"], "review": x["review"]} for x in make_reviews(300, seed=1)]
    path = write_lines(tmp_path / "in.jsonl", lines)
    texts = path.read_text().splitlines()
    texts[7], texts[200] = '{"id": 7, "review": ""}', "{broken"
    path.write_text("\n".join(texts) + "\n")
    return path


def test_lines_keep_order_and_own_fields(workdir, reviews, tmp_path, capsys):
    output = tmp_path / "out.jsonl"
    assert predict(workdir, reviews, output) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "2 of 300 examples" in error
    lines = read_lines(output)
    assert len(lines) == 300
    for i, line in enumerate(lines):
        if i in (7, 200):
            assert set(line) == {"error"}
            assert f"line {i + 1}" in line["error"]
            continue
        assert line["id"] == i
        assert sum(line["scores"].values()) == pytest.approx(1)
        assert line["prediction"] == max(line["scores"], key=line["scores"].get)
        assert list(line) == ["id", "review", "prediction", "scores", "truncated"]
    assert {line.get("prediction") for line in lines} == {"bad", "good", None}
    assert not list(tmp_path.glob("*.part*"))


def test_labels_are_not_needed_and_not_read(predictor):
    plain = predictor.predict([{"review": "fine great"}])
    wrong = predictor.predict([{"review": "fine great", "stars": 3.5}])
    assert wrong == [{"review": "fine great", "stars": 3.5, **plain[0]}]
    assert predictor.predict(["fine great"]) == plain


def test_long_texts_are_marked(predictor):
    lines = predictor.predict(["short", "long " * 20])
    assert [line["truncated"] for line in lines] == [False, True]


def test_a_cut_part_is_completed_to_the_same_bytes(workdir, reviews, tmp_path):
    whole, output = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    predict(workdir, reviews, whole)
    content = whole.read_bytes()
    part = tmp_path / "out.jsonl.part"
    predict(workdir, reviews, output)
    about = _about_of(workdir, reviews, output)
    for end in (0, 10, len(content) // 2, len(content) - 5):
        output.unlink(missing_ok=True)
        part.write_bytes(content[:end])
        part.with_name("out.jsonl.part.json").write_text(about)
        assert predict(workdir, reviews, output) == 2
        assert output.read_bytes() == content


def _about_of(workdir, reviews, output):
    """Returns what stands beside a part that a kill leaves."""
    from slimjax.predict import part

    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part.Part, "finish", die)
        with pytest.raises(Killed):
            predict(workdir, reviews, output, "--overwrite")
    return output.with_name("out.jsonl.part.json").read_text()


def test_a_part_of_another_field_of_the_file_is_refused(tmp_path, workdir, capsys):
    lines = [{"title": "fine great", "body": "dull"}] * 3
    path = write_lines(tmp_path / "in.jsonl", lines)
    output = tmp_path / "out.jsonl"
    _about_of(workdir, f"{path}#title", output)
    assert predict(workdir, f"{path}#body", output) == 2
    assert "another input" in capsys.readouterr().err
    assert predict(workdir, f"{path}#title", output) == 0


def test_a_part_may_be_finished_in_another_format(tmp_path, workdir, reviews):
    output = tmp_path / "out.jsonl"
    _about_of(workdir, reviews, output)
    assert predict(workdir, reviews, output, "--format=text") == 2
    assert {*output.read_text().split("\n")} == {"bad", "good", ""}


def test_what_cannot_be_encoded_has_its_error_in_its_place(predictor, monkeypatch):
    def encode(examples):
        if any("\x01" in example.values["text"] for example in examples):
            raise DataError("a text has a byte without a piece.")
        return column.encode(examples)

    (column,) = [c for c in predictor.columns if c.name == "tokens"]
    others = [c for c in predictor.columns if c is not column]
    changed = [dataclasses.replace(column, encode=encode), *others]
    monkeypatch.setattr(predictor, "columns", changed)
    items = ["fine", "a\x01", {"review": ""}, "dull"]
    found = predictor.predict(items)
    assert [{*line} == {"error"} for line in found] == [False, True, True, False]
    assert found[1]["error"] == (
        "input, example 2 cannot be encoded: a text has a byte without a piece."
    )
    assert found[3]["prediction"] == predictor.predict(["dull"])[0]["prediction"]


@pytest.mark.parametrize(
    ("what", "flag"), [("another input", ""), ("other settings", "--weights=bfloat16")]
)
def test_a_part_of_something_else_is_refused(
    workdir, reviews, tmp_path, capsys, what, flag
):
    output = tmp_path / "out.jsonl"
    _about_of(workdir, reviews, output)
    if not flag:
        reviews.write_text(reviews.read_text() + '{"review": "one more"}\n')
    assert predict(workdir, reviews, output, *filter(None, [flag])) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert what in error
    assert "--overwrite" in error
    assert predict(workdir, reviews, output, "--overwrite") == 2
    assert len(read_lines(output)) == 300 + (not flag)


def test_a_finished_file_is_not_replaced(workdir, reviews, tmp_path, capsys):
    output = tmp_path / "out.jsonl"
    output.write_text("mine\n")
    assert predict(workdir, reviews, output) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert output.read_text() == "mine\n"
    assert predict(workdir, reviews, reviews, "--overwrite") == 2
    assert "is the input" in capsys.readouterr().err


def test_answers_do_not_depend_on_batches_or_padding(workdir, predictor, opened):
    texts = [line["review"] for line in make_reviews(50, seed=2)]
    together = predictor.predict(texts)
    for size in (1, 32):
        other = opened(workdir, batch_size=size).predict(texts)
        assert [x["prediction"] for x in other] == [x["prediction"] for x in together]
        for a, b in zip(other, together, strict=True):
            assert a["scores"] == pytest.approx(b["scores"], abs=1e-5)
    alone = [line for text in texts[:5] for line in predictor.predict([text])]
    for a, b in zip(alone, together, strict=False):
        assert a["scores"] == pytest.approx(b["scores"], abs=1e-5)


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_weights_of_fewer_bits_answer_nearly_the_same(
    workdir, predictor, opened, weights
):
    texts = [line["review"] for line in make_reviews(40, seed=3)]
    exact = [line["scores"]["good"] for line in predictor.predict(texts)]
    rough = opened(workdir, batch_size=4, weights=weights).predict(texts)
    difference = np.abs(np.array([x["scores"]["good"] for x in rough]) - exact)
    assert 0 < difference.max() < 0.1  # Scores differ by a few units of 2^-8.


def test_stdin_and_text_give_lines_on_stdout(workdir, capfdbinary, monkeypatch):
    flags = ["predict", f"--workdir={workdir}"]
    assert main([*flags, "--text=fine great", "--text=dull"]) == 0
    by_text = capfdbinary.readouterr().out
    lines = b'fine great\n{"review": "dull", "id": "x"}\n\n\xff\n'
    stdin = type("Stdin", (), {"buffer": io.BytesIO(lines), "isatty": lambda _: False})
    monkeypatch.setattr(sys, "stdin", stdin())
    assert main(flags) == 2
    by_stdin = capfdbinary.readouterr().out.splitlines()
    first, second = map(json.loads, by_text.splitlines())
    assert json.loads(by_stdin[0]) == first
    assert json.loads(by_stdin[1]) == {**second, "id": "x"}
    assert [set(json.loads(line)) for line in by_stdin[2:]] == [{"error"}] * 2


@pytest.mark.parametrize("content", ["", "id,review\n"])
def test_an_empty_input_is_a_mistake(workdir, tmp_path, capsys, content):
    source, output = tmp_path / "in.csv", tmp_path / "out.jsonl"
    source.write_text(content)
    own = [f"--workdir={workdir}", f"--input=csv:{source}", f"--output={output}"]
    assert main(["predict", *own, "--batch_size=4"]) == 2
    assert "empty" in capsys.readouterr().err


def test_other_formats(workdir, reviews, tmp_path):
    output = tmp_path / "out.txt"
    predict(workdir, reviews, output)
    words = output.read_text().split("\n")
    assert len(words) == 301
    assert words[7] == words[200] == ""
    assert set(words) == {"bad", "good", ""}


@pytest.mark.parametrize(
    ("flag", "problem"),
    [
        ("--format=conll", "not one of this task"),
        ("--weights=int3", "unknown"),
        ("--batch_size=0", "must be in"),
        ("--config.model.width=3", "not a setting of slimjax predict"),
        ("--input=jsonl:nowhere.jsonl", "does not exist"),
    ],
)
def test_a_mistake_is_one_line(workdir, reviews, tmp_path, capsys, flag, problem):
    assert predict(workdir, reviews, tmp_path / "out.jsonl", flag) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out.jsonl").exists()


def test_settings_of_reading_may_differ(workdir, tmp_path):
    table = tmp_path / "new.csv"
    table.write_text("7,fine great\n8,dull\n")
    output = tmp_path / "out.jsonl"
    own = [f"--workdir={workdir}", f"--input=csv:{table}", f"--output={output}"]
    changes = ["--config.data.header=false", '--config.data.fields={"text": 1}']
    assert main(["predict", *own, *changes]) == 0
    assert [(x["0"], x["1"]) for x in read_lines(output)] == [
        ("7", "fine great"),
        ("8", "dull"),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0.5,fine great\n8,dull\n", "a column that the first line calls 0.5."),
        ("7,fine great\n8,dull\n", "line 2 has no field review."),
    ],
)
def test_a_table_without_a_header_is_refused_before_anything_is_written(
    workdir, tmp_path, capsys, text, problem
):
    good, table = tmp_path / "a.csv", tmp_path / "b.csv"
    good.write_text("id,review\n1,fine\n")
    table.write_text(text)
    output = tmp_path / "out.jsonl"
    own = [f"--workdir={workdir}", f"--input=csv:{tmp_path}/*.csv", "--batch_size=4"]
    for flags in ([*own, f"--output={output}"], own):
        assert main(["predict", *flags]) == 2
        printed = capsys.readouterr()
        assert printed.err.count("\n") == 1
        assert problem in printed.err
        assert "set config.data.header=False" in printed.err
        assert printed.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv"]
    table.write_text("id,review\n2,dull\n")
    assert main(["predict", *own, f"--output={output}"]) == 0
    assert len(read_lines(output)) == 2


def test_vectors_have_length_one_and_ignore_padding(predictor):
    texts = ["fine", "dull dull dull dull dull", "great bright"]
    vectors = predictor.vectors(texts)
    assert vectors.shape == (3, 8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(predictor.vectors(texts[:1])[0], vectors[0], atol=1e-5)
    assert predictor.vectors([]).shape == (0, 8)
    with pytest.raises(ConfigError, match="pool='last' is unknown"):
        predictor.vectors(texts, pool="last")


def test_vectors_are_compiled_once(predictor, monkeypatch):
    made, compiled = [], programs.Compiled
    monkeypatch.setattr(
        programs, "Compiled", lambda *parts: made.append(parts) or compiled(*parts)
    )
    fresh = dataclasses.replace(predictor)  # The fixture may have compiled before.
    for pool in ("first", "mean", "first", "mean"):
        fresh.vectors(["fine"], pool=pool)
    assert len(made) == 2


def test_load_answers_and_embeds(workdir, predictor):
    model = slimjax.load(workdir)
    example = {"review": "fine great", "id": 5}
    (line,) = model.predict(example)
    assert line == predictor.predict([example])[0]
    assert model.predict(["dull", {"no": 1}])[1].keys() == {"error"}
    np.testing.assert_array_equal(model.vectors("dull"), predictor.vectors(["dull"]))
    assert "vocabulary" in repr(model)


def test_labels_in_another_order_are_refused(workdir, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(workdir, copy)
    path = copy / "tokenizer" / "labels.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "labels": content["labels"][::-1]}))
    assert main(["evaluate", f"--workdir={copy}"]) == 2
    assert "the file of label has changed" in capsys.readouterr().err


def test_own_fields_give_way_to_the_answer():
    from slimjax.text.examples import Example

    example = Example({}, "a", 1, {"prediction": "old", 3: "c"})
    line = make_line(example, {"prediction": "new"}, truncated=False)
    assert line == {"prediction": "new", "3": "c", "truncated": False}


@pytest.mark.slow
def test_ten_thousand_lines_survive_a_kill(workdir, tmp_path):
    """Of a real process; 30 lines are bad."""
    source, whole = tmp_path / "in.jsonl", tmp_path / "whole.jsonl"
    lines = [json.dumps({**x, "more": [x["id"]]}) for x in make_reviews(10_000, seed=7)]
    bad = range(5, 10_000, 334)
    for i in bad:
        lines[i] = ["{broken", '{"review": null}', '"text"'][i % 3]
    source.write_text("\n".join(lines) + "\n")
    own = [f"--workdir={workdir}", f"--input=jsonl:{source}"]
    run = lambda output: subprocess.Popen(
        [sys.executable, "-m", "slimjax", "predict", *own, f"--output={output}"],
        stderr=subprocess.DEVNULL,
    )
    assert run(whole).wait() == 2
    output, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    process = run(output)
    while process.poll() is None and not (part.exists() and part.stat().st_size):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert 0 < part.stat().st_size < whole.stat().st_size
    assert run(output).wait() == 2
    assert output.read_bytes() == whole.read_bytes()
    found = read_lines(whole)
    assert len(found) == 10_000
    assert [i for i, line in enumerate(found) if "error" in line] == list(bad)
    kept = [line["more"] for i, line in enumerate(found) if i not in bad]
    assert kept == [[i] for i in range(10_000) if i not in bad]


def test_a_task_without_answers_names_the_command_to_use(predictor):
    for generates, command in ((False, "evaluate"), (True, "generate")):
        task = dataclasses.replace(predictor.task, answer=None, generates=generates)
        other = dataclasses.replace(predictor, task=task)
        with pytest.raises(ConfigError, match=f"slimjax {command}"):
            other.predict(["fine"])
    vectors = other.vectors(["fine", "a dull film"])  # It reads a row as it is.
    expected = predictor.vectors(["fine", "a dull film"])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
