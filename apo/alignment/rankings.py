"""Scored samples as training data of alignment: the distinct responses of each query, the best first."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from apo.core.records import Row
from apo.model.encoding import Encoder, ResponseSet
from apo.selection import rank_by_reward

COUNTS = (
    "queries",  # rows read
    "samples",  # their samples
    "samples_blank",  # nothing but white space
    "samples_identical",  # the ids of another sample of the query, once cut
    "queries_dropped_blank",  # all samples blank
    "queries_dropped_identical",  # all samples that are not blank identical
    "queries_dropped_tied",  # different samples with equal scores: none is the best
    "queries_dropped_cut_away",  # no token of the query is left beside its longest sample
    "queries_used",
)


@dataclass(frozen=True)
class Ranking:
    """A query with different responses and their scores, both in the order of the scores, the best first."""

    item: ResponseSet
    scores: list[float]

    @property
    def pairs(self) -> int:
        """Pairs of responses with different scores."""
        return sum(a > b for a in self.scores for b in self.scores)

    def only(self, *places: int) -> "Ranking":
        """With the responses at these places alone."""
        responses = [self.item.responses[place] for place in places]
        return Ranking(ResponseSet(self.item.prefix, responses), [self.scores[place] for place in places])


def ranked_queries(
    rows: Iterable[Row], encoder: Encoder, counts: Counter[str], *, where: str
) -> Iterator[Ranking]:
    """Queries that say something: at least two different responses, of which one is the best.

    A response that was sampled twice counts once, with its highest score. Ties are broken as in the
    selection: the first sample comes first.

    Args:
        rows: `{query, samples, scores}`, as stage rjs writes them.
        encoder: How they are read.
        counts: Filled while the queries are drawn: `COUNTS`, and the encoder's.
        where: The file of the rows, for error messages.
    """
    counts.update(dict.fromkeys(COUNTS, 0))
    texts: list[tuple[str, list[str]]] = []
    all_scores: list[list[float]] = []
    for row in rows:
        samples, scores = row["samples"], row["scores"]
        order = rank_by_reward(samples, scores)
        counts["queries"] += 1
        counts["samples"] += len(samples)
        counts["samples_blank"] += len(samples) - len(order)
        if order:
            texts.append((row["query"], [samples[i] for i in order]))
            all_scores.append([float(scores[i]) for i in order])
        else:
            counts["queries_dropped_blank"] += 1
    for item, scores in zip(encoder.items(texts, counts, where=where), all_scores, strict=True):
        first = dict(reversed([(tuple(ids), place) for place, ids in enumerate(item.responses)]))
        different = sorted(first.values())
        counts["samples_identical"] += len(item.responses) - len(different)
        one = Ranking(item, scores).only(*different)
        if len(different) == 1:
            counts["queries_dropped_identical"] += 1
        elif not one.pairs:
            counts["queries_dropped_tied"] += 1
        elif not item.prefix:
            counts["queries_dropped_cut_away"] += 1
        else:
            counts["queries_used"] += 1
            yield one
