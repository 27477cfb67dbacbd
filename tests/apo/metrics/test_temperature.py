"""measuring/temperature.py: closed forms, generic optimizers, logistic regression, what has no optimum."""

import doctest
import math

import numpy as np
import pytest
from scipy import optimize, special
from sklearn.linear_model import LogisticRegression

from apo.core.errors import UserError
from apo.metrics import temperature
from apo.metrics.calibration import both_orders, calibration_error
from apo.metrics.pairs import pair_metrics
from apo.metrics.temperature import HIGHEST, LOWEST, calibrated_metrics, fit_temperature


def fitted(margin: list[float] | np.ndarray) -> temperature.Temperature:
    """On margins, the rejected responses having any rewards."""
    rejected = np.linspace(-3, 5, len(margin))
    return fit_temperature(np.asarray(margin) + rejected, rejected)


def drawn(seed: int, true: float, pairs: int = 300) -> np.ndarray:
    """Margins of pairs that are won with probability sigma(margin / true), negative where lost."""
    rng = np.random.default_rng(seed)
    size = np.abs(rng.normal(0, 2, pairs))
    return np.where(rng.random(pairs) < special.expit(size / true), size, -size)


def test_the_docstring_examples() -> None:
    assert doctest.testmod(temperature) == (0, 1)


@pytest.mark.parametrize("margin", [0.3, 2.0, 11.0])
@pytest.mark.parametrize(("right", "pairs"), [(3, 4), (7, 10), (99, 100), (501, 1000)])
def test_fit_temperature_of_one_margin_won_k_of_n_times(margin: float, right: int, pairs: int) -> None:
    """sigma(m / T) = k / n, so T = m / ln(k / (n - k))."""
    expected = margin / math.log(right / (pairs - right))
    temperature = fitted([margin] * right + [-margin] * (pairs - right))
    if LOWEST < expected < HIGHEST:
        assert temperature == (pytest.approx(expected, rel=1e-9), "")
    else:
        assert temperature.value == HIGHEST


def test_fit_temperature_of_two_margins_by_hand() -> None:
    # Margins ln 2 (won twice, lost once) and 0: a tie says nothing about T. sigma(ln 2 / T) = 2/3 at T = 1.
    assert fitted([math.log(2), math.log(2), -math.log(2), 0.0]).value == pytest.approx(1.0, rel=1e-12)
    # A model that says four times as much as it should.
    assert fitted(4 * np.array([math.log(2), math.log(2), -math.log(2)])).value == pytest.approx(4.0)


@pytest.mark.parametrize("seed", range(5))
def test_fit_temperature_equals_a_generic_optimizer(seed: int) -> None:
    margin = drawn(seed, true=0.4 * (seed + 1))
    best = optimize.minimize_scalar(
        lambda log_t: np.logaddexp(0, -margin / math.exp(log_t)).mean(), bounds=(-4, 4), method="bounded"
    )
    assert fitted(margin).value == pytest.approx(math.exp(best.x), rel=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_fit_temperature_equals_logistic_regression_without_intercept(seed: int) -> None:
    """Whose coefficient on the margins of both orders is 1 / T."""
    margin = drawn(seed, true=2.5)
    model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=1000)
    model.fit(np.concatenate([margin, -margin])[:, None], [1] * margin.size + [0] * margin.size)
    assert fitted(margin).value == pytest.approx(1 / model.coef_[0, 0], rel=1e-5)


def test_fit_temperature_finds_the_temperature_of_the_labels() -> None:
    assert fitted(drawn(1, true=3.0, pairs=100_000)).value == pytest.approx(3.0, rel=0.03)
    assert fitted(drawn(2, true=0.5, pairs=100_000)).value == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_fit_temperature_scales_with_the_rewards(factor: float) -> None:
    margin = drawn(3, true=1.0)
    assert fitted(factor * margin).value == pytest.approx(factor * fitted(margin).value, rel=1e-9)


def test_fit_temperature_ignores_order_and_a_constant() -> None:
    margin = drawn(4, true=1.0)
    assert fitted(margin[::-1]).value == pytest.approx(fitted(margin).value, rel=1e-9)
    assert fit_temperature(margin + 7, np.full_like(margin, 7)).value == pytest.approx(fitted(margin).value)


