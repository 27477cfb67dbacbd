"""What a judge's words mean, and what many verdicts say about two language models."""

import re
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from apo.core.records import Row
from apo.judge.endpoint import Reply

_DECORATION = " \t*_#>`\"'[](){}.!$\\"
_VERDICT = re.compile(
    r"(?:(?:final )?verdict[*_\s]*[:=]?[*_`\"'\[({\s]*)?(?:answer )?(a|b|tie)", re.IGNORECASE
)
POINTS = {"win": 1, "tie": 0, "lose": -1}


def verdict_of(reply: Reply) -> str | None:
    """`A`, `B` or `tie`, which is all that the last line of a whole reply says; None for any other reply.

    What stands before, such as a verdict in an answer that the judge quotes, does not count, and a reply that
    was cut (`finish_reason` length) has no last line.

    >>> verdict_of(Reply("A is short.\\n**Verdict: B**", "stop", None))
    'B'
    """
    lines = reply.text.strip().splitlines()
    found = _VERDICT.fullmatch(lines[-1].strip(_DECORATION)) if lines and not was_cut(reply) else None
    if not found:
        return None
    return "tie" if found[1].lower() == "tie" else found[1].upper()


def was_cut(reply: Reply) -> bool:
    """Whether the reply reached `judge.max_tokens`."""
    return reply.finish_reason == "length"


def outcome_of(forward: str | None, backward: str | None) -> str | None:
    """`win`, `tie` or `lose` of the answer that is A forward and B backward; None unless both are verdicts.

    >>> outcome_of("A", "B"), outcome_of("A", "A"), outcome_of("tie", "A")
    ('win', 'tie', 'tie')
    """
    if forward is None or backward is None:
        return None
    return {("A", "B"): "win", ("B", "A"): "lose"}.get((forward, backward), "tie")


def summarise_verdicts(rows: Iterable[Row], *, seed: int, resamples: int) -> dict[str, Any]:
    """Per pair `FIRST_vs_SECOND`, over its queries.

    `difference` is the mean of +1 for a win, 0 for a tie, -1 for a lost one over the queries that were
    judged, with its paired bootstrap 95 % interval; `unjudged` are queries with a reply that is no verdict,
    and are in neither. `first_shown_won` is the part of verdicts for A among those for A or B: 0.5 without
    position bias. `agrees_with_score`: where judge and testing RM both prefer one answer, the part of queries
    on which it is the same. A number over nothing is absent.
    """
    pairs: dict[str, list[Row]] = {}
    for row in rows:
        pairs.setdefault(f"{row['first']}_vs_{row['second']}", []).append(row)
    return {name: _pair(own, seed=seed, resamples=resamples) for name, own in pairs.items()}


def _pair(rows: Sequence[Row], *, seed: int, resamples: int) -> dict[str, Any]:
    from apo.metrics.statistics import paired_bootstrap, sign_test

    asked = [row for row in rows if row["forward"]]
    told = [row[order] for row in asked for order in ("forward", "backward")]
    judged = [row for row in rows if row["outcome"]]
    points = [POINTS[row["outcome"]] for row in judged]
    both = [(p, row["score_difference"]) for p, row in zip(points, judged, strict=True)]
    agreeing = [p * difference > 0 for p, difference in both if p * difference]
    places = [one["verdict"] for one in told if one["verdict"] in ("A", "B")]
    found: dict[str, Any] = {
        "queries": len(rows),
        "win": points.count(1),
        "tie": points.count(0),
        "lose": points.count(-1),
        "identical": len(rows) - len(asked),
        "orders_disagree": sum(row["outcome"] == "tie" and _letters(row) != {"tie"} for row in asked),
        "unjudged": len(rows) - len(judged),
        "further_samples": sum(row["further_samples"] for row in rows),
        "replies": len(told),
        "replies_unparsable": sum(one["verdict"] is None for one in told),
        "replies_cut": sum(one["cut"] for one in told),
    }
    if points:
        found["difference"] = fmean(points)
    if len(points) > 1:
        low, high = paired_bootstrap(points, [0] * len(points), seed=seed, resamples=resamples)
        found |= {"low": low, "high": high}
    if any(points):
        found["sign_test_p"] = sign_test(points.count(1), points.count(-1))
    if places:
        found["first_shown_won"] = places.count("A") / len(places)
    if agreeing:
        found |= {"agrees_with_score": fmean(agreeing), "agreement_queries": len(agreeing)}
    return found


def _letters(row: Row) -> set[str | None]:
    return {row["forward"]["verdict"], row["backward"]["verdict"]}
