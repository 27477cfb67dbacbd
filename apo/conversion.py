"""Adversarial comparisons from golden answers and samples: golden > each sample of the same query."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from apo.core.config import Section
from apo.core.dialogue import cut_runaway
from apo.core.errors import UserError
from apo.core.records import Row, decoded, parse_row, read_placed_rows, unseen_id


class Convert(Section):
    pick: Literal["all", "one"]
    short_samples: Literal["error", "keep"]


COUNTS = (
    "queries",  # rows of samples read
    "samples",  # samples read
    "samples_cut",  # cut at a runaway turn
    "samples_blank",  # dropped: only white space, after the cut
    "samples_golden",  # dropped: equal to the golden answer, except for white space around it
    "samples_duplicate",  # kept: equal to an earlier sample of the query
    "queries_short",  # queries with fewer samples than num_samples
    "queries_dropped",  # queries left without a sample
    "golden_unused",  # golden answers of queries that have no samples
    "items",  # comparisons written
    "pairs",  # pairs golden > sample in them
)


class GoldenAnswers(Mapping[str, str]):
    """Golden answers by query id, read from the file on access, inside a `with`.

    Only the id and the byte offset of each row are in memory.

    Args:
        path: Rows `{query_id, golden}`.

    Raises:
        UserError: A row has no answer, or an id is repeated.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offsets: dict[str, int] = {}
        for number, offset, row in read_placed_rows(path, "query_id"):
            query_id, answer = row["query_id"], row.get("golden")
            if not isinstance(answer, str) or not answer.strip():
                raise UserError(
                    f"{path}:{number}",
                    found=f"no golden answer for query {query_id!r}",
                    expected="text under 'golden'",
                    do="add the answer, or remove the row together with the query's samples",
                )
            if query_id in self._offsets:
                raise UserError(
                    f"{path}:{number}",
                    found=f"the repeated query_id {query_id!r}",
                    expected="one golden answer per query",
                    do="remove one of the two rows",
                )
            self._offsets[query_id] = offset
        self._file = path.open("rb")

    def __enter__(self) -> "GoldenAnswers":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getitem__(self, query_id: str) -> str:
        source = str(self._path)
        self._file.seek(self._offsets[query_id])
        answer: str = parse_row(decoded(self._file.readline(), where=source), where=source)["golden"]
        return answer

    def __iter__(self) -> Iterator[str]:
        return iter(self._offsets)

    def __len__(self) -> int:
        return len(self._offsets)


def convert(
    sample_rows: Iterable[Row],
    golden_by_id: Mapping[str, str],
    *,
    num_samples: int,
    short_samples: Literal["error", "keep"],
    pick: Literal["all", "one"],
    seed: int,
    source: str,
    counts: Counter[str],
) -> Iterator[Row]:
    """One row per query: `{query_id, query, responses: [golden, s0, ..], scores: [1, 0, ..], type: "apo"}`.

    Samples are tied with each other, so a row with n samples has exactly n pairs. Samples are first cut at a
    runaway `Human:` turn, unless the row has `uncut`; golden answers are never cut. Blank samples and samples
    equal to the golden answer are dropped, and so is a query left without samples. All are counted.

    Args:
        sample_rows: Rows `{query_id, query, samples: [..]}`, one per line of the file.
        num_samples: The number of samples per query, before any is dropped.
        short_samples: Whether fewer samples are an error. More samples always are.
        pick: All samples, or one of those left, drawn by seed and query id.
        counts: Filled while the rows are drawn; at the end it has every name in `COUNTS`.

    Raises:
        UserError: A query has no golden answer or a wrong number of samples, a sample is not a text, or an id
            is repeated.
    """
    counts.update(dict.fromkeys(COUNTS, 0))
    seen: set[str] = set()
    for number, row in enumerate(sample_rows, start=1):
        location = f"{source}:{number}"
        query_id = unseen_id(row, seen, where=location)
        golden = golden_by_id.get(query_id, "")
        _check_golden(golden, query_id, location=location)
        samples = _checked_samples(row, num_samples, short_samples, location=location)
        counts["queries"] += 1
        counts["samples"] += len(samples)
        counts["queries_short"] += len(samples) < num_samples
        worse = _worse_samples(samples, golden, counts, skip_cut=row.get("uncut", False))
        if not worse:
            counts["queries_dropped"] += 1
            continue
        if pick == "one":
            worse = [random.Random(f"{seed}:{query_id}").choice(worse)]
        counts["items"] += 1
        counts["pairs"] += len(worse)
        yield {
            "query_id": query_id,
            "query": row["query"],
            "responses": [golden, *worse],
            "scores": [1.0] + [0.0] * len(worse),
            "type": "apo",
        }
    counts["golden_unused"] += len(golden_by_id.keys() - seen)


def _check_golden(golden: str, query_id: str, *, location: str) -> None:
    if not golden.strip():
        raise UserError(
            location,
            found=f"query {query_id!r} without golden answer",
            expected="a golden answer for every sampled query",
            do="add it to the golden answers, or sample only queries that have one",
        )


def _checked_samples(row: Row, num_samples: int, short_samples: str, *, location: str) -> list[str]:
    samples = row.get("samples")
    if not isinstance(samples, list) or not all(isinstance(sample, str) for sample in samples):
        raise UserError(
            location,
            found=f"samples {samples!r:.80}",
            expected="a list of texts",
            do="write a missing answer as an empty text, not as null",
        )
    if len(samples) > num_samples or (len(samples) < num_samples and short_samples == "error"):
        raise UserError(
            location,
            found=f"{len(samples)} samples",
            expected=f"{num_samples} (apo.num_samples)",
            do="set sample.rm.num_samples and apo.num_samples to the same number"
            + ("" if len(samples) > num_samples else ", or convert.short_samples to keep"),
        )
    return samples


def _worse_samples(samples: list[str], golden: str, counts: Counter[str], *, skip_cut: bool) -> list[str]:
    """The samples that golden is better than: neither blank nor equal to it."""
    worse: list[str] = []
    for sample in samples:
        text, is_cut = (sample, False) if skip_cut else cut_runaway(sample)
        counts["samples_cut"] += is_cut
        if not text.strip():
            counts["samples_blank"] += 1
        elif text.strip() == golden.strip():
            counts["samples_golden"] += 1
        else:
            counts["samples_duplicate"] += text in worse
            worse.append(text)
    return worse
