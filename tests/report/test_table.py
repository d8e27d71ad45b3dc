"""What the closing table promises."""

import dataclasses
import io

import pytest
from rich.console import Console

from slimjax.report import (
    make_table,
    print_cells,
    print_line,
    print_table,
    read_run,
    summarize,
)


def print_to_text(run, width=100):
    console = Console(file=io.StringIO(), width=width)
    print_table(run, console)
    return console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def test_every_row_has_a_start_an_end_and_their_ratio(make_run):
    rows = {row.label: row[1:] for row in make_table(read_run(make_run()))}
    assert rows["parameters"] == ("5,772,544", "2,366,743", "41 %")
    assert rows["KV-cache bytes per token"] == ("6.14 kB", "2.52 kB", "41 %")
    assert rows["tokens/s, training"] == ("4,551", "8,620", "1.89x")
    assert rows["time per step"] == ("900 ms", "475 ms", "0.53x")
    assert rows["bits per byte, test"] == ("-", "1.431", "-")
    assert rows["training FLOPs, total"] == ("-", "41.0 TFLOP", "-")
    assert rows["time, total"] == ("-", "7 min 2 s", "-")


TOWER = dict(flops_per_token=3e6, flops_per_token_start=12e6)
TOWER |= dict(bytes=1000, bytes_start=4000)
TOWERS = {
    "image": dict(params=10, params_start=40, **TOWER),
    "main": dict(params=150, params_start=200, **TOWER),
}


@pytest.mark.parametrize(
    ("measure", "row"),
    [
        ("params", ("parameters of the tower image", "40", "10", "25 %")),
        ("flops", ("FLOPs of the tower image", "12.0 MFLOP", "3.00 MFLOP", "25 %")),
        ("bytes", ("bytes of the tower image", "4.00 kB", "1.00 kB", "25 %")),
        ("latency", ("parameters of the tower main", "200", "150", "75 %")),
    ],
)
def test_a_budget_is_shown_by_tower_in_its_measure(make_run, measure, row):
    run = read_run(make_run())
    run.report["size"] |= {"measure": measure, "towers": TOWERS}
    rows = {label: tuple(cells) for label, *cells in make_table(run)}
    assert rows[row[0]] == row[1:]
    assert sum("of the tower" in label for label in rows) == 2
    run.report["size"]["towers"] = {"": TOWERS["main"]}  # One tower is the whole.
    assert not any("of the tower" in row.label for row in make_table(run))


def test_all_runs_have_the_same_rows_in_the_same_order(make_run):
    tables = [make_table(read_run(make_run(n, finished=n == "a"))) for n in "ab"]
    assert [row.label for row in tables[0]] == [row.label for row in tables[1]]


def test_the_summary_says_size_speed_and_error_in_one_sentence(make_run):
    assert summarize(read_run(make_run())) == (
        "41 % of the starting parameters, 47 % of the FLOPs, 1.89x as fast; "
        "1.43 bits per byte on test data."
    )


def test_the_summary_of_a_running_run_says_where_it_is(make_run):
    text = summarize(read_run(make_run(finished=False)))
    assert text.startswith("Not finished, at step 600 of 600: 41 % of")
    assert text.endswith("1.41 bits per byte on validation data.")


def test_a_run_without_a_seam_is_not_praised_for_its_size(make_run):
    folder = make_run(finished=False)
    (folder / "seams.jsonl").unlink()
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:50]))
    assert "5.77 M parameters from start to end" in summarize(read_run(folder))


def test_an_error_that_diverged_is_not_made_up_from_older_values(make_run):
    errors = dict.fromkeys(("valid_bits_per_byte", "test_bits_per_byte"), None)
    run = read_run(make_run(error=errors | {"valid_nats_per_token": None}))
    assert "the error is not known" in summarize(run)
    assert "validation" not in print_to_text(run)


def test_the_terminal_shows_the_table_and_takes_no_markup_from_names(make_run):
    run = dataclasses.replace(read_run(make_run()), name="[red]run[/]")
    text = print_to_text(run)
    assert "[red]run[/]" in text
    assert "5,772,544" in text
    assert "47 % of the FLOPs" in text
    assert text.isascii() or "│" in text


def test_blocks_of_the_wrong_kind_are_shown_as_not_known(make_run):
    run = read_run(make_run(size=[1], train="soon", error=None, stages={}))
    assert all(isinstance(cell, str) for row in make_table(run) for cell in row)


def make_console(encoding="utf-8"):
    """Returns a console on a pipe that fails where a character has no code."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    return Console(file=stream, highlight=False)


def read_back(console):
    console.file.seek(0)
    return console.file.read()


def test_nothing_wraps_in_a_pipe(make_run):
    run = dataclasses.replace(read_run(make_run()), name="run " * 40)
    console = make_console()
    print_table(run, console)
    lines = read_back(console).splitlines()
    assert summarize(run) in lines
    rows = [line for line in lines if line.startswith("│")]
    assert len(rows) == sum(
        (row.start, row.end) != ("-", "-") for row in make_table(run)
    )
    print_cells(console, ["a " * 60, "b"], [["c" * 90, "d" * 90]])
    cells = [part.strip() for part in read_back(console).splitlines()[-2].split("│")]
    assert cells == ["", "c" * 90, "d" * 90, ""]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_characters_that_a_stream_lacks_are_escaped(make_run, encoding):
    run = dataclasses.replace(read_run(make_run()), name="模型 é")
    console = make_console(encoding)
    print_table(run, console)
    print_line(console, "± 苍鹭 \ud800")
    text = read_back(console)
    assert "\\u82cd\\u9e6d" in text
    assert "\\u6a21\\u578b" in text
    assert "5,772,544" in text
