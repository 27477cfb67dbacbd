"""apo/metrics/calibration.py: values by hand, bin edges, scikit-learn's curve, the authors' numbers."""

import doctest
import json
import math

import numpy as np
import pytest
from scipy import special
from sklearn.calibration import calibration_curve

from apo.core.errors import UserError
from apo.metrics import calibration
from apo.metrics.calibration import (
    both_orders,
    calibration_error,
    calibration_metrics,
    one_sided,
    reliability_curve,
)
from apo.metrics.pairs import pairs_of


def test_the_docstring_examples() -> None:
    assert doctest.testmod(calibration) == (0, 1)


def test_calibration_error_by_hand() -> None:
    # Bin (0, .5]: mean p .2, frequency 1/3, three members; bin (.5, 1]: mean p .9, frequency 0, one member.
    got = calibration_error([0.0, 1.0, 0.0, 0.0], [0.1, 0.2, 0.3, 0.9], n_bins=2)
    low, high = 1 / 3 - 0.2, 0.9
    assert got.ece == pytest.approx((3 * low + high) / 4)
    assert got.ace == pytest.approx((low + high) / 2)
    assert got.mce == pytest.approx(high)


def test_reliability_curve_puts_an_edge_into_the_bin_below() -> None:
    curve = reliability_curve([1.0] * 5, [0.0, 0.25, 0.5, 0.75, 1.0], n_bins=4)
    assert [b.count for b in curve] == [2, 1, 1, 1]
    assert [(b.lower, b.upper) for b in curve] == [(0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0)]


def test_reliability_curve_has_no_numbers_for_an_empty_bin() -> None:
    first, second = reliability_curve([1.0, 0.0], [0.9, 0.7], n_bins=2)
    assert (first.count, first.probability, first.frequency) == (0, None, None)
    assert (second.count, second.frequency) == (2, 0.5)
    assert second.probability == pytest.approx(0.8)


@pytest.mark.parametrize("n_bins", [1, 2, 3, 10, 15])
def test_reliability_curve_equals_scikit_learn(n_bins) -> None:
    rng = np.random.default_rng(n_bins)
    prob = np.concatenate([rng.random(300), np.linspace(0, 1, 21)])  # with edges
    label = (rng.random(prob.size) < prob).astype(float)
    frequency, probability = calibration_curve(label, prob, n_bins=n_bins, strategy="uniform")
    filled = [b for b in reliability_curve(label, prob, n_bins) if b.count]
    np.testing.assert_allclose([b.frequency for b in filled], frequency)
    np.testing.assert_allclose([b.probability for b in filled], probability)
    assert sum(b.count for b in filled) == prob.size


def test_calibration_error_ignores_the_order_of_pairs() -> None:
    rng = np.random.default_rng(0)
    prob, label = rng.random(200), rng.integers(0, 2, 200).astype(float)
    order = rng.permutation(200)
    assert calibration_error(label[order], prob[order], 10) == pytest.approx(
        calibration_error(label, prob, 10)
    )


def test_both_orders_by_hand() -> None:
    label, prob = both_orders([math.log(3)], [0.0])
    assert label.tolist() == [1.0, 0.0]
    assert prob.tolist() == pytest.approx([0.75, 0.25])


def test_one_sided_by_hand() -> None:
    # Right at confidence 3/4, wrong at confidence 3/4, undecided.
    label, prob = one_sided([math.log(3), 0.0, 2.0], [0.0, math.log(3), 2.0])
    assert label.tolist() == [1.0, 0.0, 0.5]
    assert prob.tolist() == pytest.approx([0.75, 0.75, 0.5])


def test_both_orders_cancel_the_middle_of_an_odd_number_of_bins() -> None:
    # All p near 0.45: always wrong, and with 5 bins both orders of a pair fall into (0.4, 0.6].
    rejected = np.linspace(0.15, 0.25, 20)
    got = calibration_metrics(np.zeros(20), rejected, bins=[5, 10])
    assert got["ece_5"] == pytest.approx(0.0, abs=1e-12)
    gap = float(special.expit(rejected).mean())
    assert got["ece_10"] == pytest.approx(gap)
    assert got["ece_onesided_5"] == pytest.approx(gap) == pytest.approx(got["ece_onesided_10"])


