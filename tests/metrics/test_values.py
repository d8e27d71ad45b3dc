"""Metrics of numbers and of rankings agree with SciPy and with slow counts."""

import numpy as np
import pytest
from scipy import stats

from slimjax.metrics.bootstrap import Resamples, estimate
from slimjax.metrics.reported import RANKS, VALUES

ROWS = {
    "value": np.random.default_rng(0).normal(size=50).round(1),
    "prediction": np.random.default_rng(1).normal(size=50).round(1),
}
METRICS = {metric.key: metric.of for metric in VALUES}


def test_correlations_are_those_of_scipy():
    x, y = ROWS["prediction"], ROWS["value"]
    y = ROWS["value"] + 0.5 * x
    rows = {"prediction": x, "value": y}
    found = {name: float(of(rows)) for name, of in METRICS.items()}
    assert found == pytest.approx(
        {
            "pearson": stats.pearsonr(x, y).statistic,
            "spearman": stats.spearmanr(x, y).statistic,
            "mae": np.abs(x - y).mean(),
            "rmse": np.sqrt(((x - y) ** 2).mean()),
        },
        abs=1e-12,
    )


@pytest.mark.parametrize("name", METRICS)
def test_a_resample_is_scored_as_a_sample_of_its_own(name):
    drawn = np.random.default_rng(1).integers(50, size=(4, 50))
    found = METRICS[name](Resamples(ROWS, drawn))
    one_by_one = [METRICS[name]({k: v[i] for k, v in ROWS.items()}) for i in drawn]
    np.testing.assert_allclose(found, one_by_one, atol=1e-12)


def test_a_constant_correlates_with_nothing():
    rows = {"prediction": np.full(7, 0.1), "value": np.arange(7.0)}
    assert np.isnan(METRICS["pearson"](rows))
    assert np.isnan(METRICS["spearman"](rows))


def test_metrics_of_ranks_are_counts_of_places():
    ranks = np.random.default_rng(2).integers(1, 13, size=30)
    found = {metric.key: float(metric.of({"rank": ranks})) for metric in RANKS}
    assert found == pytest.approx(
        {
            "mrr": np.mean([1 / rank for rank in ranks]),
            **{f"hit_at_{k}": np.mean(ranks <= k) for k in (1, 5, 10)},
        },
        abs=1e-12,
    )


def test_the_intervals_of_several_values_are_percentiles_of_a_loop():
    of = lambda c: np.stack([c["value"].mean(-1), c["value"].max(-1)], axis=-1)
    found = estimate({"both": of}, ROWS, num_resamples=60, seed=3)["both"]
    drawn = np.random.default_rng(3).integers(50, size=(60, 50))
    slow = [[ROWS["value"][i].mean(), ROWS["value"][i].max()] for i in drawn]
    np.testing.assert_allclose(found[1:], np.quantile(slow, (0.025, 0.975), axis=0))
    assert found.value.shape == (2,)


def test_resamples_without_a_value_are_left_out():
    of = lambda c: np.where(c["value"].max(-1) > 1.5, c["value"].mean(-1), np.nan)
    never = lambda c: np.full(c["value"].shape[:-1], np.nan)
    found = estimate({"some": of, "never": never}, ROWS, num_resamples=50)
    assert np.isfinite(found["some"]).all()
    assert np.isnan(found["never"]).all()
