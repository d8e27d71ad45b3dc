"""The description length of the training text, beside what compressors make of it."""

from slimjax.report.quantities import (
    ABSENT,
    divide,
    format_decimal,
    format_percent,
    format_si,
    number,
)
from slimjax.report.read import Run

HEADS = ["code of the training text", "bits", "bits per byte", "of the text"]
PARTS = (
    ("the text as it is", None),
    ("model file", "model_bits"),
    ("tokenizer file", "tokenizer_bits"),
    ("the text, given both", "data_bits"),
    ("model + tokenizer + text", "total_bits"),
    ("xz -9e", "xz_bits"),
    ("zstd -19 --long", "zstd_bits"),
)


def make_description_table(run: Run) -> list[tuple[str, ...]]:
    """Returns the rows under `HEADS`; none if the run was not asked for bits."""
    lengths = run.report.get("description_length")
    num_bytes = number(lengths, "bytes_raw")
    if num_bytes is None:
        return []
    rows = []
    for label, name in PARTS:
        bits = 8 * num_bytes if name is None else number(lengths, name)
        per_byte = divide(bits, num_bytes)
        cells = (format_si(bits, "bit"), format_decimal(per_byte))
        rows.append((label, *cells, format_percent(divide(per_byte, 8.0))))
    return rows


def explain_description(run: Run) -> str:
    """Says what was measured, and what could not be."""
    lengths = run.report.get("description_length")
    lengths = lengths if isinstance(lengths, dict) else {}
    error = number(lengths, "data_bits_standard_error")
    note = "All training rows were measured."
    if error:
        taken, rows = (number(lengths, name) for name in ("rows_measured", "rows"))
        note = (
            f"Of {rows:,.0f} training rows {taken:,.0f} were drawn and measured; the "
            f"standard error of the text's bits is {format_si(error, 'bit')}."
        )
    alpha = number(lengths, "alpha_bits_per_bit")
    if alpha is not None:
        cell = format_decimal(alpha, digits=2)
        note += f" The price was {cell} bits of text per bit of model; 1 minimises "
        note += "the sum."
    missing = lengths.get("zstd_missing")
    return f"{note} {ABSENT} zstd: {missing}." if missing else note
