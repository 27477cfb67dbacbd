"""study/alignment.py: differences by hand."""

from typing import Any

from study.alignment import (
    SCORE,
    SIDES,
    alignment_mean,
    alignment_results,
    alignment_table,
    alignment_values,
    mean_table,
    round_growth,
    samples_growth,
    samples_table,
)
from study.settings import read_settings

SETTINGS = read_settings()
FIRST, CONTROL = SETTINGS.alignment.coefficients


def row(method: str, coefficient: float, seed: int, rewards: tuple[float, float]) -> dict[str, Any]:
    pairs = {
        round: {"llm_true_reward": [0.05, reward], "llm_score": [0.0, -reward]}
        for round, reward in zip(("r1", "r2"), rewards, strict=True)
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
    assert list(results) == ["rjs 1", "rjs 2"]
    assert results["rjs 1"].seeds == 2
    assert abs(results["rjs 1"].difference - 0.3) < 1e-12
    assert abs(results["rjs 2"].difference - 0.5) < 1e-12


WHOLE = [
    row(method, coefficient, seed, (reward + 0.1 * seed, reward + 0.3 * seed))
    for method in ("rjs", "rrhf", "dpo")
    for coefficient, reward in ((FIRST, 0.5), (CONTROL, 0.1))
    for seed in (1, 2)
]


def test_alignment_mean_is_one_number_a_seed_against_each_control() -> None:
    mean = alignment_mean(WHOLE, SETTINGS)
    assert mean is not None
    assert mean.seeds == 2
    assert abs(mean.difference - 0.4) < 1e-12
    assert mean.spread < 1e-12
    over_base = [alignment_mean(WHOLE, SETTINGS, side=side) for side in SIDES[1:3]]
    assert [round(result.difference, 6) for result in over_base if result] == [0.75, 0.35]
    score = alignment_mean(WHOLE, SETTINGS, SCORE)
    assert score is not None
    assert abs(score.difference + 0.4) < 1e-12
    assert alignment_mean(ROWS, SETTINGS) is None  # two of the six cells


def test_round_growth_is_round_two_minus_round_one() -> None:
    rows = [
        row(method, FIRST, seed, (0.5, 0.9 + seed)) for method in ("rjs", "rrhf", "dpo") for seed in (1, 2)
    ]
    rows += [row(method, CONTROL, seed, (0.1, 0.2)) for method in ("rjs", "rrhf", "dpo") for seed in (1, 2)]
    growth = round_growth(rows, SETTINGS)
    assert growth is not None
    assert abs(growth.difference - (0.7 + 1.5 - 0.4)) < 1e-12
    beyond = round_growth(rows, SETTINGS, over_first=True)
    assert beyond is not None
    assert abs(beyond.difference - (growth.difference - 0.4)) < 1e-12
    score = round_growth(rows, SETTINGS, SCORE)
    assert score is not None
    assert abs(score.difference + growth.difference) < 1e-12
    assert round_growth(ROWS, SETTINGS) is None


def test_alignment_mean_at_the_papers_coefficient_is_of_the_main_games() -> None:
    assert SIDES[3:] == ("coeff 0.1 minus coeff 0", "coeff 2 minus coeff 0.1")
    small = [
        row(method, 0.1, seed, (0.2 + 0.1 * seed, 0.2 + 0.3 * seed)) | {"kind": "method", "name": method}
        for method in ("rjs", "rrhf", "dpo")
        for seed in (1, 2)
    ]
    found = [alignment_mean(WHOLE + small, SETTINGS, side=side) for side in SIDES[3:]]
    assert [round(result.difference, 6) for result in found if result] == [0.1, 0.3]
    assert alignment_mean(WHOLE, SETTINGS, side=SIDES[3]) is None


def test_alignment_tables_show_both_measures_and_what_was_planned() -> None:
    line = alignment_table(ROWS, SETTINGS).splitlines()[2]
    assert "| +0.300 (" in line
    assert "| -0.300 (" in line
    lines = mean_table(WHOLE, SETTINGS).splitlines()[2:]
    assert len(lines) == 6
    assert [" | yes | " in line for line in lines] == [True, *[False] * 5]
    assert alignment_table([], SETTINGS) == mean_table([], SETTINGS) == "Not played by two seeds yet."


def test_alignment_values_name_what_the_pages_quote() -> None:
    found = alignment_values(WHOLE, SETTINGS)
    assert f"{found['aligned']['mean']:d} {found['aligned_score']['mean']:d}" == "+0.400 -0.400"
    assert found["aligned_ahead"] == "6 of 6"
    assert f"{alignment_values([], SETTINGS)['aligned_needs']['true']}" == "not played"


def choice(coefficient: float, seed: int, apo: tuple[float, float, float]) -> dict[str, Any]:
    names = ("chosen_of_2", "chosen_of_3", "chosen")
    pairs = {name: [0.1 * seed, reward] for name, reward in zip(names, apo, strict=True)} | {
        "random": [0.0, 0.0]
    }
    return {"kind": "alignment", "name": f"rjs, coeff {coefficient:g}", "seed": seed, "pairs": {"r1": pairs}}


def test_samples_table_shows_the_choice_among_fewer_samples() -> None:
    rows = [choice(FIRST, seed, (0.4, 0.5, 0.9)) for seed in (1, 2)]
    rows += [choice(CONTROL, seed, (0.3, 0.4, 0.1 * seed)) for seed in (1, 2)]
    two, three, four = samples_table(rows, SETTINGS).splitlines()[2:]
    assert two.startswith("| 2 | +0.150 | +0.250 (no bound) |")
    assert three.startswith("| 3 | +0.150 | +0.350 (no bound) |")
    assert "| +0.750 (no bound) | 0.500 |" in four
    growth = samples_growth(rows, SETTINGS)
    assert growth is not None
    assert abs(growth.difference - 0.65) < 1e-12  # 0.5 among more, against -0.15
    assert samples_table([], SETTINGS) == "Not played by two seeds yet."
