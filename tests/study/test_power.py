"""study/power.py on made-up rows."""

import numpy as np
import pytest

from study.power import QueryPart, power_table, query_parts, query_table
from study.settings import alignment_name, read_settings
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


def test_more_test_queries_lower_only_their_part_of_the_variance() -> None:
    part = QueryPart("rjs", "r1", 300, 10, spread=0.5, error=0.3)
    assert part.share == pytest.approx(0.36)
    assert part.share_text == "36% (11 to 76)"  # 0.36 / 1.826^2 and 0.36 / 0.688^2
    assert part.spread_with(1) == pytest.approx(0.5)
    assert part.spread_with(4) == pytest.approx((0.4**2 + 0.15**2) ** 0.5)
    assert QueryPart("rjs", "r1", 300, 10, spread=0.2, error=0.3).spread_with(1e9) < 1e-5


def test_query_table_pools_the_errors_of_the_seeds() -> None:
    settings = read_settings()
    coefficient = settings.alignment.coefficients[0]
    gains, errors = [0.1, 0.3, 0.2], [0.03, 0.04, 0.05]
    rows = [
        {
            "kind": "alignment",
            "name": alignment_name("rjs", coefficient),
            "seed": seed,
            "pairs": {"r1": {"llm_true_reward": [0.0, gain]}},
            "query_error": {"r1": {"queries": 300, "true_reward": error}},
        }
        for seed, (gain, error) in enumerate(zip(gains, errors, strict=True))
    ]
    (part,) = query_parts([*rows, {**rows[0], "name": "other"}], settings)
    assert (part.queries, part.spread) == (300, pytest.approx(0.1))
    assert part.error == pytest.approx((0.005 / 3) ** 0.5)
    line = query_table(rows, settings).splitlines()[2]
    assert line.startswith("| rjs | 1 | 300 | 0.100 | 0.041 | 17% (0 to 61) |")
    assert query_table([], settings) == "Not played by two seeds yet."
