"""The picture of bits: every unit stands in it once, with the bits that it has."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_figures import draw, texts

from slimjax import report
from slimjax.report import bit_rows
from slimjax.report.bit_rows import count_parts, count_rest, list_bit_rows
from slimjax.report.bits import (
    COLORS,
    has_bits,
    plot_bits,
)
from slimjax.report.layers import read_layers

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
    assert "all else (tables, norms, adapters), 277 rows" in said
    draw(plot_bits(run))


TOWERS = {
    "image": {"filters": [3], "bits": {"filters_0": [8, 8, 4]}, "layers": []},
    "mixed": {
        "layers": [
            {"attention": False, "mlp_dim": 2, "cross_heads": 2}
            | {"bits": {"cross.heads": [4, 2], "mlp": [2, 2]}}
        ]
    },
    "": {"layers": [{"state_dim": 2, "bits": {"state": [6, 3]}}]},
}


def test_filters_cross_attention_and_states_have_rows(make_run):
    layers = read_layers({"towers": TOWERS})
    run = dataclasses.replace(report.read_run(make_run()), architecture=layers)
    counted = {"step": 550, "taken": True, "bits": dict.fromkeys("23468", 4)}
    run = dataclasses.replace(run, seams=[*run.seams, counted])
    found = {row.label: row.parts for row in list_bit_rows(run)}
    assert found["image filters 0"] == {"mlp": [(8, 2), (4, 1)]}
    assert found["mixed 0"] == {"mlp": [(2, 2)]}
    assert found["cross"] == {"heads": [(4, 1), (2, 1)]}
    assert found["state"]["mlp"][:2] == [(6, 1), (3, 1)]
    assert count_rest(run) == [(8, 2), (6, 3), (4, 2), (3, 3), (2, 1)]
    assert {"image filters 0", "cross", "3: 6.7 bits"} <= set(texts(plot_bits(run)))
    draw(plot_bits(run))


def test_bits_of_states_alone_are_shown(make_run):
    run = report.read_run(make_run())
    layers = [{"state_dim": 2, "bits": {"state": [6, 3]}}]
    assert has_bits(dataclasses.replace(run, architecture=layers))


def test_all_bits_have_a_colour():
    assert set(COLORS) == set(bit_rows.STATES)


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


def to_linear(color: str) -> np.ndarray:
    """Returns linear red, green and blue of a colour in sRGB, each in [0, 1]."""
    values = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)


def to_lab(linear: np.ndarray) -> np.ndarray:
    """Returns CIE L*a*b* of a linear colour, white D65."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = to_xyz @ linear / (to_xyz @ np.ones(3))
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


SIGHTS = {
    "all colours": np.eye(3),
    # Machado et al., "A Physiologically-based Model for Simulation of Color Vision
    # Deficiency", 2009, severity 1.
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}


@pytest.mark.parametrize("sight", SIGHTS)
def test_bits_have_colours_that_are_far_apart(sight):
    seen = {
        b: to_lab(np.clip(SIGHTS[sight] @ to_linear(COLORS[b]), 0, 1)) for b in STATES
    }
    for few, many in itertools.pairwise(STATES):
        least = 20 if many <= 4 else 10  # Few bits are compared most often.
        assert np.linalg.norm(seen[few] - seen[many]) >= least, (few, many)


def test_more_bits_are_darker_in_grey():
    lightness = [to_lab(to_linear(COLORS[bits]))[0] for bits in STATES]
    steps = -np.diff(lightness)
    assert (steps[:2] >= 12).all()
    assert (steps >= 8).all()
