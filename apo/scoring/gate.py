"""The gate before a reward model trains a language model: is its calibration error on valid small enough?

The error is that of the rewards as they stand, before the temperature. The temperature is fitted on the same
pairs, so after it hardly any model has an error there: one with random rewards gets a high temperature, says
1/2 to every pair, and is calibrated. And it changes no order, so it can't mend what the language model would
learn. What an error before it shows is a model whose margins left the data: too far apart for how often they
are right.
"""

import math
from pathlib import Path
from typing import Any

from apo.core.errors import UserError
from apo.core.records import Row

OFF = 1.0  # no ECE is above it


def check_calibration(name: str, model: Path, calibration: Any, *, limit: float, bins: int) -> Row:
    """Lets a reward model pass whose ECE on valid is at most the limit.

    Args:
        name: Arm and round, for the message.
        model: Its checkpoint, for the message.
        calibration: `apo_calibration` of its config.json, as `rm_calibration.calibrate` gives it.
        limit: `rm.max_ece`; 1.0 lets every model pass, also one without an ECE.
        bins: `rm.max_ece_bins`.

    Returns:
        `max_ece`, the limit, and `valid_ece`, where it is known.

    Raises:
        UserError: The ECE is above the limit, or there is none for this number of bins.
    """
    known = calibration if isinstance(calibration, dict) else {}
    ece = known.get(f"ece_{bins}")
    if not isinstance(ece, float) or not math.isfinite(ece):
        if limit >= OFF:
            return {"max_ece": limit}
        others = sorted(int(key[4:]) for key in known if key.startswith("ece_") and key[4:].isdigit())
        raise UserError(
            f"{model}/config.json",
            found=f"no ECE on valid with {bins} bins, but with {', '.join(map(str, others)) or 'none'}",
            expected="the one that `rm.max_ece` limits",
            do="write into `rm.max_ece_bins` a number of `rm.calibration_bins`, or take a reward model of "
            "train_base_rm or train_apo_rm; `rm.max_ece: 1.0` lets every one pass",
        )
    if ece > limit:
        raise UserError(
            f"{model}, of {name}",
            found=f"an ECE of {ece:.3f} on valid ({_sureness(known, bins)})",
            expected=f"at most {limit:g}, `rm.max_ece`, before a language model learns from it",
            do="look at reliability.csv of its stage in metrics/curves; train it for fewer `rm.epochs` or "
            f"with a smaller `rm.lr`; or {_last_way_out(known, bins, limit)}",
        )
    return {"max_ece": limit, "valid_ece": ece}


def _sureness(calibration: Row, bins: int) -> str:
    """How many pairs it was measured on, its interval, and what chance alone gives on so few."""
    found = f"{bins} bins, {calibration['pairs']} pairs"
    if f"ece_{bins}_by_chance" not in calibration:
        return found
    low, high, chance = (calibration[f"ece_{bins}_{name}"] for name in ("low", "high", "by_chance"))
    return f"{found}, 95 % interval {low:.3f} to {high:.3f}, up to {chance:.3f} by chance alone"


def _last_way_out(calibration: Row, bins: int, limit: float) -> str:
    """Pairs, where there are too few for this limit; else the limit."""
    if calibration.get(f"ece_{bins}_by_chance", math.inf) > limit:
        return "raise `split.valid_fraction`: so few pairs can't show an ECE below this limit"
    return "raise `rm.max_ece` (1.0 lets every reward model pass)"
