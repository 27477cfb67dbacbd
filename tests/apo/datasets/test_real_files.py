"""The readers on real preference data: the known counts. They run where the data lies beside the checkout."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apo.datasets.query_ids import QueryIds
from apo.datasets.readers import read_comparisons, read_demonstrations, read_golden, read_samples
from tests.helpers.reading import read_by

SHARED = Path(__file__).parents[4] / "shared" / "data"

real_data = pytest.mark.skipif(
    not SHARED.is_dir(), reason="real data lies beside the checkout only on some machines"
)

Reader = Callable[..., Any]

REAL = [
    pytest.param(
        read_comparisons,
        "hh_harmless_train/harmless-base.train.first40000.jsonl.xz",
        {
            "rows": 40_000,
            "kept": 39_952,
            "dropped_empty_response": 48,
            "stripped_responses": 119,
            "kept_replacement_character": 1,
            "kept_turn_order": 145,
            "kept_runaway_response": 29,
        },
        marks=pytest.mark.slow,
    ),
    (
        read_comparisons,
        "hh_test/harmless.test.json.xz",
        {
            "rows": 2_312,
            "kept": 2_303,
            "dropped_empty_response": 4,
            "dropped_two_queries": 5,
            "kept_turn_order": 4,
            "kept_runaway_response": 1,
            "stripped_responses": 4,
        },
    ),
    (
        read_comparisons,
        "hh_test/helpful.test.json.xz",
        {
            "rows": 2_352,
            "kept": 2_339,
            "dropped_empty_response": 4,
            "dropped_two_queries": 9,
            "kept_turn_order": 6,
            "kept_runaway_response": 3,
            "stripped_responses": 4,
        },
    ),
    (
        read_comparisons,
        "apo_native/llm.pairs.json.xz",
        {
            "rows": 3_677,
            "kept": 3_676,
            "dropped_identical_responses": 1,
            "kept_runaway_response": 1,
            "stripped_responses": 309,
            "kept_replacement_character": 1,
        },
    ),
    (read_golden, "apo_native/rm.golden.json.xz", {"rows": 367, "kept": 367}),
    (read_samples, "apo_native/rm.sample.json.xz", {"rows": 367, "kept": 367, "kept_sample_count": 1}),
    (read_demonstrations, "apo_native/rm.sample.json.xz", {"rows": 367, "kept": 4 * 366 + 3}),
]


@real_data
@pytest.mark.parametrize(("reader", "name", "wanted"), REAL)
def test_readers_give_the_known_counts_of_real_files(
    reader: Reader, name: str, wanted: dict[str, int]
) -> None:
    rows, counts, issues = read_by(reader, SHARED / name)
    assert counts == wanted
    assert len(rows) == counts["kept"]
    issue_counts = {rule: count for rule, count in counts.items() if rule.startswith(("dropped_", "kept_"))}
    assert len(issues) == sum(min(count, 10) for count in issue_counts.values())


@real_data
def test_query_ids_agree_between_the_real_files_of_one_set() -> None:
    ids = QueryIds()
    for reader, kind in [(read_comparisons, "pairs"), (read_golden, "golden"), (read_samples, "sample")]:
        for row in read_by(reader, SHARED / f"apo_native/rm.{kind}.json.xz")[0]:
            assert ids.canonical(row["query_id"], row["query"], kind) == row["query_id"]
