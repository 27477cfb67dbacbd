"""A judge from outside compares answers to the same query: what it is asked, and what its words mean.

Every comparison is asked in both orders, since judges prefer a place (Zheng et al., 2023, arXiv 2306.05685):
a win is one in both, everything else that was judged is a tie.
"""

import hashlib
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from apo.config import Judge
from apo.endpoint import Body, Reply
from apo.errors import UserError
from apo.records import Row, read_numbered_rows
from apo.replies import key_of
from apo.samples import draw

NEEDED = ("query", "answer_a", "answer_b")
_PLACE = re.compile(r"\{([a-z_]+)\}")
_DECORATION = " \t*_#>`\"'[](){}.!$\\"
_VERDICT = re.compile(
    r"(?:(?:final )?verdict[*_\s]*[:=]?[*_`\"'\[({\s]*)?(?:answer )?(a|b|tie)", re.IGNORECASE
)
POINTS = {"win": 1, "tie": 0, "lose": -1}


class Comparison(NamedTuple):
    """Two language models' answers to one query, by how much the testing RM prefers the first, and how many
    samples the two have beside these, which are not compared."""

    query_id: str
    query: str
    names: tuple[str, str]
    answers: tuple[str, str]
    score_difference: float
    further_samples: int


# Questions -----------------------------------------------------------------------------------------


def check_template(template: str, *, where: str) -> None:
    """Raises a UserError unless the template names query and answers, and nothing that is not known."""
    names = set(_PLACE.findall(template))
    if not set(NEEDED) <= names <= {*NEEDED, "mark"}:
        raise UserError(
            where,
            found=f"the places {', '.join(sorted(names)) or 'none'}",
            expected="{query}, {answer_a} and {answer_b}, and {mark} if you like",
            do="correct the template",
        )


def prompt_of(template: str, query: str, answer_a: str, answer_b: str) -> str:
    """The template with its places filled, at once: a place that is named inside a text stays as it is.

    `{mark}` becomes a word that no text holds and that follows from the texts: an answer can't write the
    lines that part the texts.

    >>> prompt_of("{query}|{answer_a}|{answer_b}", "{answer_b}?", "{query}", "b")
    '{answer_b}?|{query}|b'
    """
    texts = {"query": query.strip(), "answer_a": answer_a, "answer_b": answer_b}
    marks = (_digest(f"{number}\0" + "\0".join(texts.values()))[:8] for number in itertools.count())
    mark = next(mark for mark in marks if not any(mark in text for text in texts.values()))
    return _PLACE.sub(lambda place: (texts | {"mark": mark})[place[1]], template)


def request_of(settings: Judge, prompt: str) -> Body:
    """What is sent: model, prompt and settings, and so what an answer is kept under."""
    return {
        "model": settings.model,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
    }


def questions(settings: Judge, comparison: Comparison) -> tuple[Body, ...]:
    """A comparison in both orders; none where the answers are equal, which needs no judge."""
    first, second = comparison.answers
    if first == second:
        return ()
    orders = ((first, second), (second, first))
    prompts = (prompt_of(settings.prompt, comparison.query, a, b) for a, b in orders)
    return tuple(request_of(settings, prompt) for prompt in prompts)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


# Verdicts ------------------------------------------------------------------------------------------


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


def verdict_row(settings: Judge, comparison: Comparison, replies: Mapping[str, Reply]) -> Row:
    """One comparison as a record; `forward` shows the first answer as A, `backward` as B."""
    asked = [_told(body, replies[key_of(body)]) for body in questions(settings, comparison)]
    forward, backward = asked or (None, None)
    return {
        "query_id": comparison.query_id,
        "first": comparison.names[0],
        "second": comparison.names[1],
        "outcome": outcome_of(forward["verdict"], backward["verdict"]) if forward and backward else "tie",
        "score_difference": comparison.score_difference,
        "further_samples": comparison.further_samples,
        "model": settings.model,
        "forward": forward,
        "backward": backward,
    }


