"""apo/splits/requirements.py: no part of the game is empty, and every RM query has a golden answer."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.splits.requirements import check_parts, not_empty, with_golden
from apo.splits.settings import Split
from apo.splits.splitting import PARTS

SETTINGS = Split(
    rm_fraction=0.3,
    valid_fraction=0.05,
    test_fraction=0.0,
    near_duplicate=0.9,
    shared_first_turn="drop",
    without_golden="error",
)
QUERIES = [("rm_queries", {"query_id": name}) for name in "abcd"]
GOLDEN = [{"query_id": name, "golden": "g"} for name in "dbz"]


@pytest.mark.parametrize("empty", PARTS)
def test_check_parts_names_the_part(empty: str) -> None:
    check_parts(dict.fromkeys(PARTS, 1), Counter(), SETTINGS, draws=True)
    with pytest.raises(UserError, match=rf"^part {empty}: found no comparisons; expected"):
        check_parts({part: part != empty for part in PARTS}, Counter(), SETTINGS, draws=True)


def test_check_parts_names_what_left_a_part_empty() -> None:
    counts = {
        "dropped_in_test": 3,
        "dropped_first_turn_test_rm": 4,
        "dropped_near_test_llm": 5,
        "rows_llm": 9,
    }
    with pytest.raises(UserError, match=r"\(left out: in_test 3, first_turn_test_rm 4\); ") as caught:
        check_parts({"rm": 0, "llm": 1, "valid": 1, "test": 1}, counts, SETTINGS, draws=True)
    assert str(caught.value).endswith("data.files.rm; or split.shared_first_turn: keep")


def played(
    rows: list[tuple[str, Any]], counts: Counter[str] | None = None, **options: Any
) -> list[tuple[str, Any]]:
    options = {"without_golden": "error", "source": "files", "golden": GOLDEN} | options
    return list(with_golden(rows, counts=Counter() if counts is None else counts, **options))


def test_with_golden_skips_or_refuses_an_rm_query_without_golden_answer() -> None:
    counts: Counter[str] = Counter()
    assert played(QUERIES, counts, without_golden="skip") == [QUERIES[1], QUERIES[3]]
    assert counts == {"rm_queries_without_golden": 2}
    with pytest.raises(UserError, match=r"query 'a' of the RM part: found no golden answer.*skip"):
        played(QUERIES)
    others = [("rm", {"query_id": "a"}), ("llm_queries", {"query_id": "a"}), QUERIES[1]]
    assert played(others) == others


def test_with_golden_keeps_the_queries_that_an_endpoint_will_answer() -> None:
    counts: Counter[str] = Counter()
    assert played(QUERIES, counts, source="endpoint") == QUERIES
    assert counts == {"rm_queries_without_golden": 2}
    assert played(QUERIES, golden=[], source="endpoint", without_golden="skip") == QUERIES


def test_with_golden_refuses_to_leave_no_query() -> None:
    for golden in ([], [{"query_id": "z", "golden": "g"}]):
        with pytest.raises(
            UserError, match=r"no golden answer to any of its 4 queries.*data\.golden: chosen"
        ):
            played(QUERIES, golden=golden, without_golden="skip")


def test_not_empty_refuses_texts_that_a_model_starts_from() -> None:
    file, options = Path("data/split/demonstrations.jsonl"), {"parameter": "actor.start"}
    assert list(not_empty([{"query": "q"}], file, start=str(file), **options)) == [{"query": "q"}]
    assert list(not_empty([], file, start="pretrained/actor", **options)) == []
    with pytest.raises(
        UserError, match=r"params\.yaml: actor\.start: found data/split/demonstrations\.jsonl, "
    ):
        list(not_empty([], file, start=str(file), **options))
