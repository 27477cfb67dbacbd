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
    "samples_as_drawn",  # read as the ids that were drawn, which are not those of the text
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
        rows: `{query, samples, scores}`, as stage rjs writes them, with `sample_ids` where ids that were
            drawn are not those of the text.
        encoder: How the language model that drew them reads.
        counts: Filled while the queries are drawn: `COUNTS`, and the encoder's.
        where: The file of the rows, for error messages.
    """
    counts.update(dict.fromkeys(COUNTS, 0))
    texts: list[tuple[str, list[str]]] = []
    drawn: list[list[list[int] | None]] = []
    all_scores: list[list[float]] = []
    for row in rows:
        samples, scores = row["samples"], row["scores"]
        order = rank_by_reward(samples, scores)
        counts["queries"] += 1
        counts["samples"] += len(samples)
        counts["samples_blank"] += len(samples) - len(order)
        if order:
            texts.append((row["query"], [samples[i] for i in order]))
            ids = row.get("sample_ids") or [None] * len(samples)
            drawn.append([ids[i] for i in order])
            all_scores.append([float(scores[i]) for i in order])
        else:
            counts["queries_dropped_blank"] += 1
    read = encoder.tokenize(texts, counts, where=where)
    for rendered, own_ids, scores in zip(read, drawn, all_scores, strict=True):
        if rendered is None:
            continue
        of_texts = (response + encoder.turn_end for response in rendered.responses)
        responses = [ids if own is None else own for own, ids in zip(own_ids, of_texts, strict=True)]
        item = encoder.fit(rendered, counts, responses)
        if item is None:
            continue
        counts["samples_as_drawn"] += sum(own is not None for own in own_ids)
        first = dict(reversed([(tuple(ids), place) for place, ids in enumerate(item.responses)]))
        different = sorted(first.values())
        counts["samples_identical"] += len(item.responses) - len(different)
        one = Ranking(item, scores).only(*different)
        if len(different) == 1:
            counts["queries_dropped_identical"] += 1
        elif not one.pairs:
            counts["queries_dropped_tied"] += 1
        else:
            counts["queries_used"] += 1
            yield one
