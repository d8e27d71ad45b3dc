"""A sweep's table and figure say what its runs say."""

import dataclasses
import io
import json

import pytest
from rich.console import Console

from slimjax import report
from slimjax.errors import CheckpointError
from slimjax.report.sweep_figure import find_lines
from slimjax.report.sweep_table import make_sweep_table, write_markdown
from slimjax.tune.intervals import take_mean

QUANTITIES = ("params", "packed_file_bytes", "test_bits_per_byte", "flops_total")
QUANTITIES += ("valid_bits_per_byte", "steps")


def make_arm(changes: dict, size: float, errors: list[float], **more) -> dict:
    trials = [
        {
            "name": f"arm-seed{seed}",
            "seed": seed,
            "state": "finished",
            "reason": None,
            "params": size,
            "packed_file_bytes": 2 * size,
            "test_bits_per_byte": error,
            "valid_bits_per_byte": error - 0.01,
            "flops_total": 1.02e9,
            "steps": 100,
        }
        for seed, error in enumerate(errors)
    ]
    means = {q: take_mean([t[q] for t in trials]) for q in QUANTITIES}
    plain = {q: m and dataclasses.asdict(m) for q, m in means.items()}
    arm = {"name": "arm", "changes": changes, "measure": "bytes", "means": plain}
    return arm | {"trials": trials} | more


@pytest.fixture
def sweep() -> dict:
    arms = [
        make_arm(
            {"objective.strategy": strategy, "objective.budget": budget},
            *(budget, [2.0 + 0.1 * i, 2.02 + 0.1 * i, 2.04 + 0.1 * i]),
            target_flops=1e9,
        )
        for i, strategy in enumerate(("exchange", "size_decay"))
        for budget in (25e3, 200e3)
    ]
    arms[3]["trials"][2] |= {"state": "failed", "reason": "not finite <b>"}
    return {"name": "s", "equal": "steps", "reference": "arm", "arms": arms}


def test_an_arm_is_a_line_with_means_and_intervals(sweep):
    heads, rows = make_sweep_table(sweep)
    assert heads[:4] == ["strategy", "budget", "seeds", "parameters"]
    assert rows[0][:4] == ["exchange", "25000", "3", "25,000"]
    assert rows[0][-1] == "2.020 ± 0.050"  # 4.303 * 0.02 / sqrt(3).
    assert rows[3][2] == "2 of 3"
    assert "of the reference" not in heads
    heads, rows = make_sweep_table(sweep | {"equal": "flops"})
    assert rows[0][heads.index("of the reference")] == "102.0 %"


def test_the_table_is_markdown_too_and_names_what_failed(sweep):
    lines = write_markdown(sweep).splitlines()
    assert lines[0].startswith("| strategy | budget | seeds |")
    assert lines[1].count("---:") == lines[0].count("|") - 2
    assert any("failed: not finite" in line for line in lines)
    text = io.StringIO()
    report.print_sweep(sweep, Console(file=text, width=160))
    assert "2.020 ± 0.050" in text.getvalue()


def test_lines_join_arms_that_differ_in_size_only(sweep):
    text, lines = find_lines(sweep, "packed_file_bytes")
    assert text == "test"
    assert list(lines) == ["strategy exchange", "strategy size_decay"]
    point = lines["strategy exchange"][1]
    assert (point.size, point.error) == (400e3, pytest.approx(2.02))
    assert point.half == pytest.approx(0.0497, abs=1e-4)
    assert len(point.runs) == 3


def test_the_page_stands_beside_its_figure_and_its_table(sweep, tmp_path, monkeypatch):
    monkeypatch.setattr("slimjax.report.images.DOTS_PER_INCH", 40)
    files = report.write_sweep(sweep, tmp_path / "sweep.html")
    assert [f.name for f in files] == ["sweep.html", "sweep_error.png", "sweep.md"]
    text = files[0].read_text()
    assert "2.020 ± 0.050" in text
    assert "not finite &lt;b&gt;" in text


def test_a_sweep_of_which_little_is_known_is_drawn_as_well(
    sweep, tmp_path, monkeypatch
):
    monkeypatch.setattr("slimjax.report.images.DOTS_PER_INCH", 40)
    bare = {"name": "s", "state": "open", "reason": None}
    nothing = make_arm({"objective.strategy": "$x^模"}, 1.0, []) | {"trials": [bare]}
    single = make_arm({}, 5e3, [1.9])
    for arms in ([nothing], [nothing, single], [single, *sweep["arms"]]):
        report.write_sweep(sweep | {"arms": arms}, tmp_path / "sweep.html")
    assert "1 of 1 runs are not finished" in " ".join(
        write_markdown(sweep | {"arms": [nothing]}).split()
    )


def test_what_is_no_sweep_is_refused(tmp_path, sweep):
    with pytest.raises(CheckpointError, match="missing"):
        report.read_sweep(tmp_path)
    (tmp_path / "sweep.json").write_text("[]")
    with pytest.raises(CheckpointError, match="not the file of a sweep"):
        report.read_sweep(tmp_path)
    (tmp_path / "sweep.json").write_text(json.dumps(sweep))
    assert report.read_sweep(tmp_path) == sweep


@pytest.mark.parametrize("num_lines", [1, 2, 6, 14])
def test_the_legend_leaves_the_figure_to_the_points(num_lines):
    arms = [
        make_arm(
            {"data.source": "text:books/*.txt", "objective.strategy": f"strategy_{i}"},
            *(1e5 + i, [2.0 + i, 2.1 + i]),
        )
        for i in range(num_lines)
    ]
    figure = report.plot_sweep({"name": "s", "arms": arms})
    figure.set_dpi(50)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box, axes = legend.get_window_extent(), figure.axes[0].get_window_extent()
    assert box.width * box.height < 0.2 * figure.bbox.width * figure.bbox.height
    assert axes.width > 0.85 * figure.bbox.width
    assert axes.height > 3.0 * figure.dpi
    assert box.x1 <= figure.bbox.width
    assert box.y1 <= axes.y0
    names = [text.get_text() for text in legend.get_texts()]
    assert len(set(names)) == num_lines
    if num_lines > 1:  # What all lines share is in no label.
        assert names[0] == "strategy strategy_0"


def test_a_sweep_names_the_metrics_of_its_task(sweep, tmp_path, monkeypatch):
    monkeypatch.setattr("slimjax.report.images.DOTS_PER_INCH", 40)
    text = json.dumps(sweep).replace("bits_per_byte", "accuracy")
    metric = {"key": "accuracy", "words": "accuracy", "better": "high"}
    scored = json.loads(text)
    scored["arms"] = [arm | {"metrics": [metric]} for arm in scored["arms"]]
    heads, rows = make_sweep_table(scored)
    assert heads[-2:] == ["validation, accuracy", "test, accuracy"]
    assert rows[0][-1] == "2.020 ± 0.050"
    files = report.write_sweep(scored, tmp_path / "sweep.html")
    assert "Size against accuracy." in files[0].read_text()
    assert "upper left is better" in files[0].read_text()
    (axes,) = report.plot_sweep(scored).axes
    assert axes.get_ylabel() == "accuracy, test data"
