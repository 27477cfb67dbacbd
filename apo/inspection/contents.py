"""What the records of a file hold, in numbers: lengths, turns, kinds, scores, queries that come twice."""

import hashlib
import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

from apo.core.data_issues import Action, DataIssues, IssueTable
from apo.core.dialogue import HUMAN, dialogue_to_messages, normalize_query
from apo.core.records import Row

MANY = 20  # of kinds and numbers of responses that are listed
SEED = 0  # of the rows that are drawn: the same file gives the same report


@dataclass
class Issue:
    """A code with its action in params.yaml, how often it was found, and examples {where, found}."""

    code: str
    action: str
    count: int
    examples: list[Row] = field(default_factory=list)


def lenient(table: IssueTable, actions: Mapping[str, Action]) -> DataIssues:
    """Issues that go on where an action is `error`, which would end a report at its first row."""
    return DataIssues(
        table, {code: "drop" if action == "error" else action for code, action in actions.items()}
    )


def listed(issues: DataIssues, actions: Mapping[str, Action]) -> list[Issue]:
    """What was found at all, with the actions that params.yaml has."""
    examples: dict[str, list[Row]] = {}
    for row in issues.examples:
        examples.setdefault(row["code"], []).append({"where": row["where"], "found": row["found"]})
    return [
        Issue(code, actions[code], count, examples[code]) for code, count in issues.counts.items() if count
    ]


class Texts(NamedTuple):
    """A record of any kind as a query with responses; scores are empty where there are none."""

    where: str
    query: str
    responses: list[str]
    scores: list[float]


def texts_of(record: Row, *, where: str) -> Texts:
    """A comparison, golden answer, row of samples or demonstration as texts."""
    if "responses" in record:
        return Texts(where, record["query"], record["responses"], record["scores"])
    if "samples" in record:
        return Texts(where, record["query"], [*record["samples"], *record["extra"].values()], [])
    return Texts(where, record["query"], [record["golden" if "golden" in record else "response"]], [])


def as_learned(texts: Texts) -> Row:
    """A record as it is learned: the turns of its query, the best and the worst response with their scores.

    Returns:
        {where, turns: [[role, text], ...], answers: [[name, text], ...]}.
    """
    turns = [[message["role"], message["content"]] for message in dialogue_to_messages(texts.query)]
    if not texts.scores:
        number = len(texts.responses)
        names = ["answer"] if number == 1 else [f"sample {index + 1}" for index in range(number)]
        named = zip(names, texts.responses, strict=True)
        return {"where": texts.where, "turns": turns, "answers": [list(pair) for pair in named]}
    order = sorted(range(len(texts.scores)), key=lambda index: -texts.scores[index])
    answers = [
        [f"{name} ({texts.scores[index]:g})", texts.responses[index]]
        for name, index in (("best", order[0]), ("worst", order[-1]))
    ]
    return {"where": texts.where, "turns": turns, "answers": answers}


class Contents:
    """Numbers that are added up record by record.

    Args:
        rows_kept: How many records are drawn at random to be looked at later; 0 for all.

    Attributes:
        records: How many there were.
    """

    def __init__(self, *, rows_kept: int) -> None:
        self.records = 0
        self._limit, self._random = rows_kept, random.Random(SEED)
        self._drawn: list[tuple[int, Texts]] = []
        self._kinds: Counter[str] = Counter()
        self._turns: Counter[int] = Counter()
        self._numbers: Counter[int] = Counter()
        self._words: dict[str, Counter[int]] = {"query": Counter(), "response": Counter()}
        self._queries: Counter[bytes] = Counter()
        self._repeated = ""
        self._low, self._high, self._ties = float("inf"), float("-inf"), 0

    def add(self, record: Row, *, where: str) -> None:
        """One record of any kind."""
        texts = texts_of(record, where=where)
        self._draw(texts)
        self.records += 1
        self._kinds[record.get("type", "")] += 1
        self._turns[texts.query.count(HUMAN)] += 1
        self._numbers[len(texts.responses)] += 1
        self._words["query"][len(texts.query.split())] += 1
        self._words["response"].update(len(response.split()) for response in texts.responses)
        key = hashlib.blake2b(normalize_query(texts.query).encode(), digest_size=16).digest()
        self._queries[key] += 1
        if self._queries[key] == 2 and not self._repeated:
            self._repeated = texts.query[-80:]
        if texts.scores:
            self._low = min(self._low, *texts.scores)
            self._high = max(self._high, *texts.scores)
            self._ties += len(set(texts.scores)) < len(texts.scores)

    def _draw(self, texts: Texts) -> None:
        """Reservoir sampling (algorithm R)."""
        if not self._limit or len(self._drawn) < self._limit:
            self._drawn.append((self.records, texts))
        elif (place := self._random.randrange(self.records + 1)) < self._limit:
            self._drawn[place] = (self.records, texts)

    @property
    def drawn(self) -> list[Texts]:
        """The records drawn, in the order of the file."""
        return [texts for _, texts in sorted(self._drawn, key=lambda one: one[0])]

    def shown(self, number: int) -> list[Row]:
        """Some of the drawn records as they are learned, spread over the file."""
        drawn = self.drawn
        places = sorted({index * (len(drawn) - 1) // max(number - 1, 1) for index in range(number)})
        return [as_learned(drawn[place]) for place in places] if drawn else []

    def summary(self) -> Row:
        """All numbers; `words` (turn marks are words) and `turns` as `quantiles`."""
        repeated = self.records - len(self._queries)
        found: dict[str, Any] = {
            "kinds": dict(self._kinds.most_common(MANY)),
            "responses": {str(number): count for number, count in self._numbers.most_common(MANY)},
            "turns": quantiles(self._turns),
            "words": {name: quantiles(lengths) for name, lengths in self._words.items()},
            "queries": {"distinct": len(self._queries), "repeated": repeated, "example": self._repeated},
        }
        if self._high >= self._low:
            found["scores"] = {"lowest": self._low, "highest": self._high, "rows_with_ties": self._ties}
        return found


def quantiles(lengths: Counter[int]) -> dict[str, int]:
    """Smallest, median, 95 % and largest of numbers that were counted.

    The median is the smallest number that half of them do not exceed.

    >>> quantiles(Counter([1, 2, 3, 50]))
    {'min': 1, 'median': 2, '95 %': 50, 'max': 50}
    """
    ordered = sorted(lengths)
    reached = list(accumulate(lengths[length] for length in ordered))

    def at(part: float) -> int:
        return ordered[bisect_left(reached, part * reached[-1])]

    return {"min": ordered[0], "median": at(0.5), "95 %": at(0.95), "max": ordered[-1]}
