"""Scored samples as training data of alignment: the distinct responses of each query, the best first."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from apo.core.records import Row
from apo.model.chat_template import Rendered
from apo.model.encoding import Encoder, ResponseSet
from apo.selection import rank_by_reward
from apo.training.ranked_responses import RankedResponses

COUNTS = (
    "queries",  # rows read
    "samples",  # their samples
    "samples_blank",  # only white space
    "samples_identical",  # same ids as another sample of the query
    "queries_dropped_blank",  # all samples are blank
    "queries_dropped_identical",  # all samples that are not blank are identical
    "queries_dropped_tied",  # different samples with equal scores: none is the best
    "queries_dropped_cut_away",  # the longest sample that is trained on leaves no token of the query
    "samples_as_drawn",  # ranked by the ids that were drawn, which differ from the ids of the text
    "prompts_cut",  # truncated as the prompt that their samples were drawn from
    "queries_used",
)


def select_responses(ranked: RankedResponses, method: str) -> RankedResponses:
    """The responses that a method trains on: the best (rjs), the best and the worst (dpo), all (rrhf)."""
    return {"rjs": ranked.only(0), "dpo": ranked.only(0, -1), "rrhf": ranked}[method]


def ranked_queries(
    rows: Iterable[Row], encoder: Encoder, counts: Counter[str], *, method: str, where: str
) -> Iterator[RankedResponses]:
    """Queries to learn from, with the responses that the method trains on, the best first.

    A query has at least two distinct responses with different scores. A response that was sampled twice
    counts once, with its highest score. Ties are broken as in the selection: the first sample comes first.
    The query is truncated as the prompt was that the samples were drawn from, and further where the longest
    response that is trained on leaves less room (`queries_cut`).

    Args:
        rows: `{query, samples, scores}`, as stage rjs writes them, with `sample_ids` if drawn ids differ from
            those of the text, and `prompt_tokens` if the prompt was truncated.
        method: See `select_responses`.
        counts: Updated in place: `COUNTS`, and the counts of the encoder.
    """
    counts.update(dict.fromkeys(COUNTS, 0))
    texts: list[tuple[str, list[str]]] = []
    all_sample_ids: list[list[list[int] | None]] = []
    all_scores: list[list[float]] = []
    all_prompt_tokens: list[int | None] = []
    for row in rows:
        samples, scores = row["samples"], row["scores"]
        order = rank_by_reward(samples, scores)
        counts["queries"] += 1
        counts["samples"] += len(samples)
        counts["samples_blank"] += len(samples) - len(order)
        if order:
            texts.append((row["query"], [samples[i] for i in order]))
            ids = row.get("sample_ids") or [None] * len(samples)
            all_sample_ids.append([ids[i] for i in order])
            all_scores.append([float(scores[i]) for i in order])
            all_prompt_tokens.append(row.get("prompt_tokens"))
        else:
            counts["queries_dropped_blank"] += 1
    tokenized = encoder.tokenize(texts, counts, where=where)
    columns = zip(tokenized, all_sample_ids, all_scores, all_prompt_tokens, strict=True)
    for rendered, sample_ids, scores, prompt_tokens in columns:
        if rendered is None:
            continue
        if prompt_tokens:
            rendered = _as_drawn(encoder, rendered, prompt_tokens)
            counts["prompts_cut"] += 1
        responses = encoder.response_ids(rendered, sample_ids)
        counts["samples_as_drawn"] += sum(ids is not None for ids in sample_ids)
        distinct = [i for i, ids in enumerate(responses) if responses.index(ids) == i]
        counts["samples_identical"] += len(responses) - len(distinct)
        ranked = RankedResponses(ResponseSet([], responses), scores).only(*distinct)
        if len(distinct) == 1:
            counts["queries_dropped_identical"] += 1
        elif not ranked.pairs:
            counts["queries_dropped_tied"] += 1
        else:
            chosen = select_responses(ranked, method)
            if item := encoder.truncate_query(rendered, counts, chosen.item.responses):
                counts["queries_used"] += 1
                yield replace(chosen, item=item)


def _as_drawn(encoder: Encoder, rendered: Rendered, prompt_tokens: int) -> Rendered:
    """The ids with the query of a prompt that was truncated to `prompt_tokens` ids."""
    around = len(encoder.template.head) + len(rendered.generation_prompt)
    return replace(rendered, query=encoder.truncate_ids(rendered.query, prompt_tokens - around))
