"""apo/export/authors.py: the authors' formats to the letter, and read by their scripts."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apo.core.records import write_rows
from apo.datasets.readers import read_comparisons, read_golden, read_samples
from apo.export.authors import golden_to_authors, samples_to_authors, to_authors
from apo.export.write import main
from apo.selection import select
from tests.helpers.exported_rows import COMPARISONS, GOLDEN, OTHER, SAMPLES, Q
from tests.helpers.reading import read


@pytest.mark.parametrize(
    ("reader", "rows"), [(read_comparisons, COMPARISONS), (read_golden, GOLDEN), (read_samples, SAMPLES)]
)
def test_to_authors_is_read_back_the_same(tmp_path: Path, reader, rows: list[dict]) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "new" / "out.json"
    write_rows(source, rows)
    assert main(["--to", "authors", str(source), str(target)]) == 0
    back = read(target, reader=reader).records
    assert back == rows
    assert [list(row) for row in back] == [list(row) for row in rows]
    assert isinstance(json.loads(target.read_text(encoding="utf-8")), list)


def test_to_authors_by_hand() -> None:
    assert list(to_authors(COMPARISONS[0], where="x:1")) == [
        {
            "text": [f"{Q}<sep>x", f"{Q}<sep>y", f"{Q}<sep>z"],
            "scores": [0.5, -2.0, 1e-7],
            "query_id": "a",
            "type": "helpful",
        }
    ]
    assert golden_to_authors({"query_id": "a", "query": Q, "golden": "g", "more": 1}) == {
        "query_id": "a",
        "query": Q,
        "golden": "g",
    }
    assert samples_to_authors(SAMPLES[1]) == {
        "query_id": "b",
        "query": OTHER,
        "sample_0": "s",
        "sample_1": "",
        "hh_best": "h",
        "gpt4_ans": "g",
    }


def test_to_authors_writes_one_entry_per_score() -> None:
    row = {"query_id": "a", "scores": [0.25, -1.0], "extra": {"hh_best": 2.0}}
    assert list(to_authors(row, where="x:1")) == [
        {"a:sample_0": 0.25},
        {"a:sample_1": -1.0},
        {"a:hh_best": 2.0},
    ]


CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
SCORE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.text(CHARACTERS, min_size=1).filter(lambda name: ":" not in name), st.lists(SCORE, min_size=1))
def test_to_authors_writes_scores_that_their_reader_parses(query_id: str, scores: list[float]) -> None:
    scores_read: dict[str, dict[str, float]] = {}
    for entry in to_authors({"query_id": query_id, "scores": scores}, where="x:1"):
        ((key, score),) = entry.items()
        read_id, name = key.split(":")  # a ValueError in theirs where there are more
        scores_read.setdefault(read_id, {})[name] = score
    assert scores_read == {query_id: {f"sample_{n}": score for n, score in enumerate(scores)}}


def test_to_authors_fits_the_rejection_sampling_of_the_authors(vectors: Any) -> None:
    """Their input files, made from our records, and their output, from our selection."""
    compared = 0
    for case in vectors("rejection_sampling"):
        if case["name"] not in ("plain", "hh_best_skipped", "very_low_scores"):
            continue
        samples = [
            {
                "query_id": row["query_id"],
                "query": row["query"],
                "samples": [row[f"sample_{n}"] for n in range(4)],
                **({"extra": {"hh_best": row["hh_best"]}} if "hh_best" in row else {}),
            }
            for row in case["data"]
        ]
        entries = {key: score for entry in case["scores"] for key, score in entry.items()}
        scores = [
            {
                "query_id": row["query_id"],
                "scores": [entries[f"{row['query_id']}:sample_{n}"] for n in range(4)],
                **({"extra": {"hh_best": entries[f"{row['query_id']}:hh_best"]}} if "extra" in row else {}),
            }
            for row in samples
        ]
        assert [out for row in samples for out in to_authors(row, where="x")] == case["data"]
        assert [out for row in scores for out in to_authors(row, where="x")] == case["scores"]
        if case["name"] == "plain":
            chosen = select(
                samples, scores, include_extra=False, samples_source="s", rewards_source="r", counts=Counter()
            )
            written = [out for row in chosen for out in to_authors(row, where="x")]
            assert written == case["output"]
            assert [list(row) for row in written] == [list(row) for row in case["output"]]
        compared += 1
    assert compared == 3


def test_to_authors_fits_the_converter_of_the_authors(vectors: Any) -> None:
    (case,) = (case for case in vectors("apo_data_converter") if case["name"] == "plain")
    samples = [
        {
            "query_id": row["query_id"],
            "query": row["query"],
            "samples": [row[f"sample_{n}"] for n in range(4)],
        }
        for row in case["samples"]
    ]
    assert [out for row in samples for out in to_authors(row, where="x")] == case["samples"]
    golden = [row | {"query": samples[n]["query"]} for n, row in enumerate(case["golden"])]
    assert [out for row in golden for out in to_authors(row, where="x")] == golden  # more keys are not read
