"""The table of the description length adds up, and says what it lacks."""

import io

import pytest
from rich.console import Console

from slimjax import report
from slimjax.report.description import explain_description, make_description_table

LENGTHS = {
    "model_bits": 80_000,
    "tokenizer_bits": 20_000,
    "data_bits": 300_000.0,
    "total_bits": 400_000.0,
    "xz_bits": 500_000,
    "zstd_bits": None,
    "zstd_missing": "the program zstd is not installed",
    "bytes_raw": 100_000,
    "data_bits_from": "a sample",
    "data_bits_standard_error": 1500.0,
    "rows": 900,
    "rows_measured": 300,
    "alpha_bits_per_bit": 0.5,
}


@pytest.fixture
def run(make_run):
    return report.read_run(make_run(description_length=LENGTHS))


def test_each_code_stands_in_bits_a_byte_and_beside_the_text(run):
    rows = {row[0]: row[1:] for row in make_description_table(run)}
    assert rows["the text as it is"] == ("800 kbit", "8.000", "100 %")
    assert rows["model + tokenizer + text"] == ("400 kbit", "4.000", "50 %")
    assert rows["xz -9e"] == ("500 kbit", "5.000", "62 %")
    assert rows["zstd -19 --long"] == ("-", "-", "-")


def test_it_is_told_what_was_measured_and_what_is_missing(run):
    text = explain_description(run)
    assert "Of 900 training rows 300 were drawn" in text
    assert "1.50 kbit" in text
    assert "0.50 bits of text per bit of model" in text
    assert "zstd is not installed" in text


def test_the_table_is_on_the_terminal_and_on_the_page(run, tmp_path, monkeypatch):
    monkeypatch.setattr("slimjax.report.images.DOTS_PER_INCH", 40)
    text = io.StringIO()
    report.print_table(run, Console(file=text, width=120))
    assert "zstd -19 --long" in text.getvalue()
    page = tmp_path / "report.html"
    report.write_report([run], page)
    assert "<h3>Description length</h3>" in page.read_text()


def test_a_run_in_nats_has_no_such_table(make_run):
    plain = report.read_run(make_run())
    assert make_description_table(plain) == []
    text = io.StringIO()
    report.print_table(plain, Console(file=text, width=120))
    assert "xz" not in text.getvalue()
