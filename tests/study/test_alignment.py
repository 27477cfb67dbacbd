"""study/alignment.py: differences by hand."""

from typing import Any

from study.alignment import MEAN, alignment_results, alignment_table
from study.settings import read_settings

SETTINGS = read_settings()
FIRST, CONTROL = SETTINGS.alignment.coefficients


def row(method: str, coefficient: float, seed: int, rewards: tuple[float, float]) -> dict[str, Any]:
    pairs = {
        round: {"llm_true_reward": [9.0, reward]} for round, reward in zip(("r1", "r2"), rewards, strict=True)
    }
    return {"kind": "alignment", "name": f"{method}, coeff {coefficient:g}", "seed": seed, "pairs": pairs}


ROWS = [
    row("rjs", FIRST, 1, (0.3, 0.7)),
    row("rjs", CONTROL, 1, (0.1, 0.1)),
    row("rjs", FIRST, 2, (0.5, 0.5)),
    row("rjs", CONTROL, 2, (0.1, 0.1)),
    row("rjs", FIRST, 3, (5.0, 5.0)),  # without its control
    row("dpo", FIRST, 1, (0.9, 0.9)),  # a method of one seed
    row("dpo", CONTROL, 1, (0.1, 0.1)),
]


def test_alignment_results_pairs_coefficient_and_control_by_seed() -> None:
    results = alignment_results(ROWS, SETTINGS)
    assert list(results) == ["rjs 1", "rjs 2", MEAN]
    assert results["rjs 1"].seeds == 2
    assert abs(results["rjs 1"].difference - 0.3) < 1e-12
    assert abs(results["rjs 2"].difference - 0.5) < 1e-12


def test_alignment_results_mean_is_one_number_a_seed() -> None:
    mean = alignment_results(ROWS, SETTINGS)[MEAN]  # (0.2 + 0.6) / 2 and (0.4 + 0.4) / 2
    assert mean.seeds == 2
    assert abs(mean.difference - 0.4) < 1e-12
    assert mean.spread < 1e-12


def test_alignment_table_has_the_mean_last_and_nothing_without_games() -> None:
    lines = alignment_table(ROWS, SETTINGS).splitlines()
    assert lines[-1].startswith(f"| {MEAN} |")
    assert alignment_table([], SETTINGS) == "Not played by two seeds yet."
