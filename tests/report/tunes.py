"""A ``tune.json`` by hand, for tests of what reads it."""

from typing import Any

SIZES = (60_000.0, 40_000.0, 25_000.0, 15_000.0)
ERRORS = (2.0, 2.05, 2.6, 2.4)


def make_tune(errors=ERRORS, sizes=SIZES, **changes) -> dict[str, Any]:
    """Returns a finished tune; its third point is dominated unless errors differ."""
    points = [
        {
            "name": f"point{k}",
            "budget": size,
            "size": size,
            "fraction": size / sizes[0],
            "sizes": [size, size],
            "alpha": 0.5 * k or None,
            "error": error,
            "low": error - 0.01,
            "high": error + 0.01,
            "above_larger": error - errors[k - 1] if k else None,
            "above_larger_low": error - errors[k - 1] - 0.003 if k else None,
            "above_larger_high": error - errors[k - 1] + 0.003 if k else None,
            "params": size / 2,
            "flops_per_token": size,
            "file_bytes": size,
            "steps": 100.0 * (k + 1),
            "metrics": {"bits_per_byte": {"valid": error / 0.7, "test": error / 0.7}},
            "test_error": error,
            "on_hull": k != 2,
            "dominated": k == 2,
        }
        for k, (size, error) in enumerate(zip(sizes, errors, strict=True))
    ]
    count = len(points)
    covariance = [
        [4e-5 if i == j else 3e-5 for i in range(count)] for j in range(count)
    ]
    metric = {"key": "bits_per_byte", "words": "bits per byte", "better": "low"}
    content = {
        "task": "lm",
        "target": "token",
        "measure": "bytes",
        "start_size": sizes[0],
        "sizes": list(sizes),
        "folds": 2,
        "cost": 3.0,
        "run_flops": 1e12,
        "seed": 0,
        "rule": "description_length",
        "corner": [sizes[0], max(errors)],
        "points": points,
        "held_out": {"documents": [30, 32], "targets": 60_000, "bytes": 60_000},
        "text_targets": 60_000.0,
        "by_documents": covariance,
        "by_folds": None,
        "metrics": [metric],
        "hypervolume": 0.2,
        "compared": {},
        "spent": [2.99e12, 3e12],
        "spent_in_runs": [2.99, 3.0],
        "notes": ["A note <of> a test."],
    }
    return content | changes
