"""The paper's claims, each as a difference between games of the study, with a verdict by a rule."""

from collections.abc import Sequence
from dataclasses import dataclass

from apo.metrics.statistics import rank_correlation
from study.comparing import APO, Row, arms, between, of_arm, played
from study.statistics import Paired, paired

HOLDS, FAILS, OPEN = "holds here", "does not hold here", "cannot be decided at this size"
UNPLAYED = "not played"
SAME = 0.01
"""Accuracies closer than this count as the same; APO gains 0.037 in the paper."""


@dataclass(frozen=True)
class Claim:
    """One line of the report.

    Attributes:
        text: What the paper says, with its numbers as they are reported.
        measured: What is measured here for it.
        found: The difference over seeds; None where it has not been played.
        side: The sign that the claim has; 0 where it says that there is no difference.
        paper: The paper's difference in the same unit, where there is one.
    """

    text: str
    measured: str
    found: Paired | None
    side: int
    paper: float | None = None

    @property
    def verdict(self) -> str:
        """By `judge`."""
        if self.found is None:
            return UNPLAYED
        return judge(self.found.low, self.found.high, side=self.side, paper=self.paper)


def judge(low: float, high: float, *, side: int, paper: float | None) -> str:
    """Whether an interval of a difference agrees with a claim.

    A difference holds where the whole interval has its sign. It does not hold where the whole interval has
    the other sign, or where it leaves out half of the paper's difference. That two are the same holds where
    the interval is within `SAME` of 0, and does not where it is outside. All else is open.

    >>> judge(-0.01, 0.004, side=1, paper=0.037)  # at most 0.004, half of the paper's is 0.0185
    'does not hold here'
    """
    if side == 0:
        if low >= -SAME and high <= SAME:
            return HOLDS
        return FAILS if low > SAME or high < -SAME else OPEN
    if side < 0:
        low, high = -high, -low
    if low > 0:
        return HOLDS
    return FAILS if high < 0 or (paper is not None and high < abs(paper) / 2) else OPEN


def claims(rows: Sequence[Row]) -> list[Claim]:
    """All of them, with what the games say."""
    methods = {name: played(rows, "method", name) for name in ("rjs", "rrhf", "dpo")}
    start = methods["rjs"]
    gail, wgan, sequential, none = (
        played(rows, "condition", name)
        for name in (
            "GAIL (kl_coeff 0)",
            "WGAN",
            "sequential (from the base RM)",
            "no adversarial samples (coeff 0)",
        )
    )

    def against_apo(games: dict[int, Row], measure: str) -> Paired | None:
        value = of_arm(measure, "r1", APO)
        return between(games, value, start, value)

    found = [
        Claim(
            "the APO RM is more accurate than the base RM: 63.04 -> 66.73 %",
            "test accuracy, round one",
            arms(start, "accuracy"),
            1,
            0.0369,
        ),
        Claim(
            "... and more so from round to round: 66.73, 67.07, 67.56 %",
            "test accuracy, APO RM of round two minus that of round one",
            between(start, of_arm("accuracy", "r2", APO), start, of_arm("accuracy", "r1", APO)),
            1,
            0.0034,
        ),
        Claim(
            "it is less calibrated than the base RM, by a little: ECE .019 -> .033",
            "ECE on test, round one",
            arms(start, "ece"),
            1,
            0.014,
        ),
        Claim(
            "without adversarial samples the RM is as good as the base RM: 63.53 and 63.04 %",
            "test accuracy, coeff 0 minus base",
            arms(none, "accuracy"),
            0,
        ),
        Claim(
            "so the samples make the difference: 66.73 % with, 63.53 % without",
            "test accuracy, APO minus coeff 0",
            between(start, of_arm("accuracy", "r1", APO), none, of_arm("accuracy", "r1", APO)),
            1,
            0.032,
        ),
        Claim(
            "golden > samples alone (GAIL) make a worse RM: 56.58 %",
            "test accuracy, GAIL minus base",
            arms(gail, "accuracy"),
            -1,
            -0.0646,
        ),
        Claim(
            "... and an uncalibrated one: ECE .167", "ECE, GAIL minus APO", against_apo(gail, "ece"), 1, 0.134
        ),
        Claim("WGAN is less calibrated: ECE .067", "ECE, WGAN minus APO", against_apo(wgan, "ece"), 1, 0.034),
        Claim(
            "the sequential RM is less calibrated: ECE .093 against .031 (third round)",
            "ECE, sequential minus APO, round one",
            against_apo(sequential, "ece"),
            1,
            0.062,
        ),
        Claim(
            "the lower the ECE, the better the rejection sampling",
            "rank correlation of ECE and share of best over the APO RMs of a seed, mean over seeds",
            ece_and_choice(rows),
            -1,
        ),
    ]
    for name, before, after in (("rjs", 1.582, 1.623), ("rrhf", 2.201, 2.302), ("dpo", 2.445, 2.633)):
        for one, said in (("r1", "one"), ("r2", "two")):
            found.append(
                Claim(
                    f"APO helps the LLM that learns by {name.upper()}: {before} -> {after} by the testing RM",
                    f"score by the testing RM, round {said}",
                    arms(methods[name], "llm_score", one),
                    1,
                )
            )
    return found


def ece_and_choice(rows: Sequence[Row]) -> Paired | None:
    """Kendall's tau between ECE on test and `share_of_best` over the APO RMs of one seed that choose among
    the same samples, as a mean over seeds; None where a seed has fewer than three."""
    by_seed: dict[int, list[tuple[float, float]]] = {}
    for row in rows:
        if row["kind"] == "condition" or row["name"] == "rjs":
            pairs = row["pairs"]["r1"]
            if same_samples(row, rows):
                by_seed.setdefault(row["seed"], []).append((pairs["ece"][APO], pairs["share_of_best"][APO]))
    found = [
        rank_correlation([ece for ece, _ in pairs], [share for _, share in pairs])
        for pairs in by_seed.values()
        if len(pairs) > 2
    ]
    taus = [tau for tau in found if tau is not None]
    return paired(taus, [0.0] * len(taus)) if len(taus) > 1 else None


def same_samples(row: Row, rows: Sequence[Row]) -> bool:
    """Whether a game chose among the samples of the baseline of its seed."""
    baseline = played(rows, "method", "rjs").get(row["seed"])
    return baseline is not None and all(
        row["start"][name] == baseline["start"][name] for name in ("random", "best")
    )
