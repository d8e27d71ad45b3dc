"""The picture of bits: every unit stands in it once, with the bits that it has."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_figures import draw, texts

from slimjax import report
from slimjax.report.bits import (
    COLORS,
    count_parts,
    count_rest,
    has_bits,
    plot_bits,
)

STATES = sorted(COLORS)


def with_bits(run, *layers, seam=None):
    """Returns the run with these bits of its layers, and of the last seam."""
    known = [
        layer | {"bits": bits}
        for layer, bits in zip(run.architecture, layers, strict=False)
    ]
    seams = [*run.seams, {"step": 550, "taken": True, "bits": seam}] if seam else []
    return dataclasses.replace(run, architecture=known, seams=seams or run.seams)


@given(st.lists(st.sampled_from(STATES)), st.integers(0, 20))
def test_parts_hold_every_unit_once_and_all_that_went(bits, more):
    parts = count_parts(bits, start=len(bits) + more)
    assert sum(count for _, count in parts) == len(bits) + more
    assert all(count == bits.count(b) for b, count in parts if b)
    assert [b for b, _ in parts] == sorted({b for b, _ in parts}, reverse=True)


def test_the_picture_tells_units_and_their_mean_bits(make_run):
    run = report.read_run(make_run())
    assert not has_bits(run)
    bits = {"heads": [4, 2], "kv_heads": [8], "mlp": [2] * 30 + [16] * 10}
    run = with_bits(run, bits, seam={"2": 300, "4": 1, "8": 7, "16": 12})
    said = texts(plot_bits(run))
    assert {"2: 3.0 bits", "1: 8.0 bits", "40: 5.5 bits", "16 bits"} <= set(said)
    assert count_rest(run) == [(16, 2), (8, 6), (2, 269)]
    assert "token table and norms, 277 rows" in said
    draw(plot_bits(run))


@pytest.mark.parametrize("num_layers", [1, 40])
def test_it_draws_any_depth_and_what_is_no_list_of_bits(make_run, num_layers):
    run = report.read_run(make_run(num_layers=num_layers))
    layers = [{"mlp": [3, 6, "8", None, 5]}, {"mlp": "many"}, {}, 7] * num_layers
    run = with_bits(run, *layers, seam={"3": 0, "6": "some"})
    assert count_rest(run) == []  # It counts less than the layers have.
    draw(plot_bits(run))


def test_the_page_shows_bytes_and_bits_where_units_have_them(make_run, tmp_path):
    run = with_bits(report.read_run(make_run()), {"mlp": [2, 4]})
    assert "bytes" in texts(report.plot_run(run))
    files = report.write_report([run], tmp_path / "page.html")
    assert "page_bits.png" in {file.name for file in files}
    assert "bytes of the model" in texts(report.plot_frontier([run]))


def test_a_run_that_goes_on_from_another_begins_where_that_one_ended(make_run):
    run = report.read_run(make_run())
    late = [stage | {} for stage in run.stages]
    late[0]["start_step"] = 100
    later = [row for row in run.metrics if row["step"] > 100]
    changed = run.report | {"stages": late}
    run = dataclasses.replace(run, report=changed, metrics=later)
    axes = report.plot_run(run).axes[-1]
    assert axes.get_xlim()[0] == 100
    line = next(line for line in axes.lines if line.get_label() == "parameters")
    steps = np.asarray(line.get_xdata())
    assert steps[0] == 100
    for seam in run.taken_seams:  # Sizes change at seams, not at the next log.
        assert seam["step"] in steps
