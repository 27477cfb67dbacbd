"""evaluate_rm: a reward model on comparisons that it was not trained on.

In: a reward model, the comparisons of test and, where it was not trained on them, of valid. Out: its
reliability curves, histograms of its rewards, accuracy by margin, and its right pairs by query. Metrics:
accuracy, likelihood, calibration; the temperature fitted on valid; in the demo the same of the true reward.
Instances: `evaluate_base_rm`, `evaluate_apo_rm`, `evaluate_test_rm`. Paper, section 4.2.
"""

from pathlib import Path
from typing import Any

from apo.chunks.resumable import open_chunks
from apo.core.cache import fingerprint
from apo.core.config import read_section, read_seed
from apo.core.records import write_json, write_rows
from apo.core.stage import run
from apo.core.tables import write_csv
from apo.evaluation.evaluate_rm import measure, rate_comparisons
from apo.evaluation.paired import RIGHT, right_by_query
from apo.evaluation.rm_calibration import after_temperature, calibrate
from apo.evaluation.settings import EvaluateRM
from apo.metrics.histograms import histogram_rows, margin_rows
from apo.model import runtime
from apo.model.checkpoint import load_reward_model


def main(
    name: str,
    model: Path,
    test: Path,
    truth: Path,
    out: Path,
    metrics: Path,
    valid: Path | None = None,
    params: Path = Path("params.yaml"),
) -> None:
    settings, seed = read_section(params, "evaluate_rm", EvaluateRM), read_seed(params)
    bins, device = settings.calibration_bins, runtime.set_up()
    files = {"test": test} | ({"valid": valid} if valid else {})
    key = fingerprint([runtime.numerics()], [model, *files.values()])
    with open_chunks(f"evaluate_{name}", key) as chunks:
        reward_model = load_reward_model(model).to(device).eval()
        rated = {
            split: rate_comparisons(reward_model, file, desc=f"{name} {split}", chunks=chunks)
            for split, file in files.items()
        }
    measured = {split: measure(rows, truth=truth, bins=bins) for split, rows in rated.items()}
    results: dict[str, Any] = {split: part.metrics for split, part in measured.items()}
    points = [{"split": split, **row} for split, part in measured.items() for row in part.curve]
    curves = {"reliability": points}
    if valid:
        resamples = settings.bootstrap
        calibration = calibrate(measured["valid"], bins=bins, seed=seed, resamples=resamples, desc=name)
        calibrated, points = after_temperature(measured["test"], calibration["temperature"], bins=bins)
        results["test"]["calibrated"] = calibrated
        curves["reliability_calibrated"] = [{"split": "test", **row} for row in points]
    results["calibration"] = calibration if valid else {"fitted_on": "nothing"}
    write_rows(out / RIGHT, right_by_query(rated["test"].rows, rated["test"].rewards))
    pairs = measured["test"]
    curves["rewards"] = histogram_rows({"chosen": pairs.chosen, "rejected": pairs.rejected})
    curves["margins"] = margin_rows(pairs.chosen, pairs.rejected)
    for curve, points in curves.items():
        write_csv(out / f"{curve}.csv", points)
    write_json(metrics, {name: results})


if __name__ == "__main__":
    run(main)
