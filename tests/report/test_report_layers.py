"""Layers of any number of towers are drawn, and a kind that is gone is reported."""

import dataclasses
import io
import json

import pytest
from rich.console import Console
from test_figures import draw, texts

from slimjax import report
from slimjax.report.layers import describe_removed_kinds, list_rows, read_layers

LAYER = {"num_heads": 4, "num_kv_heads": 4, "head_dim": 8, "mlp_dim": 20}
NO_ATTENTION = LAYER | {"attention": False}


def towers(encoder: list[dict], decoder: list[dict]) -> dict:
    """Returns an architecture of two towers."""
    both = {"encoder": encoder, "decoder": decoder}
    return {"towers": {n: {"width": 16, "layers": own} for n, own in both.items()}}


def with_history(run, *history):
    """Returns the run with these architectures, one for each stage."""
    stages = [{"architecture": content} for content in history]
    seams = [{"step": 100.0 * i, "taken": True} for i in range(1, len(history))]
    layers = read_layers(history[-1])
    blocks = {"seams": seams, "architecture": layers}
    return dataclasses.replace(run, report=run.report | {"stages": stages}, **blocks)


def test_the_last_layer_of_a_kind_is_reported_with_its_seam(make_run, tmp_path):
    run = report.read_run(make_run())
    both, one, none = [LAYER] * 2, [LAYER, NO_ATTENTION], [NO_ATTENTION] * 2
    assert with_history(run, both, one).warnings == []
    run = with_history(run, both, one, none)
    warning = "Seam 2 (step 200) removed the last self-attention of the model."
    assert run.warnings == [warning]
    stream = io.StringIO()
    report.print_table(run, Console(file=stream, width=80))
    assert f"warning: {warning}" in stream.getvalue().splitlines()
    report.write_report([run], tmp_path / "page.html")
    assert f"<p class='warning'>{warning}</p>" in (tmp_path / "page.html").read_text()


def test_each_tower_is_looked_at_by_itself():
    crossed = LAYER | {"cross_heads": 2, "cross_kv_heads": 2}
    before = read_layers(towers([LAYER], [crossed]))
    after = read_layers(towers([LAYER | {"mlp_dim": 0}], [LAYER]))
    assert describe_removed_kinds([before, after], [7.0]) == [
        "Seam 1 (step 7) removed the last MLP of the tower encoder.",
        "Seam 1 (step 7) removed the last cross-attention of the tower decoder.",
    ]
    assert describe_removed_kinds([before, before, after], [])[0].startswith("The run")


def test_a_row_for_each_layer_of_each_tower(make_run):
    crossed = LAYER | {"cross_heads": 2, "cross_kv_heads": 2}
    start, end = towers([LAYER] * 2, [crossed]), towers([LAYER] * 2, [LAYER])
    rows = list_rows([read_layers(start), read_layers(end)])
    labels = ["encoder 0", "encoder 1", "decoder 0", "cross"]
    assert [row.label for row in rows] == labels
    assert rows[3].heads == [2.0, 0.0]
    run = with_history(report.read_run(make_run()), start, end)
    figure = report.plot_structure(run)
    draw(figure)
    assert set(labels) <= set(texts(figure))


def test_a_model_without_layers_is_drawn_by_its_width(make_run):
    start, end = ({"towers": {"": {"width": w, "layers": []}}} for w in (128, 60))
    run = with_history(report.read_run(make_run()), start, end)
    figure = report.plot_structure(run)
    draw(figure)
    assert {"hidden 0", "60 of 128"} <= set(texts(figure))
    assert "attention heads" not in texts(figure)
    assert run.warnings == []


@pytest.mark.parametrize("content", [towers([LAYER], [LAYER]), {"towers": 3}, {}, []])
def test_an_architecture_of_towers_is_read(make_run, content):
    folder = make_run()
    (folder / "architecture.json").write_text(json.dumps(content))
    run = report.read_run(folder)
    num = 2 if content == towers([LAYER], [LAYER]) else 6  # Else of the last stage.
    assert len(run.architecture) == num
    draw(report.plot_structure(run))


def test_an_mlp_that_never_had_attention_lost_none():
    plain = [LAYER | {"num_heads": 0}]
    assert describe_removed_kinds([plain, plain], [1.0]) == []
