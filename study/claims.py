"""The paper's claims, each as a difference between games of the study, with a verdict by a fixed rule."""

from collections.abc import Sequence
from dataclasses import dataclass

from apo.metrics.statistics import rank_correlation
from study.markdown import difference_text, p_text, table
from study.paired import (
    APO,
    CONTROL,
    Games,
    Row,
    against_zero,
    apo_minus_base,
    difference,
    games_of,
    of_arm,
    same_samples,
)
from study.statistics import LEVEL, Paired, holm

HOLDS, SMALLER, FAILS, OPEN = "holds", "same sign, smaller", "does not hold", "undecided"
UNPLAYED = "not played"
ECE_AND_CHOICE = "the lower the ECE, the better the rejection sampling"
SAME = 0.01
"""Accuracies closer than this count as the same; APO gains 0.037 in the paper."""


@dataclass(frozen=True)
class Claim:
    """One line of the table.

    Attributes:
        text: The claim, with the numbers that the paper reports.
        measured: The measure of the study for it.
        result: The difference over seeds; None if it was not played.
        side: The sign of the claimed difference; 0 if the claim is that there is none.
        paper: The paper's difference in the same unit, if there is one.
    """

    text: str
    measured: str
    result: Paired | None
    side: int
    paper: float | None = None

    @property
    def verdict(self) -> str:
        """By `verdict_for`."""
        if self.result is None:
            return UNPLAYED
        return verdict_for(self.result.low, self.result.high, side=self.side, paper=self.paper)


def verdict_for(low: float, high: float, *, side: int, paper: float | None) -> str:
    """Whether the 95 % interval of a difference agrees with a claim.

    With the sign of the claim as plus: a claim with an interval above 0 holds if the interval reaches half of
    the paper's difference; otherwise it has the same sign but is smaller. With an interval below 0 it does
    not hold. With an interval around 0 it does not hold if all of the interval is below half of the paper's
    difference; otherwise it is undecided. A claim of no difference holds if the interval is within `SAME` of
    0, and does not hold if it is outside.

    >>> verdict_for(0.002, 0.013, side=1, paper=0.037)  # half of the paper's is 0.0185
    'same sign, smaller'
    """
    if side == 0:
        if low >= -SAME and high <= SAME:
            return HOLDS
        return FAILS if low > SAME or high < -SAME else OPEN
    if side < 0:
        low, high = -high, -low
    below_half = paper is not None and high < abs(paper) / 2
    if low > 0:
        return SMALLER if below_half else HOLDS
    return FAILS if high < 0 or below_half else OPEN


def claims_table(rows: Sequence[Row]) -> str:
    """A line for each claim of the paper, with p and Holm of the hypothesis that there is no difference.

    A claim that there is none has no Holm: a small p speaks against it.
    """
    all_claims = claims(rows)
    corrected = iter(holm([claim.result.p for claim in all_claims if claim.result and claim.side]))
    lines = []
    for claim in all_claims:
        result = claim.result
        if result is None:
            lines.append([claim.text, claim.measured, "", "", "", UNPLAYED])
            continue
        p = next(corrected) if claim.side else None
        verdict = claim.verdict if p is None or p > LEVEL else f"**{claim.verdict}**"
        measured = f"{claim.measured}: {difference_text(result)}"
        paper = "" if claim.paper is None else f"{claim.paper:+.3f}"
        lines.append([claim.text, measured, paper, p_text(result.p), "" if p is None else p_text(p), verdict])
    return table(["the paper", "here", "the paper's difference", "p", "Holm", "verdict"], lines)


def claims_holm(rows: Sequence[Row]) -> dict[str, float]:
    """Holm's p by the text of a claim, over all that claim a difference; the last of two with one text."""
    tested = [(claim.text, claim.result.p) for claim in claims(rows) if claim.result and claim.side]
    return dict(zip((text for text, _ in tested), holm([p for _, p in tested]), strict=True))


def claims(rows: Sequence[Row]) -> list[Claim]:
    """All claims with the results of the games."""
    return [*_rm_claims(rows), *_ablation_claims(rows), *_llm_claims(rows)]


