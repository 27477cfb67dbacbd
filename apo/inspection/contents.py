"""Statistics of the records of a file: lengths, turns, kinds, scores, repeated queries."""

import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

from apo.core.data_issues import Action, DataIssues, IssueTable
from apo.core.dialogue import HUMAN, dialogue_to_messages, digest_of, normalize_query
from apo.core.records import Row

MAX_LISTED = 20  # kinds, and numbers of responses, that are listed
SEED = 0  # of the sampled rows: the same file gives the same report


@dataclass
class Issue:
    """A code with its action in params.yaml, the number of rows, examples {where, found}, and what to do."""

    code: str
    action: str
    count: int
    examples: list[Row] = field(default_factory=list)
    advice: str = ""


def tolerant_issues(table: IssueTable, actions: Mapping[str, Action]) -> DataIssues:
    """Issues with action `drop` in place of `error`, which would end a report at its first row."""
    return DataIssues(
        table, {code: "drop" if action == "error" else action for code, action in actions.items()}
    )


def list_issues(issues: DataIssues, actions: Mapping[str, Action]) -> list[Issue]:
    """The issues that occurred, with their actions in params.yaml."""
    examples: dict[str, list[Row]] = {}
    for row in issues.examples:
        examples.setdefault(row["code"], []).append({"where": row["where"], "found": row["found"]})
    return [
        Issue(code, actions[code], count, examples[code], issues.advice[code])
        for code, count in issues.counts.items()
        if count
    ]


class Texts(NamedTuple):
    """A record of any kind as a query with responses, and their scores, [] if it has none."""

    where: str
    query: str
    responses: list[str]
    scores: list[float]


def to_texts(record: Row, *, where: str) -> Texts:
    """A comparison, golden answer, row of samples or demonstration as texts."""
    if "responses" in record:
        return Texts(where, record["query"], record["responses"], record["scores"])
    if "samples" in record:
        return Texts(where, record["query"], [*record["samples"], *record["extra"].values()], [])
    return Texts(where, record["query"], [record["golden" if "golden" in record else "response"]], [])


def training_view(texts: Texts) -> Row:
    """A record as a model learns it: the turns of its query, the best and the worst response with scores.

    Returns:
        {where, turns: [[role, text], ...], answers: [[name, text], ...]}.
    """
    turns = [[message["role"], message["content"]] for message in dialogue_to_messages(texts.query)]
    if not texts.scores:
        count = len(texts.responses)
        names = ["answer"] if count == 1 else [f"sample {index + 1}" for index in range(count)]
        named_texts = zip(names, texts.responses, strict=True)
        return {"where": texts.where, "turns": turns, "answers": [list(pair) for pair in named_texts]}
    order = sorted(range(len(texts.scores)), key=lambda index: -texts.scores[index])
    answers = [
        [f"{name} ({texts.scores[index]:g})", texts.responses[index]]
        for name, index in (("best", order[0]), ("worst", order[-1]))
    ]
    return {"where": texts.where, "turns": turns, "answers": answers}


class Contents:
    """Statistics that are updated record by record.

    Args:
        rows_kept: Size of the random sample of records that is kept for later; 0 for all records.
    """

    def __init__(self, *, rows_kept: int) -> None:
        self.records = 0
        self._limit, self._random = rows_kept, random.Random(SEED)
        self._sampled: list[tuple[int, Texts]] = []
        self._kinds: Counter[str] = Counter()
        self._turns: Counter[int] = Counter()
        self._response_counts: Counter[int] = Counter()
        self._words: dict[str, Counter[int]] = {"query": Counter(), "response": Counter()}
        self._queries: Counter[bytes] = Counter()
        self._repeated = ""
        self._low, self._high, self._ties = float("inf"), float("-inf"), 0

    def add(self, record: Row, *, where: str) -> None:
        """Adds a record of any kind."""
        texts = to_texts(record, where=where)
        self._sample(texts)
        self.records += 1
        self._kinds[record.get("type", "")] += 1
        self._turns[texts.query.count(HUMAN)] += 1
        self._response_counts[len(texts.responses)] += 1
        self._words["query"][len(texts.query.split())] += 1
        self._words["response"].update(len(response.split()) for response in texts.responses)
        digest = digest_of(normalize_query(texts.query))
        self._queries[digest] += 1
        if self._queries[digest] == 2 and not self._repeated:
            self._repeated = texts.query[-80:]
        if texts.scores:
            self._low = min(self._low, *texts.scores)
            self._high = max(self._high, *texts.scores)
            self._ties += len(set(texts.scores)) < len(texts.scores)

    def _sample(self, texts: Texts) -> None:
        """Reservoir sampling (algorithm R)."""
        if not self._limit or len(self._sampled) < self._limit:
            self._sampled.append((self.records, texts))
        elif (slot := self._random.randrange(self.records + 1)) < self._limit:
            self._sampled[slot] = (self.records, texts)

    @property
    def drawn(self) -> list[Texts]:
        """The sampled records, in the order of the file."""
        return [texts for _, texts in sorted(self._sampled, key=lambda entry: entry[0])]

    def shown(self, number: int) -> list[Row]:
        """Some of the sampled records as a model learns them, spread over the file."""
        drawn = self.drawn
        indices = sorted({index * (len(drawn) - 1) // max(number - 1, 1) for index in range(number)})
        return [training_view(drawn[index]) for index in indices] if drawn else []

    def summary(self) -> Row:
        """All statistics; `words` (turn marks are words) and `turns` as `quantiles`."""
        repeated = self.records - len(self._queries)
        metrics: dict[str, Any] = {
            "kinds": dict(self._kinds.most_common(MAX_LISTED)),
            "responses": {
                str(number): count for number, count in self._response_counts.most_common(MAX_LISTED)
            },
            "turns": quantiles(self._turns),
            "words": {name: quantiles(lengths) for name, lengths in self._words.items()},
            "queries": {"distinct": len(self._queries), "repeated": repeated, "example": self._repeated},
        }
        if self._high >= self._low:
            metrics["scores"] = {"lowest": self._low, "highest": self._high, "rows_with_ties": self._ties}
        return metrics


def quantiles(lengths: Counter[int]) -> dict[str, int]:
    """Minimum, median, 95 % quantile and maximum of counted numbers.

    A quantile is the smallest number that this fraction of them does not exceed.

    >>> quantiles(Counter([1, 2, 3, 50]))
    {'min': 1, 'median': 2, '95 %': 50, 'max': 50}
    """
    ordered = sorted(lengths)
    cumulative = list(accumulate(lengths[length] for length in ordered))

    def quantile(fraction: float) -> int:
        return ordered[bisect_left(cumulative, fraction * cumulative[-1])]

    return {"min": ordered[0], "median": quantile(0.5), "95 %": quantile(0.95), "max": ordered[-1]}