def _told(body: Body, reply: Reply) -> Row:
    return {
        "verdict": verdict_of(reply),
        "prompt_sha256": _digest(body["messages"][0]["content"]),
        "reply": reply.text,
        "cut": was_cut(reply),
        "served_by": reply.served_by,
    }


# What is compared ----------------------------------------------------------------------------------


def read_answers(folder: Path) -> dict[str, dict[str, Row]]:
    """The answers of every language model by its name, the file's, and by query id.

    Raises:
        UserError: There are none, or a row is not `{query_id, query, samples, scores}`.
    """
    found = {path.stem: _by_id(path) for path in sorted(folder.glob("*.jsonl"))}
    if not found:
        raise UserError(
            str(folder),
            found="no .jsonl file",
            expected="one a language model, as stage evaluate writes them",
            do="run `dvc repro evaluate`",
        )
    return found


def _by_id(path: Path) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for number, row in read_numbered_rows(path):
        texts = [row.get("query_id"), row.get("query"), *_first(row, "samples")]
        scores = _first(row, "scores")
        numbers = all(
            isinstance(s, int | float) and not isinstance(s, bool) and math.isfinite(s) for s in scores
        )
        known = isinstance(row.get("query_id"), str) and row["query_id"] in rows
        if len(texts) < 3 or not all(isinstance(t, str) for t in texts) or not (scores and numbers) or known:
            raise UserError(
                f"{path}:{number}",
                found="a query for a second time" if known else f"{str(row)[:120]!r}",
                expected="one row a query: query_id, query, samples (texts) and scores (finite numbers)",
                do="run `dvc repro evaluate`, which writes the file again",
            )
        rows[row["query_id"]] = row
    return rows


def _first(row: Row, key: str) -> list[Any]:
    """The first of a list, as a list; empty where there is none."""
    values = row.get(key)
    return values[:1] if isinstance(values, list) else []


def pairs_of(names: Sequence[str], wanted: Sequence[Sequence[str]], *, where: str) -> list[tuple[str, str]]:
    """The pairs that are compared: those that are wanted, or all where none is named.

    >>> pairs_of(["a", "b", "c"], [], where="judge.pairs")
    [('a', 'b'), ('a', 'c'), ('b', 'c')]

    Raises:
        UserError: A name has no answers, a pair is one model with itself or comes twice.
    """
    if not wanted:
        return list(itertools.combinations(names, 2))
    pairs = [(first, second) for first, second in wanted]
    for index, pair in enumerate(pairs):
        again = any(set(pair) == set(other) for other in pairs[:index])
        if again or pair[0] == pair[1] or not set(pair) <= set(names):
            raise UserError(
                where,
                found=f"{list(pair)}{' for a second time' if again else ''}",
                expected=f"two of {', '.join(names)}, each pair once, or no pair for all",
                do="correct the names",
            )
    return pairs


def comparisons(
    answers: Mapping[str, Mapping[str, Row]],
    pairs: Iterable[tuple[str, str]],
    *,
    max_queries: int,
    seed: int,
    where: str,
) -> Iterator[Comparison]:
    """The first answers of each pair to the queries that both have to share, at most so many by the seed.

    Raises:
        UserError: The two were not asked the same queries.
    """
    for names in pairs:
        first, second = (answers[name] for name in names)
        odd = [q for q in first.keys() | second.keys() if first.get(q, {}).get("query") != _query(second, q)]
        if odd:
            raise UserError(
                where,
                found=f"{len(odd)} queries such as {min(odd)!r} that {names[0]} and {names[1]} do not share",
                expected="answers to the same queries",
                do="run `dvc repro evaluate`",
            )
        for row in draw(first.values(), at_most=max_queries, seed=seed):
            other = second[row["query_id"]]
            yield Comparison(
                row["query_id"],
                row["query"],
                names,
                (row["samples"][0], other["samples"][0]),
                row["scores"][0] - other["scores"][0],
                len(row["samples"]) + len(other["samples"]) - 2,
            )


def _query(rows: Mapping[str, Row], query_id: str) -> Any:
    return rows[query_id]["query"] if query_id in rows else None


# Metrics -------------------------------------------------------------------------------------------


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
    from apo.intervals import paired_bootstrap, sign_test

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
