"""What a model card says of a model's origin, and of what became of it."""

from typing import Any

from slimjax.interop.card import make_card

IMPORTED: dict[str, Any] = {"path": "smollm", "sha256": "0123456789abcdef" * 4}
COMPRESSED: dict[str, Any] = {
    "task": "lm",
    "size": {"params": 1_000, "params_start": 2_000, "packed_file_bytes": 500},
    "compress": {
        "budget": "25%",
        "size": "bytes",
        "origin": IMPORTED,
        "bits_by_matrix": {"a": [2, 4], "b": [3], "c": [4]},
        "errors": [
            {
                "source": "text:a|b.txt",
                "before": {"perplexity": 20.0, "bits_per_byte": 1.5},
                "after": {"perplexity": 21.5, "bits_per_byte": 1.25},
            },
            {"source": "text:c.txt", "before": {}, "after": {"cosine": 0.98765}},
        ],
    },
}


def card_of(report, **options):
    return make_card("small", report, notes=[], config={}, **options)


def rows_of(report):
    lines = [x for x in card_of(report).splitlines() if x.startswith("| ")]
    return dict(x.strip("| ").rsplit(" | ", 1) for x in lines if " | " in x[2:-2])


def test_a_compressed_model_has_the_origin_of_its_original():
    card = card_of(COMPRESSED)
    assert "Made of `smollm` (SHA-256 of its weights 0123456789abcdef...)" in card
    assert "compressed by slimjax" in card
    assert "Trained" not in card


def test_a_card_has_errors_bits_and_sizes_before_and_after_compression():
    rows = rows_of(COMPRESSED)
    text = "on `text:a\\|b.txt`, before and after"
    assert rows[f"perplexity {text}"] == "20, 21.5"
    assert rows[f"bits per byte {text}"] == "1.5, 1.25"
    assert rows["mean cosine to the original on `text:c.txt`"] == "0.98765"
    assert rows["bits of matrices"] == "2, 3, 4"
    assert rows["bits per parameter, the whole packed file"] == "4.00"
    assert rows["parameters"] == "1,000"
    assert rows["parameters of the original"] == "2,000"
    assert rows["budget"] == "25% (bytes)"


def test_other_models_say_how_they_were_made():
    assert "Made of `smollm` (SHA" in card_of({"imported": IMPORTED})
    assert "Trained by slimjax for the task `mlm`." in card_of({"task": "mlm"})
    start = {"task": "lm", "init_from": {"folder": "/home/runs/first"}}
    assert "from the weights of `first`." in card_of(start)
    own = {"task": "lm", "compress": {"origin": None}}
    assert "for the task `lm`, and then compressed." in card_of(own)
    assert "class" not in rows_of({})


def test_a_report_with_nothing_in_it_makes_a_card():
    for report in ({}, {"compress": 3}, {"compress": {"errors": [{}]}}, {"size": []}):
        assert "# small" in card_of(report)
