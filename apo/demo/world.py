"""The demo world: queries, comparisons, golden answers, demonstrations and documents for pretraining."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from apo.core.errors import UserError
from apo.demo.annotators import EXPERT, MIXED, UNALIGNED, answer_names, write_response
from apo.demo.generate_queries import draw_query, draw_question
from apo.demo.language import capitalized
from apo.demo.parse_queries import Query, parse_question
from apo.demo.preferences import preference_probability


@dataclass(frozen=True)
class World:
    """Generates dialogues; the same seed gives the same texts on every machine.

    The texts for a query depend only on the seed, the purpose and the query, not on other queries.
    """

    seed: int

    def queries(self, n: int, purpose: str, exclude: set[str]) -> list[Query]:
        """Distinct queries, none of them among the texts of `exclude`.

        Raises:
            UserError: The world has fewer queries.
        """
        rng = self._rng("queries", purpose)
        queries: dict[str, Query] = {}
        for _ in range(20 * n + 1000):
            if len(queries) == n:
                return list(queries.values())
            query = draw_query(rng)
            if query.text not in exclude:
                queries.setdefault(query.text, query)
        raise UserError(
            f"world queries for {purpose}",
            found=f"only {len(queries)} new ones in {20 * n + 1000} draws",
            expected=str(n),
            do="ask for fewer",
        )

    def comparisons(
        self, queries: Iterable[Query], temperature: float, purpose: str
    ) -> Iterator[dict[str, Any]]:
        """One comparison per query: two different responses, the preferred one with score 1."""
        for query in queries:
            rng = self._rng("comparisons", purpose, query.text)
            a = b = write_response(query, MIXED.style(rng), rng)
            while a == b:
                b = write_response(query, MIXED.style(rng), rng)
            prefers_a = rng.random() < preference_probability(query.text, a, b, temperature)
            scores = [1.0, 0.0] if prefers_a else [0.0, 1.0]
            yield {"query": query.text, "responses": [a, b], "scores": scores, "type": query.kind}

    def golden(self, queries: Iterable[Query], flaws: float) -> Iterator[dict[str, str]]:
        """The expert's answer to each query; for a fraction `flaws` of them an answer as in the comparisons.

        The draw is separate: the expert's answers do not depend on the fraction, and a larger fraction
        includes the flawed queries of a smaller one.
        """
        for query in queries:
            flawed = self._rng("golden flaws", query.text).random() < flaws
            rng = self._rng("golden", query.text)
            text = write_response(query, (MIXED if flawed else EXPERT).style(rng), rng)
            yield {"query": query.text, "golden": text, "type": query.kind}

    def demonstrations(self, queries: Iterable[Query], purpose: str) -> Iterator[dict[str, str]]:
        """An answer to each query by an unaligned chatbot."""
        for query in queries:
            rng = self._rng("demonstrations", purpose, query.text)
            yield {"query": query.text, "response": write_response(query, UNALIGNED.style(rng), rng)}

    def documents(self, queries: Iterable[Query], purpose: str) -> Iterator[str]:
        """Pretraining text: each dialogue, mostly with an expert's answer, then a few plain questions."""
        for query in queries:
            rng = self._rng("documents", purpose, query.text)
            author = rng.choices([EXPERT, MIXED, UNALIGNED], [60, 25, 15])[0]
            yield query.text + write_response(query, author.style(rng), rng)
            yield " ".join(_plain_answer(rng) for _ in range(rng.randint(1, 3)))

    def _rng(self, *purpose: str) -> random.Random:
        return random.Random("/".join([str(self.seed), *purpose]))


def _plain_answer(rng: random.Random) -> str:
    """A stand-alone question followed by its answer."""
    task = None
    while task is None or task.decline:
        question = draw_question(rng)
        task = parse_question(question)
    statement = rng.choice(task.statements)
    return f"{question} {capitalized(statement.format(answer=answer_names(task, 'right', rng)))}"
