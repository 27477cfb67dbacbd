"""The demo world: queries, comparisons, golden answers, demonstrations and text to pretrain on."""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from apo.errors import UserError
from apo.world.drawing import draw_query
from apo.world.knowledge import CATEGORIES, NUMBERS, RELATIONS, SIZES
from apo.world.language import capitalised
from apo.world.preferences import preference_probability
from apo.world.reading import Query
from apo.world.tasks import Task, compare_task, list_task, relation_task, sum_task
from apo.world.writers import ANNOTATED, EXPERT, UNALIGNED, write


@dataclass(frozen=True)
class World:
    """A world of small dialogues; the same seed gives the same texts on every machine.

    What is written about a query depends on the seed, the purpose and the query's text alone, not on the
    other queries.
    """

    seed: int

    def queries(self, n: int, purpose: str, exclude: set[str]) -> list[Query]:
        """Distinct queries, none of them among the texts of `exclude`.

        Raises:
            UserError: The world has not that many.
        """
        rng = self._rng("queries", purpose)
        found: dict[str, Query] = {}
        for _ in range(20 * n + 1000):
            if len(found) == n:
                return list(found.values())
            query = draw_query(rng)
            if query.text not in exclude:
                found.setdefault(query.text, query)
        raise UserError(
            f"world queries for {purpose}",
            found=f"only {len(found)} new ones in {20 * n + 1000} draws",
            expected=str(n),
            do="ask for fewer",
        )

    def comparisons(
        self, queries: Iterable[Query], temperature: float, purpose: str
    ) -> Iterator[dict[str, Any]]:
        """One comparison a query: two different responses, the preferred one with score 1."""
        for query in queries:
            rng = self._rng("comparisons", purpose, query.text)
            a = b = write(query, ANNOTATED.style(rng), rng)
            while a == b:
                b = write(query, ANNOTATED.style(rng), rng)
            prefers_a = rng.random() < preference_probability(query.text, a, b, temperature)
            scores = [1.0, 0.0] if prefers_a else [0.0, 1.0]
            yield {"query": query.text, "responses": [a, b], "scores": scores, "type": query.kind}

    def golden(self, queries: Iterable[Query]) -> Iterator[dict[str, str]]:
        """The expert's answer to each query."""
        for query in queries:
            rng = self._rng("golden", query.text)
            yield {"query": query.text, "golden": write(query, EXPERT.style(rng), rng), "type": query.kind}

    def demonstrations(self, queries: Iterable[Query], purpose: str) -> Iterator[dict[str, str]]:
        """An answer to each query as a chatbot gives it before alignment."""
        for query in queries:
            rng = self._rng("demonstrations", purpose, query.text)
            yield {"query": query.text, "response": write(query, UNALIGNED.style(rng), rng)}

    def documents(self, queries: Iterable[Query], purpose: str) -> Iterator[str]:
        """Text to pretrain on: after each dialogue, mostly with an expert's answer, a few plain facts."""
        for query in queries:
            rng = self._rng("documents", purpose, query.text)
            author = rng.choices([EXPERT, ANNOTATED, UNALIGNED], [60, 25, 15])[0]
            yield query.text + write(query, author.style(rng), rng)
            yield " ".join(_fact(rng) for _ in range(rng.randint(1, 3)))

    def _rng(self, *purpose: str) -> random.Random:
        return random.Random("/".join([str(self.seed), *purpose]))


def _fact(rng: random.Random) -> str:
    """A sentence that states something true."""
    draws: list[Callable[[], Task | None]] = [
        lambda: _some_relation(rng),
        lambda: sum_task(rng.choice(NUMBERS[2:17]), rng.choice(["plus", "minus"]), rng.choice(NUMBERS[1:8])),
        lambda: compare_task(rng.choice(["bigger", "smaller"]), *rng.sample(SIZES, 2)),
        lambda: list_task(rng.choice(["two", "three"]), rng.choice(list(CATEGORIES))),
    ]
    task = None
    while task is None:
        task = rng.choices(draws, [50, 30, 12, 8])[0]()
    names = rng.sample(task.right, task.count[0])
    answer = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    if task.family == "compare":
        return capitalised(task.statements[0].format(answer=answer)[:-1] + f" {task.echoes[1]}.")
    return capitalised(task.statements[0].format(answer=answer))


def _some_relation(rng: random.Random) -> Task | None:
    family = rng.choice(list(RELATIONS))
    return relation_task(family, rng.choice(list(RELATIONS[family].table)))
