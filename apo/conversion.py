"""From golden answers and samples to APO items: golden > each sample of the same query."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from apo.core.config import Section
from apo.core.errors import UserError
from apo.core.records import Row, decoded, parse_row, read_placed_rows
from apo.text.dialogue import cut_runaway


class Convert(Section):
    pick: Literal["all", "one"]
    short_samples: Literal["error", "keep"]


COUNTS = (
    "queries",  # rows of samples read
    "samples",  # samples read
    "samples_cut",  # cut at a runaway turn
    "samples_blank",  # dropped: nothing but white space, after the cut
    "samples_golden",  # dropped: the golden answer itself, but for white space around it
    "samples_duplicate",  # kept: equal to an earlier sample of the query
    "queries_short",  # queries with fewer samples than num_samples
    "queries_dropped",  # queries left without a sample
    "golden_cut",  # golden answers cut at a runaway turn
    "golden_unused",  # golden answers of queries that have no samples
    "items",  # items written
    "pairs",  # pairs golden > sample in them
)


class GoldenAnswers(Mapping[str, str]):
    """Golden answers by query id, read from their file again when they are asked for, inside a `with`.

    Memory is the id and the place of each row.

    Args:
        path: Rows `{query_id, golden}`.

    Raises:
        UserError: A row without an answer, or an id twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, int] = {}
        for number, place, row in read_placed_rows(path, "query_id"):
            query_id, answer = row["query_id"], row.get("golden")
            if not isinstance(answer, str) or not answer.strip():
                raise UserError(
                    f"{path}:{number}",
                    found=f"no golden answer for query {query_id!r}",
                    expected="text under 'golden'",
                    do="add the answer or remove the row together with the query's samples",
                )
            if query_id in self._places:
                raise UserError(
                    f"{path}:{number}",
                    found=f"query_id {query_id!r} for a second time",
                    expected="one golden answer a query",
                    do="remove one of the two rows",
                )
            self._places[query_id] = place
        self._lines = path.open("rb")

    def __enter__(self) -> "GoldenAnswers":
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()

    def __getitem__(self, query_id: str) -> str:
        where = str(self._path)
        self._lines.seek(self._places[query_id])
        answer: str = parse_row(decoded(self._lines.readline(), where=where), where=where)["golden"]
        return answer

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def convert(
    samples_rows: Iterable[Row],
    golden_by_id: Mapping[str, str],
    *,
    num_samples: int,
    short_samples: Literal["error", "keep"],
    pick: Literal["all", "one"],
    seed: int,
    where: str,
    counts: Counter[str],
) -> Iterator[Row]:
    """One item per query: `{query_id, query, responses: [golden, s0, ..], scores: [1, 0, ..], type: "apo"}`.

    Samples are tied with each other, so that an item with n samples has exactly n pairs. Every text is cut at
    a runaway `Human:` turn first; blank samples and those that are the golden answer itself are no evidence
    for golden > sample and are left out, and a query without any sample left is left out too, all counted.

    Args:
        samples_rows: Rows `{query_id, query, samples: [..]}`, one a line of the file.
        golden_by_id: The golden answer of every query, see `GoldenAnswers`.
        num_samples: How many samples a query has, before any is left out.
        short_samples: What a query with fewer is: an error, or kept as it is. More is always an error.
        pick: All samples, or one of those left, drawn by `seed` and query id (order-independent).
        seed: For `pick: one`.
        where: The file of the samples, for error messages.
        counts: Filled while the items are drawn; afterwards it holds every name in `COUNTS`.

    Raises:
        UserError: A query without golden answer, a wrong number of samples, a sample that is no text, an
            id twice.
    """
    counts.update(dict.fromkeys(COUNTS, 0))
    seen: set[str] = set()
    for number, row in enumerate(samples_rows, start=1):
        line = f"{where}:{number}"
        query_id = str(row["query_id"])
        if query_id in seen:
            raise UserError(
                line,
                found=f"query_id {query_id!r} for a second time",
                expected="one row a query",
                do="put all samples of a query into one row",
            )
        seen.add(query_id)
        golden, golden_cut = cut_runaway(golden_by_id.get(query_id, ""))
        if not golden.strip():
            raise UserError(
                line,
                found=f"query {query_id!r} without golden answer",
                expected="a golden answer for every sampled query, with text before any 'Human:' turn",
                do="add it to the golden answers, or sample only queries that have one",
            )
        samples = _texts(row, num_samples, short_samples, where=line)
        counts["queries"] += 1
        counts["golden_cut"] += golden_cut
        counts["samples"] += len(samples)
        counts["queries_short"] += len(samples) < num_samples
        kept = _evidence(samples, golden, counts)
        if not kept:
            counts["queries_dropped"] += 1
            continue
        if pick == "one":
            kept = [random.Random(f"{seed}:{query_id}").choice(kept)]
        counts["items"] += 1
        counts["pairs"] += len(kept)
        yield {
            "query_id": query_id,
            "query": row["query"],
            "responses": [golden, *kept],
            "scores": [1.0] + [0.0] * len(kept),
            "type": "apo",
        }
    counts["golden_unused"] += len(golden_by_id.keys() - seen)


def authors_pairs(item: Row, *, separator: str = "<sep>") -> Iterator[Row]:
    """An item in the authors' flat shape: one row `{text: [golden, sample], scores, type}` a pair.

    Raises:
        UserError: A text holds the separator, so that the row could not be split again.
    """
    golden, *samples = (_joined(item, response, separator) for response in item["responses"])
    for sample in samples:
        yield {"text": [golden, sample], "scores": [1.0, 0.0], "type": "apo"}


def _joined(item: Row, response: str, separator: str) -> str:
    if separator in item["query"] or separator in response:
        raise UserError(
            f"query {item['query_id']!r}",
            found=f"the separator {separator!r} inside a text",
            expected="it only between query and response",
            do="pass another separator, or leave the query out",
        )
    return f"{item['query']}{separator}{response}"


def _texts(row: Row, num_samples: int, short_samples: str, *, where: str) -> list[str]:
    samples = row.get("samples")
    if not isinstance(samples, list) or not all(isinstance(sample, str) for sample in samples):
        raise UserError(
            where,
            found=f"samples {samples!r:.80}",
            expected="a list of texts",
            do="write an absent answer as an empty text, not as null",
        )
    if len(samples) > num_samples or (len(samples) < num_samples and short_samples == "error"):
        raise UserError(
            where,
            found=f"{len(samples)} samples",
            expected=f"{num_samples} (apo.num_samples)",
            do="sample as many as the parameter says, or allow short_samples: keep where some are missing",
        )
    return samples


def _evidence(samples: list[str], golden: str, counts: Counter[str]) -> list[str]:
    kept: list[str] = []
    for sample in samples:
        text, was_cut = cut_runaway(sample)
        counts["samples_cut"] += was_cut
        if not text.strip():
            counts["samples_blank"] += 1
        elif text.strip() == golden.strip():
            counts["samples_golden"] += 1
        else:
            counts["samples_duplicate"] += text in kept
            kept.append(text)
    return kept
