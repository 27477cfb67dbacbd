"""study/power.py on made-up rows."""

import numpy as np

from study.power import power_table
from study.statistics import detectable, seeds_for
from tests.study.made_up import made_up


def test_power_table_is_that_of_the_spread_over_seeds() -> None:
    spread = float(np.std([0.01 * (1 + 0.1 * seed) for seed in range(1, 9)], ddof=1))
    lines = power_table(made_up(seeds=8)).splitlines()
    assert lines[2].startswith(f"| test accuracy | {spread:.3f} |")
    ten, twenty = (f"{detectable(spread, seeds):.3f}" for seeds in (10, 20))
    assert lines[2].endswith(f"| {ten} | {twenty} | 0.037: {seeds_for(0.037, spread)} |")
    assert len(lines) == 2 + 12
    assert power_table([]) == "Not played by two seeds yet."
