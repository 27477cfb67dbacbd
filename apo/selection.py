"""Rejection sampling: per query the response with the highest reward."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from apo.core.config import Section
from apo.core.errors import UserError
from apo.core.records import Row
from apo.text.dialogue import cut_runaway


class Rjs(Section):
    candidates: Literal["samples", "samples_and_extra"]


COUNTS = (
    "queries",  # rows of samples read
    "samples",  # candidates read
    "samples_cut",  # cut at a runaway turn
    "samples_blank",  # no candidates: nothing but white space, after the cut
    "extra_ignored",  # extra answers that are no candidates
    "extra_selected",  # targets that are an extra answer
    "ties",  # targets that share the highest reward with a later candidate
    "queries_dropped",  # queries with blank candidates only
    "selected",  # rows written
)


def select(
    sample_rows: Iterable[Row],
    score_rows: Iterable[Row],
    *,
    include_extra: bool,
    samples_at: str,
    scores_at: str,
    counts: Counter[str],
) -> Iterator[Row]:
    """One row per query: the candidate with the highest reward that is not blank, and all scores.

    A row is `{query_id, query, prompt, completion, target, target_index, samples, scores, margin}`: `prompt`
    is the query and `completion` a space and the target, so that both together are the dialogue and it
    serves for supervised fine-tuning as it stands.
    `margin` is the distance to the second best candidate, null where there is none. A tie goes to the lowest
    index. Samples are cut at a runaway `Human:` turn first, so that no target holds an invented turn.

    Args:
        sample_rows: `{query_id, query, samples: [..]}`, and `extra: {name: text}` for answers from elsewhere.
        score_rows: `{query_id, scores: [..]}` in the order of the samples, and `extra: {name: reward}`,
            for all extra answers or, where they are no candidates, for none; queries in any order, those that
            come before their samples held in memory.
        include_extra: Whether extra answers are candidates; they then follow the samples in the row's
            `samples` and `scores`, sorted by name.
        samples_at: The file of the samples, for error messages.
        scores_at: The file of the scores, for error messages.
        counts: Filled while the rows are drawn; afterwards it holds every name in `COUNTS`.

    Raises:
        UserError: Samples and scores do not belong together, an id comes twice, a score is not a finite
            number, a sample is no text.
    """
    counts.update(dict.fromkeys(COUNTS, 0))
    scores_of = _Scores(score_rows, where=scores_at)
    seen: set[str] = set()
    for number, row in enumerate(sample_rows, start=1):
        line = f"{samples_at}:{number}"
        query_id = str(row["query_id"])
        _refuse_twice(query_id, seen, where=line)
        score_line, score_row = scores_of.take(query_id)
        if not score_line:
            raise UserError(
                line,
                found=f"query {query_id!r} without scores in {scores_at}",
                expected="scores for every query",
                do="score these samples again",
            )
        samples = _candidates(row, "samples", str, include_extra, where=line)
        scores = _candidates(score_row, "scores", float, include_extra, where=f"{scores_at}:{score_line}")
        extra, scored = row.get("extra", {}).keys(), score_row.get("extra", {}).keys()
        unscored = not (scored or include_extra)  # score.extra_answers: false
        if len(samples) != len(scores) or (extra != scored and not unscored):
            raise UserError(
                f"{scores_at}:{score_line}",
                found=f"{_size(score_row, 'scores')} of query {query_id!r}",
                expected=f"{_size(row, 'samples')}, as in {line}",
                do="score these samples again, for rjs.candidates: samples_and_extra with extra answers",
            )
        counts["queries"] += 1
        counts["samples"] += len(samples)
        counts["extra_ignored"] += 0 if include_extra else len(row.get("extra", {}))
        cut = [cut_runaway(sample) for sample in samples]
        texts = [text for text, _ in cut]
        counts["samples_cut"] += sum(was_cut for _, was_cut in cut)
        ranked = best_first(texts, scores)
        counts["samples_blank"] += len(texts) - len(ranked)
        if not ranked:
            counts["queries_dropped"] += 1
            continue
        best = ranked[0]
        margin = scores[best] - scores[ranked[1]] if len(ranked) > 1 else None
        counts["ties"] += margin == 0
        counts["extra_selected"] += best >= len(row["samples"])
        counts["selected"] += 1
        yield {
            "query_id": query_id,
            "query": row["query"],
            "prompt": row["query"],
            "completion": f" {texts[best]}",
            "target": texts[best],
            "target_index": best,
            "samples": texts,
            "scores": scores,
            "margin": margin,
        }
    left = scores_of.left()
    if left:
        query_id, score_line = next(iter(left.items()))
        raise UserError(
            f"{scores_at}:{score_line}",
            found=f"scores of {len(left)} queries such as {query_id!r} that {samples_at} does not have",
            expected="scores for the queries of the samples only",
            do="score these samples again",
        )


def best_first(texts: list[str], scores: list[float]) -> list[int]:
    """Indices of the texts that are not blank, the highest score first, ties by the lower index.

    >>> best_first(["a", " ", "b", "c"], [0.5, 9.0, 0.7, 0.7])
    [2, 3, 0]
    """
    filled = [index for index, text in enumerate(texts) if text.strip()]
    return sorted(filled, key=lambda index: -scores[index])  # a stable sort keeps the order of ties


class _Scores:
    """Rows with their line numbers by query id, read as far as they are asked for.

    Raises:
        UserError: An id comes twice.
    """

    def __init__(self, rows: Iterable[Row], *, where: str) -> None:
        self._rows, self._where = enumerate(rows, start=1), where
        self._seen: set[str] = set()
        self._waiting: dict[str, tuple[int, Row]] = {}

    def take(self, query_id: str) -> tuple[int, Row]:
        """The row of a query with its line number, 0 where there is none; a query is asked for once."""
        if query_id not in self._waiting and query_id not in self._seen:
            for other, number, row in self._read():
                self._waiting[other] = (number, row)
                if other == query_id:
                    break
        return self._waiting.pop(query_id, (0, {}))

    def left(self) -> dict[str, int]:
        """The line numbers of those that nobody asked for."""
        return {query_id: number for query_id, (number, _) in self._waiting.items()} | {
            query_id: number for query_id, number, _ in self._read()
        }

    def _read(self) -> Iterator[tuple[str, int, Row]]:
        for number, row in self._rows:
            query_id = str(row["query_id"])
            _refuse_twice(query_id, self._seen, where=f"{self._where}:{number}")
            yield query_id, number, row


def _refuse_twice(query_id: str, seen: set[str], *, where: str) -> None:
    if query_id in seen:
        raise UserError(
            where,
            found=f"query_id {query_id!r} for a second time",
            expected="one row a query",
            do="look whether two files were joined, and make this one again",
        )
    seen.add(query_id)


def _candidates(row: Row, key: str, kind: type[str] | type[float], extra: bool, *, where: str) -> list[Any]:
    """The list under `key`, with the extra values behind it on request, checked for their type."""
    values = row.get(key)
    if not isinstance(values, list) or not isinstance(row.get("extra", {}), dict):
        raise UserError(
            where,
            found=f"{key!r} {values!r:.80}, 'extra' {row.get('extra')!r:.80}",
            expected="a list, and an object by name",
            do="write the row again",
        )
    extras = [value for _, value in sorted(row.get("extra", {}).items())]
    for value in values + extras:
        if not (isinstance(value, str) if kind is str else _is_reward(value)):
            raise UserError(
                where,
                found=f"{value!r:.80} among the {key} of query {row['query_id']!r}",
                expected="texts" if kind is str else "finite numbers",
                do="write an absent answer as an empty text" if kind is str else "look at the reward model",
            )
    return [kind(value) for value in (values + extras if extra else values)]


def _is_reward(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def _size(row: Row, key: str) -> str:
    return f"{len(row[key])} {key} and extra answers {sorted(row.get('extra', {}))}"
