"""study/real/report.py: tables of made-up rows, and the committed page."""

from typing import Any

from study.real.__main__ import PAGE, RESULTS
from study.real.jobs import BASE_RM, apo_rm, cut_golden
from study.real.report import (
    choice_table,
    difference_table,
    golden_table,
    less_accurate,
    llm_table,
    page,
    reward_models,
    rm_table,
    transcripts,
)
from study.real.settings import read_real_settings

SETTINGS = read_real_settings()


def rm(accuracy: float, *, chooses: bool = True) -> dict[str, Any]:
    choice = {"tau_test_rm": 0.5, "tau_words": None, "test_rm": [1.0, 0.5, 2.0], "words": [30.0, 20.0, 40.0]}
    measured = {"accuracy": accuracy, "pairs": 100, "nll": 0.6, "ece_10": 0.1}
    return measured | {"by_set": {"harmless": [accuracy, 50]}} | (choice if chooses else {})


def row(seed: int, coefficient: float, base: float, apo: float) -> dict[str, Any]:
    return {
        "kind": "rm",
        "name": apo_rm(coefficient),
        "seed": seed,
        "seconds": 3600.0,
        "code": "a",
        "rms": {BASE_RM: rm(base), apo_rm(coefficient): rm(apo), "testing RM": rm(0.9, chooses=False)},
        "golden": {"queries": 5, "golden_words": 200.0, "sample_words": 70.0, "golden_longer": 0.8},
    }


LLM_ROW: dict[str, Any] = {
    "kind": "llm",
    "name": "rjs, coeff 2",
    "seed": 1,
    "seconds": 1800.0,
    "code": "a",
    "llms": {
        "actor": {"score_mean": 1.0, "score_low": 0.9, "score_high": 1.1, "words_mean": 50.0},
        "apo": {
            "score_mean": 2.0,
            "score_low": 1.9,
            "score_high": 2.1,
            "words_mean": 60.0,
            "kl_per_token": 0.01,
        },
    },
    "apo_vs_base": {"difference": 0.2, "low": -0.1, "high": 0.5},
    "transcripts": {
        "actor": ["One.\n\nTwo | three.", "b", "c"],
        "apo": ["x", "y", "z"],
    },
}
ROWS = [row(1, 2.0, 0.6, 0.7), row(2, 2.0, 0.62, 0.62), row(1, 0.0, 0.6, 0.65), LLM_ROW]


def test_rm_table_has_means_over_seeds_with_the_interval_of_the_pairs() -> None:
    both = [*ROWS, row(2, 0.0, 0.62, 0.65)]
    lines = rm_table(reward_models(both)).splitlines()
    assert lines[0].startswith("| reward model | seeds | harmless | all test pairs |")
    assert "| base RM | 1, 2 | 61.0 (47 to 73) | 61.0 (51 to 70) | 0.600 | 0.100 |" in lines
    assert any(line.startswith("| testing RM | 1, 2 |") for line in lines)


def test_every_rm_has_the_mean_of_its_seeds_and_names_them() -> None:
    """Coeff 0 was played with seed 1 only."""
    for table in (rm_table(reward_models(ROWS)), choice_table(reward_models(ROWS))):
        assert "| base RM | 1, 2 |" in table
        assert "| APO RM, coeff 0 | 1 |" in table
    assert "| base RM | 1, 2 | 61.0 (47 to 73) |" in rm_table(reward_models(ROWS))
    apart = [row(1, 2.0, 0.6, 0.7), row(2, 0.0, 0.6, 0.7)]  # no seed that all have
    assert "| APO RM, coeff 2 | 1 | 70.0" in rm_table(reward_models(apart))
    assert "| APO RM, coeff 0 | 2 | 70.0" in rm_table(reward_models(apart))
    assert list(reward_models(apart)) == [BASE_RM, apo_rm(2.0), apo_rm(0.0), "testing RM"]


def test_difference_table_pairs_by_seed() -> None:
    lines = difference_table(reward_models(ROWS), SETTINGS).splitlines()
    assert "| APO RM, coeff 2 | base RM | 1, 2 | +10.00, +0.00 | +0.00, +0.00 |" in lines[2][:80]
    assert lines[3].startswith("| APO RM, coeff 2 | APO RM, coeff 0 | 1 | +5.00 |")


def test_length_control_is_compared_with_its_rm_too() -> None:
    cut = {**ROWS[0], "rms": {cut_golden(2.0): rm(0.75)}}
    last = difference_table(reward_models([*ROWS, cut]), SETTINGS).splitlines()[-1]
    assert last.startswith(f"| {cut_golden(2.0)} | {apo_rm(2.0)} | 1 |")


def test_less_accurate_counts_the_seeds_of_both() -> None:
    assert less_accurate(reward_models(ROWS), SETTINGS) == "0 of 1"
    worse = [row(2, 0.0, 0.6, 0.7), row(2, 2.0, 0.6, 0.65)]
    assert less_accurate(reward_models([*ROWS, *worse]), SETTINGS) == "1 of 2"


def test_choice_table_leaves_out_the_testing_rm_and_a_tau_that_is_not_known() -> None:
    table = choice_table(reward_models(ROWS))
    assert "testing RM |" not in table.partition("\n")[2]
    assert "| base RM | 1, 2 | +0.50 |  | 0.33 | 30.0 (20.0) |" in table


def test_llm_table_has_the_control_and_each_shared_llm_once() -> None:
    assert (
        "| rjs | 1 | apo, coeff 2 | 2.00 (1.90 to 2.10) | +0.20 (-0.10 to +0.50) | not played | 0.010 | 60 |"
        in (llm_table(ROWS))
    )
    control = {**LLM_ROW, "name": "rjs, coeff 0", "llms": {**LLM_ROW["llms"]}}
    control["llms"]["apo"] = {**LLM_ROW["llms"]["apo"], "score_mean": 1.5}
    lines = llm_table([LLM_ROW, control, {**control, "seed": 2}]).splitlines()[2:]
    assert [line.split(" | ")[2] for line in lines] == [
        "actor",
        "apo, coeff 2",
        "apo, coeff 0",
        "actor",
        "apo, coeff 0",
    ]
    assert [line.split(" | ")[5] for line in lines] == ["", "+0.50", "", "", ""]


def test_transcripts_and_lengths() -> None:
    text = transcripts(ROWS, SETTINGS)
    assert "| actor | One. / Two \\| three. |" in text
    assert all(query in text for query in SETTINGS.queries)
    assert golden_table(ROWS).count("| 200 | 70 | 0.80 |") == 3


def test_page_without_rows_says_so() -> None:
    assert "Not played yet." in page([], SETTINGS)


def test_the_committed_page_is_made_from_the_committed_rows() -> None:
    from apo.core.records import read_rows

    rows = list(read_rows(RESULTS)) if RESULTS.is_file() else []
    assert PAGE.read_text(encoding="utf-8") == page(rows, SETTINGS)
