"""The temperature of a reward model and its calibration error, fitted and measured on valid."""

import sys
from collections.abc import Sequence

from apo.core.records import Row
from apo.evaluation.evaluate_rm import RmEvaluation, curve_rows
from apo.metrics.ece_interval import ece_interval
from apo.metrics.temperature import calibrated_metrics, fit_temperature, scale


def calibrate(valid: RmEvaluation, *, bins: Sequence[int], seed: int, resamples: int, desc: str) -> Row:
    """The temperature of a model and, as its rewards stand, its ECE with what is known of its noise.

    Args:
        valid: The model on comparisons that it was not trained on.
        bins: Numbers of bins.
        seed: Of the resampling.
        resamples: For the interval of an ECE.
        desc: Name of the model, for a temperature at its bound.

    Returns:
        `fitted_on`, `comparisons` and `pairs`, how many; `temperature`, `temperature_bounded`, 1 where it has
        no optimum inside its bounds; `ece_10`, `ece_10_low`, `ece_10_high` and `ece_10_by_chance` for each
        number in `bins`. The three of noise are absent on a single comparison.
    """
    found = fit_temperature(valid.chosen, valid.rejected)
    if found.ends:
        print(f"{desc}: the temperature fitted on valid is {found.value:g}, {found.ends}", file=sys.stderr)
    comparisons = sum(count > 0 for count in valid.pairs)
    record: Row = {
        "fitted_on": "valid",
        "comparisons": comparisons,
        "pairs": sum(valid.pairs),
        "temperature": found.value,
        "temperature_bounded": int(bool(found.ends)),
    }
    for number in bins:
        record[f"ece_{number}"] = valid.metrics[f"ece_{number}"]
        if comparisons > 1:
            sure = ece_interval(
                valid.chosen, valid.rejected, valid.pairs, bins=number, seed=seed, resamples=resamples
            )
            for name in ("low", "high", "by_chance"):
                record[f"ece_{number}_{name}"] = getattr(sure, name)
    return record


def after_temperature(
    test: RmEvaluation, temperature: float, *, bins: Sequence[int]
) -> tuple[Row, list[Row]]:
    """Metrics and reliability curve of `test` at a temperature that was fitted elsewhere."""
    metrics = calibrated_metrics(test.chosen, test.rejected, temperature=temperature, bins=bins)
    scaled = scale(test.chosen, temperature), scale(test.rejected, temperature)
    return metrics, curve_rows(*scaled, bins=bins[0])
