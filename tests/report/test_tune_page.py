"""Pages of tunes, and the commands that make them from finished folders."""

import json

import pytest
from tunes import make_tune

from slimjax import report
from slimjax.cli.main import main
from slimjax.errors import ConfigError
from slimjax.report.tune_table import make_tune_table
from slimjax.store.files import write_json


@pytest.fixture(autouse=True)
def _coarse_figures(monkeypatch):
    monkeypatch.setattr("slimjax.report.images.DOTS_PER_INCH", 40)


@pytest.fixture
def folder(tmp_path):
    write_json(tmp_path / "a" / "tune.json", make_tune())
    return tmp_path / "a"


def test_another_rule_is_answered_without_training(folder, capsys, monkeypatch):
    monkeypatch.setattr("slimjax.run.start.train", None)
    before = (folder / "tune.json").read_bytes()
    assert main(["tune", f"--workdir={folder}", "--rule=error_within=3%"]) == 0
    shown = capsys.readouterr().out
    assert "error_within=3% chooses point1: 40.0 kB, 67 % of the start" in shown
    # (2.05 - 2.0) nats for a third of the size, and (2.4 - 2.05) for 25 / 60 of it.
    told = "Prices 0.1500 to 0.8400 choose it: 1 % of the size is worth 0.0015 to"
    assert f"{told} 0.0084 nats per token" in shown
    assert "price at the last seam was 0.5000" in shown
    assert "The next smaller one, point2, has 25.0 kB (38 % less)" in shown
    assert f"slimjax generate --workdir={folder}/fold0/point1" in shown
    assert (folder / "tune.json").read_bytes() == before
    page = (folder / "tune.html").read_text()
    for text in ("error_within=3% chooses point1", "What other rules choose"):
        assert text in page
    assert "A note &lt;of&gt; a test." in page
    assert (folder / "tune.png").stat().st_size > 1000


def test_json_has_the_content_and_the_answer(folder, capsys):
    assert main(["tune", f"--workdir={folder}", "--rule=knee", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["answer"]["rule"] == "knee"
    assert told["points"] == make_tune()["points"]


def test_mistakes_are_told_in_one_line(folder, tmp_path, capsys):
    for flags, code, told in (
        ([f"--workdir={folder}", "--rule=kne"], 2, "Did you mean knee?"),
        ([f"--workdir={folder}", "--rule=alpha=-1"], 2, "0 or more"),
        ([f"--workdir={folder}", "--rule=size_below=9k"], 3, "point3, 15.0 k"),
        ([f"--workdir={tmp_path / 'b'}"], 2, "holds no tune. Name its --config"),
        ([f"--workdir={folder}", "--points=x"], 2, "--points"),
    ):
        assert main(["tune", *flags]) == code
        error = capsys.readouterr().err.strip()
        assert told in error
        assert len(error.splitlines()) == 1


def test_several_tunes_are_laid_over_each_other(folder, tmp_path, capsys):
    write_json(tmp_path / "b" / "tune.json", make_tune(errors=(1.9, 2.0, 2.5, 2.3)))
    output = tmp_path / "both.html"
    folders = [str(folder), str(tmp_path / "b")]
    assert main(["report", *folders, f"--output={output}", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["runs"] == ["a", "b"]
    page = output.read_text()
    assert "hypervolume" in page
    assert output.with_suffix(".png").stat().st_size > 1000


def test_tunes_of_other_measures_are_not_laid_over_each_other(tmp_path):
    tunes = [make_tune(), make_tune(measure="params")]
    with pytest.raises(ConfigError, match="different measures"):
        report.write_tunes(tunes, ["a", "b"], tmp_path / "both.html")


def test_the_table_names_what_is_dominated():
    heads, rows = make_tune_table(make_tune())
    place = heads.index("lower hull")
    assert [row[place] for row in rows] == ["yes", "yes", "dominated", "yes"]
    assert rows[0][heads.index("alpha")] == "-"


def test_curves_beside_the_path_have_tables(tmp_path):
    fresh = {key: make_tune()[key] for key in ("points", "held_out", "metrics")}
    content = make_tune(compared={"fresh, 4 bits": fresh | {"hypervolume": 0.1}})
    answer = {"name": "point1", "sentences": ["One.", "Two."]}
    page = tmp_path / "tune.html"
    report.write_tune(content, answer, [("knee", "point1")], "slimjax", page)
    assert "fresh, 4 bits" in page.read_text()
