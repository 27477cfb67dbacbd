"""study/claims.py: the verdict rule, and claims that name their games."""

import pytest

from study.claims import (
    FAILS,
    HOLDS,
    OPEN,
    SMALLER,
    UNPLAYED,
    claims,
    claims_table,
    ece_and_choice,
    verdict_for,
)
from study.paired import APO
from tests.study.made_up import made_up


@pytest.mark.parametrize(
    ("low", "high", "side", "paper", "verdict"),
    [
        (0.001, 0.05, 1, 0.037, HOLDS),
        (0.001, 0.0186, 1, 0.037, HOLDS),  # half of 0.037 is 0.0185
        (0.001, 0.0184, 1, 0.037, SMALLER),
        (0.001, 0.0001, 1, None, HOLDS),
        (-0.05, -0.001, 1, 0.037, FAILS),
        (-0.01, 0.0184, 1, 0.037, FAILS),
        (-0.01, 0.0186, 1, 0.037, OPEN),
        (-0.01, 0.0001, 1, None, OPEN),
        (-0.05, -0.001, -1, -0.0646, HOLDS),
        (-0.0322, -0.001, -1, -0.0646, SMALLER),
        (-0.0322, 0.01, -1, -0.0646, FAILS),
        (-0.0324, 0.01, -1, -0.0646, OPEN),
        (-0.009, 0.009, 0, None, HOLDS),
        (0.011, 0.03, 0, None, FAILS),
        (-0.011, 0.009, 0, None, OPEN),
    ],
)
def test_verdict_for(low: float, high: float, side: int, paper: float | None, verdict: str) -> None:
    assert verdict_for(low, high, side=side, paper=paper) == verdict


def test_claims_find_their_games_by_name() -> None:
    """A setting that is renamed in settings.yaml would leave its claims without games."""
    sentences = claims(made_up(seeds=8))
    assert all(
        claim.result and claim.result.seeds == 8 for claim in sentences if "rank" not in claim.measured
    )
    by_text = {claim.text[:24]: claim for claim in sentences}
    assert by_text["the APO RM is more accur"].verdict == SMALLER  # 0.014 of 0.037
    assert by_text["golden > samples alone ("].verdict == FAILS  # claimed worse, made up better
    turned = {claim.text[:24]: claim for claim in claims(made_up(8, **{"GAIL (kl_coeff 0)": -0.05}))}
    assert turned["golden > samples alone ("].verdict == HOLDS
    assert all(claim.verdict == UNPLAYED for claim in claims([]))


def test_claims_table_is_bold_only_where_holm_leaves_it() -> None:
    rows = made_up(seeds=8)
    # 2 / 256 times the claims that were played is above 5 %.
    assert "**" not in claims_table(rows)
    assert "| does not hold |" in claims_table(rows)
    lines = claims_table(made_up(seeds=10)).splitlines()
    assert any(line.endswith("**holds** |") for line in lines)  # 15 x 2 / 1024
    (same,) = (line for line in lines if "is as good as the base RM" in line)
    assert same.endswith("| 0.0020 |  | does not hold |")  # a small p speaks against a claim of no difference
    assert "| test accuracy, GAIL minus base |  |  |  | not played |" in claims_table([])


def test_ece_and_choice_is_minus_one_for_opposite_orders() -> None:
    rows = made_up(seeds=8, WGAN=0.03, **{"coeff 0.5": 0.02})
    for row in rows:
        row["pairs"]["r1"]["share_of_best"] = [0.5, 1 - row["pairs"]["r1"]["ece"][APO]]
    result = ece_and_choice(rows)
    assert result is not None
    assert result.difference == pytest.approx(-1.0)
    for row in rows:
        if row["kind"] == "sweep":
            row["start"] = {**row["start"], "random": -0.6}  # other samples: not to be compared
    assert ece_and_choice(rows) is None
