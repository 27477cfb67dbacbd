"""The temperature of a reward model and its calibration error, fitted and measured on valid."""

import sys
from collections.abc import Sequence

from apo.core.records import Row
from apo.evaluation.evaluate_rm import RmEvaluation, curve_rows
from apo.metrics.ece_interval import ece_interval
from apo.metrics.temperature import calibrated_metrics, fit_temperature, scale


def calibrate(valid: RmEvaluation, *, bins: Sequence[int], seed: int, resamples: int, desc: str) -> Row:
    """Fits the temperature of a model and measures its ECE without the temperature.

    Args:
        valid: The model on comparisons that it was not trained on.
        desc: Name of the model, for the message about a temperature at its bound.

    Returns:
        `fitted_on`; `comparisons` and `pairs`, their numbers; `temperature`; `temperature_bounded`, 1 if
        there is no optimum between its bounds, else 0; `ece_10`, `ece_10_low`, `ece_10_high` and
        `ece_10_by_chance` for each number of bins. The last three are absent with a single query.
    """
    temperature = fit_temperature(valid.chosen, valid.rejected)
    if temperature.ends:
        print(
            f"{desc}: the temperature fitted on valid is {temperature.value:g}, {temperature.ends}",
            file=sys.stderr,
        )
    with_pairs = [query for query, count in zip(valid.queries, valid.pairs, strict=True) if count]
    calibration: Row = {
        "fitted_on": "valid",
        "comparisons": len(with_pairs),
        "pairs": sum(valid.pairs),
        "temperature": temperature.value,
        "temperature_bounded": int(bool(temperature.ends)),
    }
    for n_bins in bins:
        calibration[f"ece_{n_bins}"] = valid.metrics[f"ece_{n_bins}"]
        if len(set(with_pairs)) > 1:
            interval = ece_interval(
                valid.chosen,
                valid.rejected,
                valid.pairs,
                queries=valid.queries,
                bins=n_bins,
                seed=seed,
                resamples=resamples,
            )
            for name, value in interval._asdict().items():
                calibration[f"ece_{n_bins}_{name}"] = value
    return calibration


def after_temperature(
    test: RmEvaluation, temperature: float, *, bins: Sequence[int]
) -> tuple[Row, list[Row]]:
    """Metrics and reliability curve of `test` with a temperature that was fitted on other comparisons."""
    metrics = calibrated_metrics(test.chosen, test.rejected, temperature=temperature, bins=bins)
    scaled = scale(test.chosen, temperature), scale(test.rejected, temperature)
    return metrics, curve_rows(*scaled, bins=bins[0])
