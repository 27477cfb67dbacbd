"""The preferred answers of the comparisons as golden answers (`data.golden: chosen`)."""

from collections import Counter
from collections.abc import Iterable, Iterator

from apo.core.records import Row
from apo.datasets.readers import best_response


def with_chosen_golden(rows: Iterable[tuple[str, Row]], counts: Counter[str]) -> Iterator[tuple[str, Row]]:
    """All rows, with golden answers from the comparisons in place of those of the source.

    The first comparison of a query that prefers one response gives its golden answer. Comparisons of the
    source's test set give none.

    Args:
        counts: Receives `golden`, `queries_without`, and the rows that give no golden answer:
            `further_comparisons` of a query that has one, comparisons `without_preference` for one response
            (several share the highest score), and the `source_golden_unused`.
    """
    names = ("golden", "queries_without", "further_comparisons", "without_preference", "source_golden_unused")
    counts.update(dict.fromkeys(names, 0))
    has_golden: dict[str, bool] = {}  # by query id
    for kind, row in rows:
        if kind == "golden":
            counts["source_golden_unused"] += 1
            continue
        yield kind, row
        if kind != "comparisons" or row["split"] == "test":
            continue
        query_id, scores = row["query_id"], row["scores"]
        if has_golden.setdefault(query_id, False):
            counts["further_comparisons"] += 1
        elif scores.count(max(scores)) > 1:
            counts["without_preference"] += 1
        else:
            has_golden[query_id] = True
            counts["golden"] += 1
            answer = best_response(row["responses"], scores)
            golden = {"query_id": query_id, "query": row["query"], "golden": answer, "type": row["type"]}
            yield "golden", golden
    counts["queries_without"] = len(has_golden) - counts["golden"]
