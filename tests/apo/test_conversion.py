"""apo/conversion.py: golden > samples items, every drop counted, the authors' flat pairs."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from apo.conversion import COUNTS, GoldenAnswers, authors_pairs, convert
from apo.core.errors import UserError
from apo.core.records import write_rows

QUERY = "\n\nHuman: Q\n\nAssistant:"


def samples(query_id: Any, *texts: str | None) -> dict[str, Any]:
    return {"query_id": query_id, "query": QUERY, "samples": list(texts)}


def run(rows, golden, **options) -> tuple[list[dict[str, Any]], Counter[str]]:
    counts: Counter[str] = Counter()
    settings = {"num_samples": 2, "short_samples": "error", "pick": "all", "seed": 1, "where": "s.jsonl"}
    items = list(convert(rows, golden, counts=counts, **(settings | options)))
    assert set(counts) == set(COUNTS)
    assert (
        counts["samples"]
        == counts["samples_blank"]
        + counts["samples_golden"]
        + sum(len(item["responses"]) - 1 for item in items)
        or options.get("pick") == "one"
    )
    return items, counts


def test_one_item_a_query_with_one_pair_a_sample() -> None:
    items, counts = run(
        [samples("a", " x", " y"), samples("b", " z", " w")], {"a": " A", "b": " B", "c": "C"}
    )
    assert items[0] == {
        "query_id": "a",
        "query": QUERY,
        "responses": [" A", " x", " y"],
        "scores": [1.0, 0.0, 0.0],
        "type": "apo",
    }
    assert list(items[0]) == ["query_id", "query", "responses", "scores", "type"]
    assert items[1]["responses"] == [" B", " z", " w"]
    pairs = sum(a > b for item in items for a in item["scores"] for b in item["scores"])
    assert pairs == counts["pairs"] == 4
    assert (counts["queries"], counts["items"], counts["samples"], counts["golden_unused"]) == (2, 2, 4, 1)


def test_a_runaway_turn_is_cut_before_anything_is_compared() -> None:
    rows = [
        samples("a", "gold\n\nHuman: next?", "\n\nHuman: at once", "fine\nHuman: b", "Humanity\nHumanity")
    ]
    items, counts = run(rows, {"a": "gold"}, num_samples=4)
    assert items[0]["responses"] == ["gold", "fine", "Humanity\nHumanity"]
    assert counts["samples_cut"] == 3
    assert (counts["samples_golden"], counts["samples_blank"], counts["golden_cut"]) == (1, 1, 0)


def test_a_runaway_turn_of_the_golden_answer_is_cut_too() -> None:
    items, counts = run([samples("a", "gold", "x")], {"a": "gold\n\nHuman: thanks"})
    assert items[0]["responses"] == ["gold", "x"]
    assert (counts["golden_cut"], counts["samples_cut"], counts["samples_golden"]) == (1, 0, 1)
    with pytest.raises(UserError, match="without golden answer"):
        run([samples("a", "x", "y")], {"a": "\n\nHuman: only a turn"})


def test_blank_and_golden_samples_are_dropped_and_duplicates_kept() -> None:
    items, counts = run([samples("a", "  \n", "gold ", "x", "x", "x", "y")], {"a": " gold"}, num_samples=6)
    assert items[0]["responses"] == [" gold", "x", "x", "x", "y"]
    assert (counts["samples_blank"], counts["samples_golden"], counts["samples_duplicate"]) == (1, 1, 2)


def test_a_query_without_any_sample_left_is_dropped() -> None:
    items, counts = run([samples("a", "", "gold"), samples("b", "x", "y")], {"a": "gold", "b": "gold"})
    assert [item["query_id"] for item in items] == ["b"]
    assert (counts["queries"], counts["queries_dropped"], counts["items"]) == (2, 1, 1)


def test_fewer_samples_are_an_error_or_kept() -> None:
    rows, golden = [samples("a", "x")], {"a": "gold"}
    with pytest.raises(UserError, match=r"s.jsonl:1: found 1 samples; expected 2"):
        run(rows, golden)
    items, counts = run(rows, golden, short_samples="keep")
    assert items[0]["responses"] == ["gold", "x"] and counts["queries_short"] == 1


@pytest.mark.parametrize("rule", ["error", "keep"])
def test_more_samples_are_an_error(rule) -> None:
    with pytest.raises(UserError, match="found 3 samples; expected 2"):
        run([samples("a", "x", "y", "z")], {"a": "gold"}, short_samples=rule)


def test_pick_one_depends_on_seed_and_id_only() -> None:
    texts = [f"s{i}" for i in range(4)]
    rows = [samples(str(i), *texts) for i in range(200)]
    golden = {str(i): "gold" for i in range(200)}
    items, counts = run(rows, golden, num_samples=4, pick="one")
    assert all(item["scores"] == [1.0, 0.0] for item in items) and counts["pairs"] == 200
    again, _ = run(rows[::-1], golden, num_samples=4, pick="one")
    assert again[::-1] == items
    other, _ = run(rows, golden, num_samples=4, pick="one", seed=2)
    assert other != items
    drawn = Counter(item["responses"][1] for item in items)
    assert set(drawn) == set(texts) and min(drawn.values()) > 25  # 50 expected, sd 6


def test_pick_one_draws_from_what_is_left() -> None:
    items, _ = run([samples("a", "", "gold", "x")], {"a": "gold"}, num_samples=3, pick="one")
    assert items[0]["responses"] == ["gold", "x"]


def test_refusals_say_where() -> None:
    with pytest.raises(UserError, match=r"s.jsonl:2: found query 'b' without golden answer"):
        run([samples("a", "x", "y"), samples("b", "x", "y")], {"a": "gold"})
    with pytest.raises(UserError, match=r"s.jsonl:1: found query 'a' without golden answer"):
        run([samples("a", "x", "y")], {"a": " \n"})
    with pytest.raises(UserError, match=r"s.jsonl:2: found query_id 'a' for a second time"):
        run([samples("a", "x", "y"), samples("a", "x", "y")], {"a": "gold"})
    with pytest.raises(UserError, match=r"s.jsonl:1: found samples .*expected a list of texts"):
        run([samples("a", "x", None)], {"a": "gold"})
    with pytest.raises(UserError, match=r"s.jsonl:1: found samples None"):
        run([{"query_id": "a", "query": QUERY}], {"a": "gold"})


def golden_answers(folder: Path, rows: list[dict[str, Any]]) -> dict[str, str]:
    write_rows(folder / "g.jsonl", (row | {"query_id": str(row["query_id"])} for row in rows))
    with GoldenAnswers(folder / "g.jsonl") as found:
        assert len(found) == len(rows)
        return {query_id: found[query_id] for query_id in sorted(found)}


def test_golden_answers(tmp_path: Path) -> None:
    rows = [
        {"query_id": "1", "golden": "x"},
        {"query_id": "é", "golden": "yé\n"},
        {"query_id": "0", "golden": "z"},
    ]
    assert golden_answers(tmp_path, rows) == {"1": "x", "é": "yé\n", "0": "z"}
    with pytest.raises(UserError, match=r"g.jsonl:4: found query_id '0' for a second time"):
        golden_answers(tmp_path, [*rows, {"query_id": "0", "golden": "y"}])
    for bad in ({"query_id": "c"}, {"query_id": "c", "golden": " "}, {"query_id": "c", "golden": None}):
        with pytest.raises(UserError, match=r"g.jsonl:1: found no golden answer for query 'c'"):
            golden_answers(tmp_path, [bad])


def test_authors_pairs_refuse_the_separator_in_a_text() -> None:
    item = {"query_id": "a", "query": QUERY, "responses": ["gold", "x<sep>y"]}
    with pytest.raises(UserError, match="query 'a': found the separator '<sep>' inside a text"):
        list(authors_pairs(item))
    assert [row["text"][1] for row in authors_pairs(item, separator="|")] == [f"{QUERY}|x<sep>y"]


# The authors' converter

REFUSED = {
    "duplicate_golden_ids": "for a second time",  # theirs takes the later one
    "missing_golden": "without golden answer",
    "three_samples": "found 3 samples",
    "null_sample": "expected a list of texts",
}
OURS = {
    # '\nHumanity' is no turn.
    "humanity_truncation": ["we are\nHumanity itself", " padded , kept \n", "low\nhuman: kept", "a"],
    # A blank text is no response.
    "blank_samples": [" ans 2", " ans 3"],
}


def test_converter_of_the_authors(vectors, tmp_path: Path) -> None:
    cases = vectors("apo_data_converter")
    for case in cases:
        rows = [
            samples(row["query_id"], *(text for key, text in row.items() if key.startswith("sample_")))
            | {"query": row["query"]}
            for row in case["samples"]
        ]
        options = {"num_samples": 4}
        if case["name"] in REFUSED:
            with pytest.raises(UserError, match=REFUSED[case["name"]]):
                run(rows, golden_answers(tmp_path, case["golden"]), **options)
            continue
        items, _ = run(rows, golden_answers(tmp_path, case["golden"]), **options)
        pairs = [pair for item in items for pair in authors_pairs(item)]
        if case["name"] in OURS:
            assert pairs != case["output"], "no difference any more"
            assert [pair["text"][1] for pair in pairs] == [f"{QUERY}<sep>{s}" for s in OURS[case["name"]]]
            continue
        assert pairs == case["output"], case["name"]
    assert len(cases) >= 9
