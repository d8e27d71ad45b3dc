"""What the figures promise: they draw any run, and say what the numbers say."""

import dataclasses
import io
import subprocess
import sys

import numpy as np
import pytest

from slimjax import report
from slimjax.report.frontier import find_frontier
from slimjax.report.panels import smooth
from slimjax.report.structure import split_by_fate

PLOTS = (
    report.plot_run,
    report.plot_speed,
    report.plot_structure,
    report.plot_bits,
    report.plot_seams,
)
LAYER = {"num_heads": 3, "mlp_dim": 5, "attention": True, "mlp": True}


def draw(figure):
    """Renders for real, as only that shows warnings of layout and of fonts."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    return buffer.getvalue()


def texts(figure):
    import matplotlib.text

    return [t.get_text() for t in figure.findobj(matplotlib.text.Text)]


def with_layers(run, *history):
    """Returns the run with these stages, a list of layers each."""
    stages = [{"architecture": layers} for layers in history]
    changed = run.report | {"stages": stages}
    return dataclasses.replace(run, report=changed, architecture=history[-1])


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize("finished", [True, False])
def test_every_figure_draws_a_finished_and_a_running_run(make_run, plot, finished):
    draw(plot(report.read_run(make_run(finished=finished))))


@pytest.mark.parametrize("plot", PLOTS)
def test_every_figure_draws_a_run_of_one_step_and_one_layer(make_run, plot):
    folder = make_run(finished=False, num_layers=1)
    (folder / "seams.jsonl").unlink()
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 8.3, "params": 7}')
    draw(plot(report.read_run(folder)))


@pytest.mark.parametrize("plot", PLOTS)
def test_every_figure_draws_a_run_of_which_nothing_is_known(make_run, plot):
    run = report.read_run(make_run())
    metrics = [{"step": 0}, {"step": 5, "loss": None, "tokens_per_s": "fast"}]
    seams = [{"step": 3, "taken": True, "true_loss_change": None}]
    nothing = {"metrics": metrics, "seams": seams, "architecture": [{}], "report": {}}
    draw(plot(dataclasses.replace(run, config={}, **nothing)))


def test_each_seam_is_marked_with_its_change(make_run):
    run = report.read_run(make_run())
    for plot in (report.plot_run, report.plot_speed):
        shown = " ".join(texts(plot(run)))
        for change in ("seam 1\n−18 %", "seam 2\n−27 %", "seam 3\n−32 %"):  # noqa: RUF001
            assert change in shown


def test_labels_of_seams_that_would_touch_are_left_out(make_run):
    run = report.read_run(make_run())
    seams = [run.seams[0] | {"step": step} for step in range(100, 500, 5)]
    figure = report.plot_run(dataclasses.replace(run, seams=seams))
    assert 3 < sum("−18 %" in text for text in texts(figure)) < 20  # noqa: RUF001


def test_a_removed_sublayer_is_named(make_run):
    run = report.read_run(make_run())
    assert {"attention removed", "MLP removed"} <= set(
        texts(report.plot_structure(run))
    )


def test_a_layer_that_vanished_from_the_list_shows_as_removed(make_run):
    run = with_layers(report.read_run(make_run()), [LAYER] * 2, [LAYER])
    assert "attention removed" in texts(report.plot_structure(run))


@pytest.mark.parametrize("num_layers", [2, 24, 48])
def test_the_structure_has_a_row_for_each_layer_and_stays_one_page(
    make_run, num_layers
):
    run = report.read_run(make_run(num_layers=num_layers))
    figure = report.plot_structure(run)
    draw(figure)
    assert sum(" of 8" in text for text in texts(figure)) >= num_layers - 2
    assert figure.get_size_inches()[1] < 9.5


def test_very_many_heads_and_growth_are_drawn_too(make_run):
    wide = LAYER | {"num_heads": 96, "mlp_dim": 12_288}
    run = report.read_run(make_run())
    figure = report.plot_structure(with_layers(run, [LAYER] * 3, [wide] * 3))
    draw(figure)
    assert {"96, was 3", "grown"} <= set(texts(figure))


def test_pieces_cover_every_unit_once_whatever_the_history():
    rng = np.random.default_rng(0)
    for _ in range(200):
        counts = rng.integers(0, 9, rng.integers(1, 6)).tolist()
        pieces = split_by_fate(counts)
        units = [u for p in pieces for u in range(int(p.start), int(p.stop))]
        assert units == list(range(max(counts)))
        there = [p.stop - p.start for p in pieces if p.fate != "cut"]
        assert sum(there) == counts[-1]
        for piece in pieces:
            if piece.seam is not None:
                assert counts[piece.seam - 1] >= piece.stop > counts[piece.seam]


def test_smoothing_keeps_constants_and_shrinks_noise():
    assert smooth(np.empty(0), half=3).shape == (0,)
    np.testing.assert_allclose(smooth(np.full(50, 2.5), half=4), 2.5)
    noise = np.random.default_rng(0).normal(size=500)
    assert smooth(noise, half=12).std() < 0.4


def test_no_point_of_the_frontier_is_beaten_by_another():
    drawn = np.random.default_rng(0).integers(0, 30, (60, 2)).astype(float)
    points = [(x, y) for x, y in drawn.tolist()]
    best = find_frontier(points)
    beaten = lambda p: any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in points)
    assert set(best) == {p for p in points if not beaten(p)}


def test_the_frontier_takes_hostile_and_foreign_names_and_runs_without_error(make_run):
    run = report.read_run(make_run())
    names = ["$x^", "模型", "a" * 90, "_hidden", "x", "%d{}"]
    runs = [dataclasses.replace(run, name=name) for name in names]
    unknown = run.report | {"error": {}}
    runs.append(dataclasses.replace(run, name="unknown", report=unknown))
    figure = report.plot_frontier(runs)
    draw(figure)
    shown = texts(figure)
    assert {"$x^", "run 2", "_hidden"} <= set(shown)
    assert "unknown" not in shown
    assert "error, bits per byte, validation data" in shown


def test_the_figure_of_a_run_names_its_stages_and_seams(make_run):
    run = report.read_run(make_run())
    shown = texts(report.plot_run(run))
    assert {"stage 1", "stage 2", "stage 3", "stage 4"} <= set(shown)
    assert "Error and size over the steps: 4 stages, 3 seams" in shown
    assert "41 %" in shown  # The size at the end.
    plain = dataclasses.replace(run, seams=[])
    assert "Error and size over the steps: 1 stage, no seam" in texts(
        report.plot_run(plain)
    )


def test_the_room_loads_no_global_state_of_matplotlib():
    code = (
        "import sys; from slimjax import report; import slimjax.report.page; "
        "sys.exit('matplotlib' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert "matplotlib.pyplot" not in sys.modules


def test_pages_and_tables_are_written_without_jax(make_run, tmp_path):
    folders = [str(make_run(name)) for name in ("one", "two")]
    code = (
        "import sys; sys.modules |= dict.fromkeys(['jax', 'jaxlib', 'flax', 'optax'])\n"
        "from slimjax import report\n"
        "import slimjax.report.images as images\n"
        "images.DOTS_PER_INCH = 40\n"
        "runs = [report.read_run(name) for name in sys.argv[2:]]\n"
        "report.print_table(runs[0])\n"
        "report.write_report(runs[:1], sys.argv[1])\n"
        "report.write_report(runs, sys.argv[1])\n"
    )
    page = str(tmp_path / "page.html")
    argv = [sys.executable, "-c", code, page, *folders]
    done = subprocess.run(argv, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
