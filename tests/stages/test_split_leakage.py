"""stages/split.py: no evaluation query, nor one that is nearly the same, is in anything that trains."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import stages.split
from apo.core.dialogue import normalize_query
from apo.core.errors import UserError
from apo.splits.splitting import split_rows
from tests.helpers.split_stage import (
    FRACTIONS,
    PARTS,
    Rows,
    comparison,
    golden,
    keys,
    long,
    play,
    query,
    world,
)


def test_split_drops_demonstrations_and_documents_with_evaluation_queries(tmp_path: Path) -> None:
    rows = world()
    texts = [row["query"] for row in rows["comparisons"]]
    rows["demonstrations"] = [{"query_id": "d", "query": text, "response": "r"} for text in texts]
    rows["documents"] = [
        *({"text": f"{text} plain"} for text in texts),
        *({"text": f"{text} more\n\nHuman: and then?\n\nAssistant: that"} for text in texts),
        *({"text": f"{text} invents\n\nAssistant: a turn"} for text in texts),
        *({"text": f"{text.replace('question', 'QUESTION ')} written differently"} for text in texts),
        {"text": "A fact, which has no query."},
        {"text": ""},
    ]
    files, metrics = play(tmp_path, rows, **FRACTIONS)
    evaluation_keys = keys(files["test"]) | keys(files["rm_valid"])
    training_keys = keys(files["rm_train"]) | keys(files["llm_train"])
    assert keys(files["demonstrations"]) == training_keys
    assert metrics["demonstrations_dropped"] == len(evaluation_keys)
    assert len(files["documents"]) == 4 * len(training_keys) + 2
    assert metrics["documents_dropped"] == 4 * len(evaluation_keys)
    starts = {normalize_query(row["text"].partition(" plain")[0]) for row in files["documents"]}
    assert not evaluation_keys & starts


CHINESE = (
    "请用三句话告诉我怎样才能在家里做出一碗好吃的牛肉面另外还需要准备哪些调料和蔬菜以及每一步大概要花多少时间"
)


@pytest.mark.parametrize(
    ("test", "other", "counted"),
    [
        (long("x"), long("x").upper().replace("HUMAN", "Human").replace("ASSISTANT", "Assistant"), "in"),
        (long("x"), long("x").replace(" x ", "   x\n"), "in"),
        (long("x"), long("x").replace(" x ", "... 'x'? "), "in"),
        (long("x"), long("x", "there"), "near"),
        (long("x"), long("x", "HERE!  there"), "near"),
        (long("x"), long("x").replace("x 20", "y 20").replace("x 30", "y 30"), ""),
        (query("你好吗"), query("你好吗。"), "in"),
        (query(CHINESE * 2), query(CHINESE + CHINESE.replace("牛", "羊")), "near"),
        (query(CHINESE), query(CHINESE[::-1]), ""),
        (query("👍"), query("👎"), ""),
        ("\n\nHuman: ?\n\nAssistant:", "\n\nHuman:\n\nAssistant:", "in"),  # nothing but punctuation: nothing
        ("\n\nHuman: ?\n\nAssistant:", "\n\nHuman: 👎\n\nAssistant:", ""),
        ("\n\nHuman: ?\n\nAssistant:", "\n\nHuman: 吗\n\nAssistant:", ""),
    ],
)
def test_split_drops_a_training_row_of_a_slightly_different_test_query(
    tmp_path: Path, test: str, other: str, counted: str
) -> None:
    rows = [*world()["comparisons"], comparison("t", "test", test), comparison("r", "rm", other)]
    files, metrics = play(
        tmp_path, {"comparisons": rows, "golden": [golden(row) for row in rows]}, **FRACTIONS
    )
    assert other not in {row["query"] for part in PARTS[1:3] for row in files[part]}
    assert (other in {row["query"] for row in files["rm_train"]}) == (not counted)
    assert test in {row["query"] for row in files["test"]}
    assert metrics.get("dropped_in_test", 0) == (counted == "in")
    assert metrics.get("dropped_near_test_rm", 0) == (counted == "near")


def leaking_rows() -> dict[str, Rows]:
    """Rows of which some of each file are nearly a query of test."""
    rows = world()
    rows["comparisons"] += [comparison("t", "test", long("x")), comparison("t", "test", query("x"))]
    rows["comparisons"] += [comparison("r", "rm", query("X!"))]
    rows["comparisons"] += [
        comparison(n, part, long("x", f"{part}{n}")) for n in range(20) for part in ("rm", "llm")
    ]
    rows["golden"] = [golden(row) for row in rows["comparisons"]]
    texts = [long("x", "then"), query("x"), query("X ?"), query("fine")]
    rows["demonstrations"] = [{"query_id": "d", "query": text, "response": "r"} for text in texts]
    later = "\n\nHuman: and then?\n\nAssistant: that"
    rows["documents"] = [{"text": f"{text} plain{later}"} for text in texts]
    return rows


def test_split_drops_and_counts_near_duplicates_in_all_that_trains(tmp_path: Path) -> None:
    files, metrics = play(tmp_path, leaking_rows(), **FRACTIONS)
    assert metrics["dropped_near_test_rm"] == 20
    assert metrics["dropped_near_test_llm"] + metrics["dropped_near_test_valid"] == 20
    assert metrics["dropped_in_test"] == 1
    assert metrics["rows"] == sum(len(files[part]) for part in PARTS) + 41
    for name in ("demonstrations", "documents"):
        assert len(files[name]) == 1
        assert (metrics[f"{name}_dropped"], metrics[f"{name}_dropped_near"]) == (2, 1)
    assert not [
        row for name in ("rm_queries", "llm_queries") for row in files[name] if "question x" in row["query"]
    ]
    assert {*metrics["overlaps"].values(), *metrics["near_duplicates"].values()} == {0}


def test_split_with_threshold_one_drops_equal_sets_only(tmp_path: Path) -> None:
    files, metrics = play(tmp_path, leaking_rows(), near_duplicate=1.0, **FRACTIONS)
    assert not [name for name in metrics if "dropped_near" in name]
    assert sum(len(files[part]) for part in PARTS) == metrics["rows"] - 1
    assert metrics["demonstrations_dropped"] == metrics["documents_dropped"] == 2


def _undropped(rows: Iterable[dict[str, Any]], *_: Any, **__: Any) -> Iterator[dict[str, Any]]:
    return iter(rows)


def _parts_with_near_duplicates(*args: Any, near_duplicate: float, **kwargs: Any) -> Iterator[Any]:
    return split_rows(*args, near_duplicate=1.0, **kwargs)


def _parts_without_a_check(rows: Callable[[], Iterable[dict[str, Any]]], **_: Any) -> Iterator[Any]:
    parts = ("rm", "llm", "valid", "test")
    return ((row["split"] or parts[n % 4], row) for n, row in enumerate(rows()))


@pytest.mark.parametrize(
    ("function", "broken", "message"),
    [
        (
            "drop_leaked",
            _undropped,
            r"demonstrations and test: found 2 equal queries and 1 near-duplicates, such as",
        ),
        (
            "split_rows",
            _parts_with_near_duplicates,
            r"rm and test: found 0 equal queries and 20 near-duplicates, such as",
        ),
        (
            "split_rows",
            _parts_without_a_check,
            r"rm and test: found 1 queries in both, such as 'human question x assistant'",
        ),
    ],
)
def test_split_fails_if_a_row_that_leaks_is_not_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, broken: Any, message: str
) -> None:
    """The check reads the rows that are written."""
    monkeypatch.setattr(stages.split, function, broken)
    with pytest.raises(UserError, match=message):
        play(tmp_path, leaking_rows(), **FRACTIONS)
    assert not list((tmp_path / "split").iterdir())
    assert not (tmp_path / "metrics.json").exists()