def _rm_claims(rows: Sequence[Row]) -> list[Claim]:
    baseline, without_samples = games_of(rows, "method", "rjs"), games_of(rows, "sweep", CONTROL)
    accuracy = of_arm("accuracy", "r1", APO)
    return [
        Claim(
            "the APO RM is more accurate than the base RM: 63.04 -> 66.73 %",
            "test accuracy, round one",
            apo_minus_base(baseline, "accuracy"),
            1,
            0.0369,
        ),
        Claim(
            "... and more so from round to round: 66.73, 67.07, 67.56 %",
            "test accuracy, APO RM of round two minus that of round one",
            difference(baseline, of_arm("accuracy", "r2", APO), baseline, accuracy),
            1,
            0.0034,
        ),
        Claim(
            "it is less calibrated than the base RM, by a little: ECE .019 -> .033",
            "ECE on test, round one",
            apo_minus_base(baseline, "ece"),
            1,
            0.014,
        ),
        Claim(
            "without adversarial samples the RM is as good as the base RM: 63.53 and 63.04 %",
            "test accuracy, coeff 0 minus base",
            apo_minus_base(without_samples, "accuracy"),
            0,
        ),
        Claim(
            "so the samples make the difference: 66.73 % with, 63.53 % without",
            "test accuracy, APO minus coeff 0",
            difference(baseline, accuracy, without_samples, accuracy),
            1,
            0.032,
        ),
    ]


def _ablation_claims(rows: Sequence[Row]) -> list[Claim]:
    baseline = games_of(rows, "method", "rjs")
    gail, wgan, sequential = (
        games_of(rows, "sweep", name)
        for name in ("GAIL (kl_coeff 0)", "WGAN", "sequential (from the base RM)")
    )

    def ece_over_apo(games: Games) -> Paired | None:
        ece = of_arm("ece", "r1", APO)
        return difference(games, ece, baseline, ece)

    return [
        Claim(
            "golden > samples alone (GAIL) make a worse RM: 56.58 %",
            "test accuracy, GAIL minus base",
            apo_minus_base(gail, "accuracy"),
            -1,
            -0.0646,
        ),
        Claim("... and an uncalibrated one: ECE .167", "ECE, GAIL minus APO", ece_over_apo(gail), 1, 0.134),
        Claim("WGAN is less calibrated: ECE .067", "ECE, WGAN minus APO", ece_over_apo(wgan), 1, 0.034),
        Claim(
            "the sequential RM is less calibrated: ECE .093 against .031 (third round)",
            "ECE, sequential minus APO, round one",
            ece_over_apo(sequential),
            1,
            0.062,
        ),
        Claim(
            ECE_AND_CHOICE,
            "rank correlation of ECE and share of best over the APO RMs of a seed, mean over seeds",
            ece_and_choice(rows),
            -1,
        ),
    ]


def _llm_claims(rows: Sequence[Row]) -> list[Claim]:
    reported = {"rjs": (1.582, 1.623), "rrhf": (2.201, 2.302), "dpo": (2.445, 2.633)}
    return [
        Claim(
            f"APO helps the LLM that learns by {name.upper()}: {before} -> {after} by the testing RM",
            f"score by the testing RM, round {word}",
            apo_minus_base(games_of(rows, "method", name), "llm_score", round),
            1,
        )
        for name, (before, after) in reported.items()
        for round, word in (("r1", "one"), ("r2", "two"))
    ]


def ece_and_choice(rows: Sequence[Row]) -> Paired | None:
    """Kendall's tau between ECE on test and `share_of_best`, as a mean over seeds.

    It is taken over the APO RMs of one seed that choose among the same samples. Seeds with fewer than three
    are left out.
    """
    by_seed: dict[int, list[tuple[float, float]]] = {}
    for row in rows:
        if (row["kind"] == "sweep" or (row["kind"], row["name"]) == ("method", "rjs")) and same_samples(
            row, rows
        ):
            pairs = row["pairs"]["r1"]
            by_seed.setdefault(row["seed"], []).append((pairs["ece"][APO], pairs["share_of_best"][APO]))
    taus = [
        rank_correlation([ece for ece, _ in pairs], [share for _, share in pairs])
        for pairs in by_seed.values()
        if len(pairs) > 2
    ]
    return against_zero([tau for tau in taus if tau is not None])
