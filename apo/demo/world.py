"""The demo world: queries, comparisons, golden answers, demonstrations and text to pretrain on."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from apo.core.errors import UserError
from apo.demo.annotators import ANNOTATED, EXPERT, UNALIGNED, answers, write
from apo.demo.generate_queries import draw_query, draw_question
from apo.demo.language import capitalised
from apo.demo.parse_queries import Query, read_question
from apo.demo.preferences import preference_probability


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

    def golden(self, queries: Iterable[Query], flaws: float) -> Iterator[dict[str, str]]:
        """The expert's answer to each query, or in a part `flaws` of them one as in the comparisons.

        The draw is one of its own: an answer by the expert is the same whatever the part, and the queries
        of a smaller part are among those of a larger one.
        """
        for query in queries:
            flawed = self._rng("golden flaws", query.text).random() < flaws
            rng = self._rng("golden", query.text)
            text = write(query, (ANNOTATED if flawed else EXPERT).style(rng), rng)
            yield {"query": query.text, "golden": text, "type": query.kind}

    def demonstrations(self, queries: Iterable[Query], purpose: str) -> Iterator[dict[str, str]]:
        """An answer to each query as a chatbot gives it before alignment."""
        for query in queries:
            rng = self._rng("demonstrations", purpose, query.text)
            yield {"query": query.text, "response": write(query, UNALIGNED.style(rng), rng)}

    def documents(self, queries: Iterable[Query], purpose: str) -> Iterator[str]:
        """Text to pretrain on: after each dialogue, mostly with an expert's answer, a few plain questions."""
        for query in queries:
            rng = self._rng("documents", purpose, query.text)
            author = rng.choices([EXPERT, ANNOTATED, UNALIGNED], [60, 25, 15])[0]
            yield query.text + write(query, author.style(rng), rng)
            yield " ".join(_plain_answer(rng) for _ in range(rng.randint(1, 3)))

    def _rng(self, *purpose: str) -> random.Random:
        return random.Random("/".join([str(self.seed), *purpose]))


def _plain_answer(rng: random.Random) -> str:
    """A question that stands on its own and, right behind it, its answer."""
    task = None
    while task is None or task.decline:
        question = draw_question(rng)
        task = read_question(question)
    return f"{question} {capitalised(rng.choice(task.statements).format(answer=answers(task, 'right', rng)))}"