def test_both_orders_are_one_sided_with_half_the_bins() -> None:
    # The bins of [0.5, 1] stand in [0, 1] a second time, mirrored, with the same gaps.
    chosen, rejected = np.random.default_rng(1).normal(size=(2, 500))
    got = calibration_metrics(chosen, rejected, bins=[5, 10])
    for name in ("ece", "ace", "mce"):
        assert got[f"{name}_10"] == pytest.approx(got[f"{name}_onesided_5"])


def test_calibration_error_tells_a_calibrated_model_from_an_overconfident_one() -> None:
    rng = np.random.default_rng(2)
    margin = rng.normal(scale=1.5, size=20_000)
    sign = np.where(rng.random(margin.size) < special.expit(margin), 1.0, -1.0)  # chosen by Bradley-Terry
    zero = np.zeros_like(margin)
    true = calibration_metrics(sign * margin, zero, bins=[10])
    exaggerated = calibration_metrics(sign * margin * 3, zero, bins=[10])
    reversed_ = calibration_metrics(-sign * margin, zero, bins=[10])
    assert true["ece_10"] < 0.01 and true["ece_onesided_10"] < 0.015
    assert exaggerated["ece_10"] > 0.1 and exaggerated["ece_onesided_10"] > 0.1
    assert reversed_["ece_10"] > 0.3 and reversed_["ece_onesided_10"] > 0.3


def test_calibration_metrics_have_unique_names_and_are_json() -> None:
    got = calibration_metrics([1.0], [0.0], bins=[5, 10])
    assert len(got) == 12
    assert json.loads(json.dumps(got, allow_nan=False)) == got


def test_calibration_metrics_do_not_overflow_at_far_margins() -> None:
    got = calibration_metrics([2000.0, -2000.0], [-2000.0, 2000.0], bins=[10])
    assert got["ece_10"] == got["ece_onesided_10"] == 0.5


def test_calibration_error_refuses_what_is_no_probability() -> None:
    with pytest.raises(UserError, match="found none"):
        calibration_error([], [], 10)
    with pytest.raises(UserError, match="1 of 2 NaN"):
        calibration_error([1.0, 0.0], [math.nan, 0.2], 10)
    with pytest.raises(UserError, match=r"2 of 3 outside \[0, 1\]"):
        calibration_error([1.0, 0.0, 1.0], [-0.5, 1.5, 0.5], 10)
    with pytest.raises(UserError, match=r"1 of 1 outside \[0.5, 1\]"):
        calibration_error([1.0], [0.4], 10, lower=0.5)
    with pytest.raises(ValueError, match="0 bins"):
        calibration_error([1.0], [0.4], 0)
    with pytest.raises(ValueError, match="1 labels, 2 prob"):
        calibration_error([1.0], [0.4, 0.2], 5)
    with pytest.raises(UserError, match="found none"):
        calibration_metrics([], [], bins=[10])


# Where theirs returns a number for what can't be measured.
REFUSED = {"empty", "nan", "outside_range"}


def test_calibration_error_of_the_authors(vectors) -> None:
    compared = 0
    for case in vectors("calibration_error"):
        if case["strategy"] != "uniform":
            continue  # there is no choice of strategy here
        label, prob = ([float(value) for value in case[key]] for key in ("y_true", "y_prob"))
        if case["name"] in REFUSED:
            with pytest.raises(UserError):
                calibration_error(label, prob, case["n_bins"])
            continue
        got = calibration_error(label, prob, case["n_bins"])
        assert got == pytest.approx(case["result"], rel=1e-9, abs=1e-12), case["name"]
        compared += 1
    assert compared >= 70


def test_calibration_metrics_agree_with_compute_metrics_of_the_authors(vectors) -> None:
    compared = 0
    for case in vectors("compute_metrics"):
        real = [[s >= 0 for s in scores] for scores in case["scores"]]  # below 0: padding
        rewards, scores = (
            [
                [value for value, kept in zip(values, keep, strict=True) if kept]
                for values, keep in zip(case[key], real, strict=True)
            ]
            for key in ("logits", "scores")
        )
        chosen, rejected = pairs_of(rewards, scores)
        if not case["rm_calibration"] or not len(chosen):
            continue
        got = calibration_metrics(chosen, rejected, bins=case["calibration_bins"])
        for n_bins in case["calibration_bins"]:
            for name in ("ece", "ace", "mce"):
                expected = case["result"][f"calibration_{name.upper()}_bin{n_bins}"]
                assert got[f"{name}_{n_bins}"] == pytest.approx(expected, abs=2e-6), case["name"]
        compared += 1
    assert compared >= 45