@pytest.mark.parametrize(
    ("margin", "value", "message"),
    [
        ([1.0, 2.0, 0.5], LOWEST, "lowest"),  # separable: the surer the better
        ([1.0, 0.0, 0.0], LOWEST, "lowest"),
        ([900.0, 800.0], LOWEST, "lowest"),  # no overflow, no rounding to 0 that looks like a root
        ([1e-5, 1e-5, -1e-5], LOWEST, "lowest"),  # 1.4e-5 would be best
        ([-1.0, -2.0], HIGHEST, "highest"),
        ([1.0, -1.0], HIGHEST, "highest"),  # a coin
        ([3.0, -5.0, 1.0], HIGHEST, "highest"),
        ([1e4, 1e4, -1e4], HIGHEST, "highest"),  # 1.4e4 would be best
        ([0.0, 0.0], 1.0, "any"),
    ],
)
def test_fit_temperature_without_optimum_ends_at_a_bound(
    margin: list[float], value: float, message: str
) -> None:
    temperature = (
        fitted(margin) if max(map(abs, margin)) < 1e3 else fit_temperature(margin, [0.0] * len(margin))
    )
    assert temperature.value == value
    assert message in temperature.ends


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_fit_temperature_refuses_what_is_no_reward(bad: float) -> None:
    with pytest.raises(UserError, match="1 of 2 NaN or infinite"):
        fit_temperature([bad, 1.0], [0.0, 0.0])
    with pytest.raises(UserError, match="1 of 2 NaN or infinite"):
        calibrated_metrics([1.0, 2.0], [0.0, bad], temperature=2.0, bins=[10])
    with pytest.raises(UserError, match="found none"):
        fit_temperature([], [])
    with pytest.raises(ValueError, match="2 chosen rewards, 1 rejected"):
        fit_temperature([1.0, 2.0], [0.0])


# What it does to metrics


def test_calibrated_metrics_by_hand() -> None:
    # Margins 2 ln 3 and -2 ln 3 at T = 2: p is 3/4 and 1/4.
    m = 2 * math.log(3)
    metrics = calibrated_metrics([m, 0.0], [0.0, m], temperature=2.0, bins=[10])
    assert metrics["nll"] == pytest.approx(-(math.log(3 / 4) + math.log(1 / 4)) / 2)
    assert metrics["brier"] == pytest.approx((1 / 16 + 9 / 16) / 2)
    assert metrics["ece_10"] == pytest.approx(1 / 4)  # sure to 3/4, right in 1/2
    assert metrics["ece_onesided_10"] == pytest.approx(1 / 4)


def test_calibrated_metrics_at_temperature_one_are_those_of_the_rewards() -> None:
    margin = drawn(5, true=2.0)
    metrics = calibrated_metrics(margin, 0 * margin, temperature=1.0, bins=[10])
    of_rewards = pair_metrics(margin, 0 * margin)
    assert (metrics["nll"], metrics["brier"]) == (of_rewards["nll"], of_rewards["brier"])
    assert metrics["ece_10"] == calibration_error(*both_orders(margin, 0 * margin), 10).ece


@pytest.mark.parametrize("value", [LOWEST, 0.7, 3.0, HIGHEST])
def test_calibrated_metrics_keep_the_accuracy(value: float) -> None:
    rng = np.random.default_rng(6)
    chosen, rejected = rng.normal(size=(2, 400)).round(1)  # with ties
    before = pair_metrics(chosen, rejected)
    after = pair_metrics(temperature.scale(chosen, value), temperature.scale(rejected, value))
    assert before["reward_ties"] > 0
    for name in ("pairs", "reward_ties", "accuracy", "accuracy_low", "accuracy_high"):
        assert after[name] == before[name]
    assert after["nll"] != before["nll"]


def test_fit_temperature_lowers_the_loss_of_old_and_new_pairs() -> None:
    old, new = drawn(7, true=3.0, pairs=2000), drawn(8, true=3.0, pairs=2000)
    value = fitted(old).value
    for margin in (old, new):
        raw = calibrated_metrics(margin, 0 * margin, temperature=1.0, bins=[10])
        scaled = calibrated_metrics(margin, 0 * margin, temperature=value, bins=[10])
        for name in ("nll", "brier", "ece_10", "ece_onesided_10"):
            assert scaled[name] < raw[name], name
    for other in (0.98, 1.02):
        at = calibrated_metrics(old, 0 * old, temperature=other * value, bins=[10])["nll"]
        assert at > calibrated_metrics(old, 0 * old, temperature=value, bins=[10])["nll"]
