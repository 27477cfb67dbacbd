"""apo/scoring/gate.py: which reward models may train a language model, and what the others are told."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from apo.core.config import read_section
from apo.core.errors import UserError
from apo.evaluation.settings import EvaluateRM
from apo.scoring.gate import check_calibration, read_calibration
from apo.scoring.settings import Gate
from tests.helpers.small_repo import ROOT

RECORD = {"pairs": 482, "ece_10": 0.2, "ece_10_low": 0.17, "ece_10_high": 0.26, "ece_10_by_chance": 0.05}


def gate(record: Any, limit: float, bins: int = 10) -> dict[str, Any]:
    settings = Gate(max_ece=limit, bins=bins)
    return check_calibration(Path("models/rm_apo/r1"), record, settings, source="metrics/evaluate.json")


def test_check_calibration_stops_above_the_limit_only() -> None:
    assert gate(RECORD, 0.21) == {"max_ece": 0.21, "valid_ece": 0.2}
    assert gate(RECORD, 0.2) == {"max_ece": 0.2, "valid_ece": 0.2}
    with pytest.raises(UserError) as error:
        gate(RECORD, 0.199)
    assert str(error.value) == (
        "models/rm_apo/r1: found an ECE of 0.200 on valid (10 bins, 482 pairs, 95 % interval 0.170 to "
        "0.260, up to 0.050 by chance alone); expected at most 0.199, `gate.max_ece`, before a language"
        " model learns from it; look at reliability.csv of its evaluation in metrics/curves; train it "
        "for fewer `rm.epochs` or with a smaller `rm.lr`; or raise `gate.max_ece` (1.0 lets every "
        "reward model pass)"
    )


def test_check_calibration_logs_few_pairs() -> None:
    for record in (RECORD | {"ece_10_by_chance": 0.19}, {"pairs": 1, "ece_10": 0.2}):
        with pytest.raises(UserError, match=r"raise `split\.valid_fraction`: so few pairs can't show"):
            gate(record, 0.1)


@pytest.mark.parametrize(
    ("record", "known"),
    [
        (None, "none"),
        ("text", "none"),
        ({"fitted_on": "nothing"}, "none"),
        ({"pairs": 3, "ece_5": 0.1, "ece_5_low": 0.0, "ece_20": 0.1}, "5, 20"),
        (RECORD | {"ece_10": math.nan}, "10"),  # nan > limit is false
        (RECORD | {"ece_10": None}, "10"),
    ],
)
def test_check_calibration_without_an_ece_passes_an_open_gate_alone(record: Any, known: str) -> None:
    with pytest.raises(
        UserError, match=rf"metrics/evaluate\.json: found no ECE .* 10 bins, but with {known};"
    ):
        gate(record, 0.99)
    assert gate(record, 1.0) == {"max_ece": 1.0}


def test_check_calibration_with_an_open_gate_passes_all() -> None:
    assert gate(RECORD | {"ece_10": 1.0}, 1.0) == {"max_ece": 1.0, "valid_ece": 1.0}


def test_check_calibration_passes_the_demo_at_the_committed_limit() -> None:
    gate = read_section(ROOT / "params.yaml", "gate", Gate)
    bins = read_section(ROOT / "params.yaml", "evaluate_rm", EvaluateRM).calibration_bins
    assert gate.bins in bins
    files = [path for path in (ROOT / "metrics").rglob("evaluate_*_rm.json") if "test" not in path.name]
    measured = [read_calibration(path)[f"ece_{gate.bins}"] for path in files]
    assert len(measured) >= 2 and max(measured) < 0.75 * gate.max_ece


# What the evaluation wrote


def test_read_calibration_reads_an_evaluation(tmp_path: Path) -> None:
    path = tmp_path / "evaluate.json"
    path.write_text(json.dumps({"base_rm": {"test": {}, "calibration": RECORD}}))
    assert read_calibration(path) == RECORD
    path.write_text(json.dumps({"test_rm": {"test": {}}}))
    assert read_calibration(path) is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"{}", b'{"a": 1}', b'{"a": {}, "b": {}}', b"\xff", b"[" * 100_000]
)
def test_read_calibration_refuses_what_is_no_evaluation(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "evaluate.json"
    path.write_bytes(content)
    with pytest.raises(
        UserError, match=r"evaluate\.json: found (no metrics of one|bytes that are not UTF-8)"
    ):
        read_calibration(path)


def test_read_calibration_says_what_writes_a_missing_evaluation(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"none\.json: found no such file; .*evaluate_base_rm and evaluate_apo"
    ):
        read_calibration(tmp_path / "none.json")
