"""apo/evaluation/rm_calibration.py: the temperature and the calibration error of a reward model, by hand."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apo.core.config import read_section
from apo.core.errors import UserError
from apo.evaluation.evaluate_rm import RmEvaluation
from apo.evaluation.rm_calibration import after_temperature, calibrate
from apo.metrics.calibration import both_orders, calibration_error
from apo.metrics.pairs import pair_counts, pair_metrics, pairs_of
from apo.scoring.gate import check_calibration
from apo.scoring.settings import Gate
from tests.helpers.small_repo import ROOT


def valid(
    scores: list[list[float]], rewards: list[list[float]], bins: list[int], queries: list[int] | None = None
) -> RmEvaluation:
    """Rewards as if they were measured on valid; each comparison has a query of its own if none are given."""
    chosen, rejected = pairs_of(rewards, scores)
    ece = {f"ece_{n}": calibration_error(*both_orders(chosen, rejected), n).ece for n in bins}
    return RmEvaluation(ece, [], chosen, rejected, pair_counts(scores), queries or list(range(len(scores))))


def test_calibrate_by_hand() -> None:
    # Eight comparisons of margin 4 ln 3, six of them right: T = 4, and p = 81/82 where 3/4 is true. A ninth
    # has no pair.
    m = 4 * math.log(3)
    scores = [[1.0, 0.0]] * 8 + [[1.0, 1.0]]
    rewards = [[m, 0.0]] * 6 + [[0.0, m]] * 2 + [[9.0, 0.0]]
    record = calibrate(valid(scores, rewards, [4, 10]), bins=[4, 10], seed=1, resamples=400, desc="rm")
    assert record["fitted_on"] == "valid"
    assert (record["comparisons"], record["pairs"]) == (8, 8)
    assert record["temperature"] == pytest.approx(4.0)
    assert record["temperature_bounded"] == 0
    for bins in (4, 10):
        assert record[f"ece_{bins}"] == pytest.approx(81 / 82 - 3 / 4)
        assert record[f"ece_{bins}_low"] < record[f"ece_{bins}"] < record[f"ece_{bins}_high"]
        # By chance one of eight is lost: |81/82 - 7/8|; two are in 0.4 % of all draws.
        assert record[f"ece_{bins}_by_chance"] == pytest.approx(81 / 82 - 7 / 8)


def test_calibrate_draws_the_comparisons_of_a_query_together() -> None:
    scores, rewards = [[1.0, 0.0]] * 60, [[1.0, 0.0]] * 40 + [[0.0, 1.0]] * 20
    options: dict[str, Any] = {"bins": [10], "seed": 1, "resamples": 400, "desc": "rm"}
    apart = calibrate(valid(scores, rewards, [10]), **options)
    together = calibrate(valid(scores, rewards, [10], [index // 10 for index in range(60)]), **options)
    widths = [one["ece_10_high"] - one["ece_10_low"] for one in (apart, together)]
    assert widths[1] > 1.5 * widths[0] and apart["ece_10"] == together["ece_10"]
    assert "ece_10_low" not in calibrate(valid(scores, rewards, [10], [0] * 60), **options)


def test_calibrate_reports_a_temperature_without_optimum(capsys: pytest.CaptureFixture[str]) -> None:
    scores, rewards = [[2.0, 1.0, 0.0]], [[3.0, 2.0, 1.0]]
    record = calibrate(valid(scores, rewards, [10]), bins=[10], seed=1, resamples=100, desc="apo_rm")
    assert (record["temperature"], record["temperature_bounded"]) == (0.01, 1)
    assert (record["comparisons"], record["pairs"]) == (1, 3)
    assert "ece_10" in record and "ece_10_low" not in record  # no interval of a single comparison
    stderr = capsys.readouterr().err
    assert stderr.startswith("apo_rm: the temperature fitted on valid is 0.01, the lowest tried")
    assert stderr.count("\n") == 1


def test_after_temperature_random_rewards_have_a_low_ece() -> None:
    """Why the gate looks at the error before it."""
    rng = np.random.default_rng(1)
    scores = [[1.0, 0.0]] * 2000
    measured = valid(scores, rng.normal(0, 6, size=(2000, 2)).tolist(), [10])
    record = calibrate(measured, bins=[10], seed=1, resamples=100, desc="rm")
    after, _ = after_temperature(measured, record["temperature"], bins=[10])
    gate = read_section(ROOT / "params.yaml", "gate", Gate)
    assert pair_metrics(measured.chosen, measured.rejected)["accuracy"] == pytest.approx(0.5, abs=0.05)
    assert record["ece_10"] > 0.4 > gate.max_ece > 0.05 > after["ece_10"]
    with pytest.raises(UserError, match=r"found an ECE of 0\.4"):
        check_calibration(Path("models/rm"), record, gate, source="evaluation.json")
