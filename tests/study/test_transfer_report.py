"""study/transfer_report.py: slopes, gains and spreads of made-up alignments."""

from typing import Any

import numpy as np
import pytest

from study.transfer import BASE_RM, RANDOM, TRUTH, apo_rm, retrained
from study.transfer_report import (
    alignment_spread,
    gain_table,
    llm_value,
    mean_gain,
    rm_spread,
    spread_table,
    transfer_results,
    transfer_slope,
    worlds,
)

TWO = apo_rm(2.0)
GAINS = {RANDOM: 0.0, BASE_RM: 0.4, TWO: 0.6, TRUTH: 1.2}


def alignments(slope: float = 0.5, noise: float = 0.0, seeds: int = 8) -> list[dict[str, Any]]:
    """An LLM gains `slope` times what its targets gain; worlds differ by an offset, alignments by `noise`."""
    draw = np.random.default_rng(1)
    choosers = GAINS | {retrained(TWO, 101): 0.7}
    return [
        {
            "targets": 400,
            "method": "rjs",
            "seed": seed,
            "alignment_seed": 200 + number,
            "chooser": chooser,
            "target_true_reward": gain - 1.0 + 0.1 * seed,
            "actor_true_reward": 0.0,
            "llm": {"true_reward": slope * gain + 0.2 * seed + noise * draw.normal()},
        }
        for seed in range(1, seeds + 1)
        for chooser, gain in choosers.items()
        for number in ((1,) if "RM seed" in chooser else (1, 2, 3))
    ]


def test_transfer_slope_is_that_of_the_llm_per_target() -> None:
    world = worlds(alignments(), 400, "rjs")[3]
    assert mean_gain(world, TWO, llm_value) == pytest.approx(0.3)
    assert transfer_slope(world) == pytest.approx(0.5)


def test_mean_gain_compares_the_same_alignment_seeds() -> None:
    rows = alignments()
    for row in rows:
        row["llm"]["true_reward"] += row["alignment_seed"]  # a part of both that falls out
    world = worlds(rows, 400, "rjs")[1]
    assert mean_gain(world, retrained(TWO, 101), llm_value) == pytest.approx(0.35)


def test_gain_table_has_every_chooser_but_the_random_one_and_the_slope() -> None:
    lines = gain_table(alignments(), TWO).splitlines()
    names = [line.split(" | ")[2] for line in lines[2:]]
    assert names[:4] == [BASE_RM, TWO, TRUTH, "slope, LLM per target"]
    assert names[4:] == [f"{TWO} minus {BASE_RM}", f"{TRUTH} minus {TWO}"]
    assert f"| {TRUTH} minus {TWO} | +0.600 | +0.300 " in lines[7]
    assert "| truth | +1.200 | +0.6" in lines[4]
    assert "| slope, LLM per target |  | +0.5" in lines[5]
    assert gain_table([], TWO) == "Not played by two seeds yet."


def test_transfer_results_are_what_the_table_shows() -> None:
    results = transfer_results(alignments(), TWO)
    found = {name: round(result.difference, 6) for name, result in results.items() if result}
    assert found == {"400 rjs slope": 0.5, "400 rjs base": 0.2, "400 rjs apo": 0.1, "400 rjs ceiling": 0.3}


def test_spreads_of_the_alignment_and_of_the_rm() -> None:
    by_seed = worlds(alignments(noise=0.3, seeds=40), 400, "rjs")
    assert alignment_spread(by_seed) == pytest.approx(0.3, abs=0.03)
    once = [row for row in alignments() if row["alignment_seed"] == 201]
    assert alignment_spread(worlds(once, 400, "rjs")) is None
    # Without noise, two RMs whose targets differ by 0.1 give LLMs that differ by 0.05.
    assert rm_spread(worlds(alignments(), 400, "rjs"), TWO) == pytest.approx(0.05 / 2**0.5)
    assert rm_spread(worlds(alignments(), 400, "rjs"), BASE_RM) is None


def test_spread_table_says_how_many_seeds_decide_the_difference() -> None:
    line = spread_table(alignments(noise=0.6), TWO).splitlines()[2]
    assert line.startswith("| 400 | rjs | 0.")
    assert int(line.rstrip(" |").rpartition("| ")[2]) > 6
    assert spread_table([], TWO) == "Not played by two seeds yet."
