"""The verdict in a judge's reply, and the metrics of many verdicts on two language models."""

import re
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from apo.core.records import Row
from apo.endpoint.reply_cache import Reply

_DECORATION = " \t*_#>`\"'[](){}.!$\\"
_VERDICT = re.compile(
    r"(?:(?:final )?verdict[*_\s]*[:=]?[*_`\"'\[({\s]*)?(?:answer )?(a|b|tie)", re.IGNORECASE
)
POINTS = {"win": 1, "tie": 0, "lose": -1}


def parse_verdict(reply: Reply) -> str | None:
    """The verdict `A`, `B` or `tie` on the last line of a reply; None for a reply without a verdict.

    The last line has to be the verdict and nothing else. Earlier lines do not count, such as a verdict in an
    answer that the judge quotes. A truncated reply has no last line.

    >>> parse_verdict(Reply("A is short.\\n**Verdict: B**", "stop", None))
    'B'
    """
    lines = reply.text.strip().splitlines()
    match = _VERDICT.fullmatch(lines[-1].strip(_DECORATION)) if lines and not reply.is_truncated else None
    if not match:
        return None
    return "tie" if match[1].lower() == "tie" else match[1].upper()


def outcome_of(forward: str | None, backward: str | None) -> str | None:
    """`win`, `tie` or `lose` of the answer that is A forward and B backward; None if a verdict is missing.

    >>> outcome_of("A", "B"), outcome_of("A", "A"), outcome_of("tie", "A")
    ('win', 'tie', 'tie')
    """
    if forward is None or backward is None:
        return None
    return {("A", "B"): "win", ("B", "A"): "lose"}.get((forward, backward), "tie")


def summarize_verdicts(rows: Iterable[Row], *, seed: int, resamples: int) -> dict[str, Any]:
    """Metrics over the queries of each pair `FIRST_vs_SECOND`.

    `difference` is the mean over the judged queries of +1 for a win, 0 for a tie and -1 for a loss, with its
    paired bootstrap 95 % interval. `unjudged` queries have a reply without a verdict, or a refused request,
    and do not enter the mean. `first_shown_won` is the fraction of A among the verdicts A and B: 0.5 without
    position bias. `agrees_with_score` is the fraction of queries on which judge and testing RM prefer the
    same answer, among those on which both prefer one. A metric over nothing is absent.

    Args:
        rows: From `verdict_row`.
    """
    pairs: dict[str, list[Row]] = {}
    for row in rows:
        pairs.setdefault(f"{row['first']}_vs_{row['second']}", []).append(row)
    return {
        name: _pair_counts(pair) | _pair_rates(pair, seed=seed, resamples=resamples)
        for name, pair in pairs.items()
    }


def _replies(rows: Iterable[Row]) -> list[Row]:
    return [row[order] for row in rows if row["forward"] for order in ("forward", "backward")]


def _judged_points(rows: Iterable[Row]) -> list[int]:
    return [POINTS[row["outcome"]] for row in rows if row["outcome"]]


def _pair_counts(rows: Sequence[Row]) -> dict[str, int]:
    prompted = [row for row in rows if row["forward"]]
    replies = _replies(rows)
    points = _judged_points(rows)
    return {
        "queries": len(rows),
        "win": points.count(1),
        "tie": points.count(0),
        "lose": points.count(-1),
        "identical": len(rows) - len(prompted),
        "orders_disagree": sum(row["outcome"] == "tie" and not _both_say_tie(row) for row in prompted),
        "unjudged": len(rows) - len(points),
        "further_samples": sum(row["further_samples"] for row in rows),
        "replies": len(replies),
        "replies_refused": sum(reply["refused"] for reply in replies),
        "replies_unparsable": sum(reply["verdict"] is None for reply in replies),
        "replies_cut": sum(reply["cut"] for reply in replies),
    }


def _both_say_tie(row: Row) -> bool:
    return {row[order]["verdict"] for order in ("forward", "backward")} == {"tie"}


def _pair_rates(rows: Sequence[Row], *, seed: int, resamples: int) -> dict[str, Any]:
    from apo.metrics.statistics import paired_bootstrap, sign_test

    points = _judged_points(rows)
    reward_differences = [row["score_difference"] for row in rows if row["outcome"]]
    products = [point * reward for point, reward in zip(points, reward_differences, strict=True)]
    agreements = [product > 0 for product in products if product]
    preferred = [reply["verdict"] for reply in _replies(rows) if reply["verdict"] in ("A", "B")]
    rates: dict[str, Any] = {}
    if points:
        rates["difference"] = fmean(points)
    if len(points) > 1:
        low, high = paired_bootstrap(points, [0] * len(points), seed=seed, resamples=resamples)
        rates |= {"low": low, "high": high}
    if any(points):
        rates["sign_test_p"] = sign_test(points.count(1), points.count(-1))
    if preferred:
        rates["first_shown_won"] = preferred.count("A") / len(preferred)
    if agreements:
        rates |= {"agrees_with_score": fmean(agreements), "agreement_queries": len(agreements)}
    return rates
