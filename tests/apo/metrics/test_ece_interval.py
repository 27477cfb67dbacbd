"""calibration_noise.py: the interval covers, comparisons stay whole, chance is what simulation says."""

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


@pytest.mark.parametrize("bins", [5, 10, 20])
def test_the_ece_is_that_of_the_calibration(bins: int) -> None:
    margin = drawn(1, 200, factor=2.0)
    found = sure(margin, bins)
    assert found.ece == calibration_error(*both_orders(margin, 0 * margin), bins).ece
    assert found.low < found.ece < found.high


def test_the_interval_is_that_of_comparisons_drawn_one_by_one() -> None:
    margin = drawn(2, 60, factor=3.0)
    pairs = [1, 3, 0, 6, 2] * 5
    owner = np.repeat(np.arange(25), pairs)
    rng, real = np.random.default_rng(0), [unit for unit in range(25) if pairs[unit]]
    values = []
    for _ in range(3000):
        taken = np.concatenate([margin[owner == unit] for unit in rng.choice(real, size=len(real))])
        values.append(calibration_error(*both_orders(taken, 0 * taken), 10).ece)
    found = ece_interval(margin, 0 * margin, pairs, bins=10, seed=1, resamples=3000)
    assert (found.low, found.high) == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.012)


def test_pairs_that_come_together_count_as_one_comparison() -> None:
    margin = drawn(2, 60, factor=3.0)
    four = np.repeat(margin, 4)
    together = ece_interval(four, 0 * four, [4] * 60, bins=10, seed=1, resamples=500)
    once, apart = sure(margin), sure(four)
    assert (together.low, together.high) == pytest.approx((once.low, once.high), rel=1e-9)
    assert together.high - together.low > 1.6 * (apart.high - apart.low)


@pytest.mark.parametrize("bins", [5, 10])
def test_chance_is_what_labels_drawn_from_the_probabilities_give(bins: int) -> None:
    margin = drawn(3, 150, factor=2.0)
    size, rng = np.abs(margin), np.random.default_rng(0)
    values = []
    for _ in range(2000):
        won = np.where(rng.random(150) < special.expit(size), size, -size)
        values.append(calibration_error(*both_orders(won, 0 * won), bins).ece)
    expected = np.quantile(values, 0.95)
    assert sure(margin, bins, resamples=2000).by_chance == pytest.approx(
        expected, abs=0.008
    )  # of steps 0.004


def test_a_calibrated_model_stays_within_chance_and_one_that_is_too_sure_does_not() -> None:
    calibrated = [sure(drawn(seed, 300, factor=1.0)) for seed in range(60)]
    assert 0.85 <= np.mean([found.ece <= found.by_chance for found in calibrated]) <= 1.0
    too_sure = [sure(drawn(seed, 300, factor=3.0)) for seed in range(20)]
    assert all(found.ece > found.by_chance for found in too_sure)


def test_twenty_pairs_say_little_and_five_thousand_much() -> None:
    few, many = (sure(drawn(4, pairs, factor=1.0)) for pairs in (20, 5000))
    assert few.by_chance > 0.15 > 0.03 > many.by_chance
    assert few.high - few.low > 5 * (many.high - many.low)


def test_the_seed_alone_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    margin = drawn(5, 80, factor=1.5)
    assert sure(margin) == sure(margin) != sure(margin, seed=2)
    whole = sure(margin)
    monkeypatch.setattr("apo.metrics.ece_interval.BATCH", 80 * 7)  # drawn in pieces
    assert sure(margin) == whole


def test_ties_are_no_error() -> None:
    """p = 1/2 with labels 1 and 0: calibrated, whatever is drawn."""
    assert sure(np.zeros(30)) == (0.0, 0.0, 0.0, 0.0)


def test_what_has_no_interval_is_refused() -> None:
    with pytest.raises(UserError, match="found 1 comparisons with a pair"):
        ece_interval([1.0, 2.0], [0.0, 0.0], [0, 2], bins=10, seed=1, resamples=100)
    with pytest.raises(UserError, match="NaN or infinite"):
        ece_interval([np.nan, 2.0], [0.0, 0.0], [1, 1], bins=10, seed=1, resamples=100)
