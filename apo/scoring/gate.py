"""The gate before a reward model trains a language model: its calibration error on valid must be small.

The error is measured without the temperature; docs/calibration.md says why.
"""

import json
import math
from pathlib import Path
from typing import Any

from apo.core.errors import UserError
from apo.core.records import Row, decoded
from apo.scoring.settings import Gate

OFF = 1.0  # no ECE is above it


def read_calibration(evaluation: Path) -> Any:
    """The calibration of one reward model in the metrics file of its evaluation; None if it has none.

    Raises:
        UserError: There is no such file, or it is not JSON.
    """
    try:
        [metrics] = json.loads(decoded(evaluation.read_bytes(), where=str(evaluation))).values()
        return metrics.get("calibration")
    except (OSError, ValueError, AttributeError, RecursionError):
        raise UserError(
            str(evaluation),
            found="no metrics of one reward model" if evaluation.is_file() else "no such file",
            expected="the evaluation of a reward model",
            do="run `dvc repro`: stages evaluate_base_rm and evaluate_apo_rm write it",
        ) from None


def check_calibration(model: Path, calibration: Any, gate: Gate, *, source: str) -> Row:
    """Checks that the ECE of a reward model on valid is at most the limit.

    Args:
        model: Its checkpoint, for the message.
        calibration: The result of `read_calibration`.
        gate: `max_ece`, the limit; with 1.0 every model passes, also one without an ECE. `bins`, the number
            of bins of the ECE.

    Returns:
        `max_ece`, the limit, and `valid_ece`, if it is known.

    Raises:
        UserError: The ECE is above the limit, or there is none for this number of bins.
    """
    limit, bins = gate.max_ece, gate.bins
    metrics = calibration if isinstance(calibration, dict) else {}
    ece = metrics.get(f"ece_{bins}")
    if not isinstance(ece, float) or not math.isfinite(ece):
        if limit >= OFF:
            return {"max_ece": limit}
        numbers = sorted(int(key[4:]) for key in metrics if key.startswith("ece_") and key[4:].isdigit())
        raise UserError(
            source,
            found=f"no ECE on valid with {bins} bins, but with {', '.join(map(str, numbers)) or 'none'}",
            expected="the one that `gate.max_ece` limits",
            do="write into `gate.bins` a number of `evaluate_rm.calibration_bins`, or give comparisons for "
            "valid; `gate.max_ece: 1.0` lets every reward model pass",
        )
    if ece > limit:
        raise UserError(
            str(model),
            found=f"an ECE of {ece:.3f} on valid ({_uncertainty(metrics, bins)})",
            expected=f"at most {limit:g}, `gate.max_ece`, before a language model learns from it",
            do="look at reliability.csv of its evaluation in metrics/curves; train it for fewer `rm.epochs` "
            f"or with a smaller `rm.lr`; or {_remedy(metrics, bins, limit)}",
        )
    return {"max_ece": limit, "valid_ece": ece}


def _uncertainty(calibration: Row, bins: int) -> str:
    """The number of pairs that an ECE was measured on, its interval, and the ECE by chance alone."""
    measured = f"{bins} bins, {calibration['pairs']} pairs"
    if f"ece_{bins}_by_chance" not in calibration:
        return measured
    low, high, chance = (calibration[f"ece_{bins}_{name}"] for name in ("low", "high", "by_chance"))
    return f"{measured}, 95 % interval {low:.3f} to {high:.3f}, up to {chance:.3f} by chance alone"


def _remedy(calibration: Row, bins: int, limit: float) -> str:
    """The last advice of the message: more pairs, if they are too few for this limit; else another limit."""
    if calibration.get(f"ece_{bins}_by_chance", math.inf) > limit:
        return "raise `split.valid_fraction`: so few pairs can't show an ECE below this limit"
    return "raise `gate.max_ece` (1.0 lets every reward model pass)"
