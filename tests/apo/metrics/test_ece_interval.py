"""apo/metrics/ece_interval.py: it covers, comparisons stay whole, chance is what simulation says."""

import numpy as np
import pytest
from scipy import special

from apo.core.errors import UserError
from apo.metrics.calibration import both_orders, calibration_error
from apo.metrics.ece_interval import ece_interval


def drawn(seed: int, pairs: int, *, factor: float) -> np.ndarray:
    """Margins of a model that says `factor` times as much as is true; 1 is perfectly calibrated."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 1.2, pairs)
    return factor * np.where(rng.random(pairs) < special.expit(np.abs(true)), 1, -1) * np.abs(true)


def sure(margin: np.ndarray, bins: int = 10, seed: int = 1, resamples: int = 500):
    return ece_interval(margin, 0 * margin, [1] * margin.size, bins=bins, seed=seed, resamples=resamples)


def ece_of(margin: np.ndarray, bins: int = 10) -> float:
    return calibration_error(*both_orders(margin, 0 * margin), bins).ece


@pytest.mark.parametrize("bins", [5, 10, 20])
def test_ece_interval_has_the_ece_inside(bins: int) -> None:
    margin = drawn(1, 200, factor=2.0)
    interval = sure(margin, bins)
    assert interval.low < ece_of(margin, bins) < interval.high


def test_ece_interval_equals_drawing_comparisons_one_by_one() -> None:
    margin = drawn(2, 60, factor=3.0)
    pairs = [1, 3, 0, 6, 2] * 5
    owner = np.repeat(np.arange(25), pairs)
    rng, real = np.random.default_rng(0), [unit for unit in range(25) if pairs[unit]]
    values = []
    for _ in range(1500):
        taken = np.concatenate([margin[owner == unit] for unit in rng.choice(real, size=len(real))])
        values.append(ece_of(taken))
    interval = ece_interval(margin, 0 * margin, pairs, bins=10, seed=1, resamples=1500)
    assert (interval.low, interval.high) == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.012)


def test_ece_interval_draws_pairs_of_a_comparison_together() -> None:
    margin = drawn(2, 60, factor=3.0)
    four = np.repeat(margin, 4)
    together = ece_interval(four, 0 * four, [4] * 60, bins=10, seed=1, resamples=500)
    once, apart = sure(margin), sure(four)
    assert (together.low, together.high) == pytest.approx((once.low, once.high), rel=1e-9)
    assert together.high - together.low > 1.6 * (apart.high - apart.low)


def test_ece_interval_draws_comparisons_of_a_query_together() -> None:
    margin = drawn(2, 60, factor=3.0)
    four = np.repeat(margin, 4)
    queries = [query for query in range(60) for _ in range(4)]
    together = ece_interval(four, 0 * four, [1] * 240, queries=queries, bins=10, seed=1, resamples=500)
    once = sure(margin)
    assert (together.low, together.high) == pytest.approx((once.low, once.high), rel=1e-9)


@pytest.mark.parametrize("bins", [5, 10])
def test_ece_interval_chance_is_that_of_drawn_labels(bins: int) -> None:
    margin = drawn(3, 150, factor=2.0)
    size, rng = np.abs(margin), np.random.default_rng(0)
    values = []
    for _ in range(1000):
        won = np.where(rng.random(150) < special.expit(size), size, -size)
        values.append(ece_of(won, bins))
    expected = np.quantile(values, 0.95)
    assert sure(margin, bins, resamples=1000).by_chance == pytest.approx(
        expected, abs=0.008
    )  # of steps 0.004


def test_ece_interval_of_a_calibrated_model_is_within_chance() -> None:
    calibrated = [drawn(seed, 300, factor=1.0) for seed in range(60)]
    assert 0.85 <= np.mean([ece_of(margin) <= sure(margin).by_chance for margin in calibrated]) <= 1.0
    too_sure = [drawn(seed, 300, factor=3.0) for seed in range(20)]
    assert all(ece_of(margin) > sure(margin).by_chance for margin in too_sure)


def test_ece_interval_narrows_with_more_pairs() -> None:
    few, many = (sure(drawn(4, pairs, factor=1.0)) for pairs in (20, 5000))
    assert few.by_chance > 0.15 > 0.03 > many.by_chance
    assert few.high - few.low > 5 * (many.high - many.low)


def test_ece_interval_depends_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    margin = drawn(5, 80, factor=1.5)
    assert sure(margin) == sure(margin) != sure(margin, seed=2)
    whole = sure(margin)
    monkeypatch.setattr("apo.metrics.ece_interval.BATCH", 80 * 7)  # drawn in pieces
    assert sure(margin) == whole


def test_ece_interval_takes_ties() -> None:
    """p = 1/2 with labels 1 and 0: calibrated, whatever is drawn."""
    assert sure(np.zeros(30)) == (0.0, 0.0, 0.0)


def test_ece_interval_refuses_what_has_no_interval() -> None:
    with pytest.raises(UserError, match="found 1 comparisons with a pair"):
        ece_interval([1.0, 2.0], [0.0, 0.0], [0, 2], bins=10, seed=1, resamples=100)
    with pytest.raises(UserError, match="NaN or infinite"):
        ece_interval([np.nan, 2.0], [0.0, 0.0], [1, 1], bins=10, seed=1, resamples=100)
