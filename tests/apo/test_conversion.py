"""apo/conversion.py: golden > samples of every query; every drop is counted."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from apo.conversion import COUNTS, GoldenAnswers, convert
from apo.core.errors import UserError
from apo.core.records import write_rows
from apo.export.authors import adversarial_to_authors

QUERY = "\n\nHuman: Q\n\nAssistant:"


def samples(query_id: Any, *texts: str | None) -> dict[str, Any]:
    return {"query_id": query_id, "query": QUERY, "samples": list(texts)}


def run(rows, golden, **options) -> tuple[list[dict[str, Any]], Counter[str]]:
    counts: Counter[str] = Counter()
    settings = {"num_samples": 2, "short_samples": "error", "pick": "all", "seed": 1, "source": "s.jsonl"}
    converted = list(convert(rows, golden, counts=counts, **(settings | options)))
    assert set(counts) == set(COUNTS)
    assert (
        counts["samples"]
        == counts["samples_blank"]
        + counts["samples_golden"]
        + sum(len(row["responses"]) - 1 for row in converted)
        or options.get("pick") == "one"
    )
    return converted, counts


def test_convert_gives_one_row_per_query_and_one_pair_per_sample() -> None:
    converted, counts = run(
        [samples("a", " x", " y"), samples("b", " z", " w")], {"a": " A", "b": " B", "c": "C"}
    )
    assert converted[0] == {
        "query_id": "a",
        "query": QUERY,
        "responses": [" A", " x", " y"],
        "scores": [1.0, 0.0, 0.0],
        "type": "apo",
    }
    assert list(converted[0]) == ["query_id", "query", "responses", "scores", "type"]
    assert converted[1]["responses"] == [" B", " z", " w"]
    pairs = sum(a > b for row in converted for a in row["scores"] for b in row["scores"])
    assert pairs == counts["pairs"] == 4
    assert (counts["queries"], counts["items"], counts["samples"], counts["golden_unused"]) == (2, 2, 4, 1)


def test_convert_cuts_a_runaway_turn_before_it_compares() -> None:
    rows = [
        samples("a", "gold\n\nHuman: next?", "\n\nHuman: at once", "fine\nHuman: b", "Humanity\nHumanity")
    ]
    converted, counts = run(rows, {"a": "gold"}, num_samples=4)
    assert converted[0]["responses"] == ["gold", "fine", "Humanity\nHumanity"]
    assert counts["samples_cut"] == 3
    assert (counts["samples_golden"], counts["samples_blank"]) == (1, 1)


def test_convert_never_cuts_a_golden_answer() -> None:
    """A screenplay and a list of mammals are whole; a sample that stops before that line is another text."""
    for golden in ("gold\n\nHuman: thanks", "Two mammals:\nHuman\nWhale", "\n\nHuman: only a turn"):
        converted, counts = run([samples("a", "gold", "x\nHuman: y")], {"a": golden})
        assert converted[0]["responses"] == [golden, "gold", "x"]
        assert (counts["samples_cut"], counts["samples_golden"]) == (1, 0)


def test_convert_drops_blank_and_golden_samples_and_keeps_duplicates() -> None:
    converted, counts = run(
        [samples("a", "  \n", "gold ", "x", "x", "x", "y")], {"a": " gold"}, num_samples=6
    )
    assert converted[0]["responses"] == [" gold", "x", "x", "x", "y"]
    assert (counts["samples_blank"], counts["samples_golden"], counts["samples_duplicate"]) == (1, 1, 2)


def test_convert_drops_a_query_without_samples_left() -> None:
    converted, counts = run([samples("a", "", "gold"), samples("b", "x", "y")], {"a": "gold", "b": "gold"})
    assert [row["query_id"] for row in converted] == ["b"]
    assert (counts["queries"], counts["queries_dropped"], counts["items"]) == (2, 1, 1)


def test_convert_refuses_or_keeps_fewer_samples() -> None:
    rows, golden = [samples("a", "x")], {"a": "gold"}
    with pytest.raises(
        UserError, match=r"s.jsonl:1: found 1 samples; expected 2.* or convert.short_samples to keep"
    ):
        run(rows, golden)
    converted, counts = run(rows, golden, short_samples="keep")
    assert converted[0]["responses"] == ["gold", "x"] and counts["queries_short"] == 1


@pytest.mark.parametrize("rule", ["error", "keep"])
def test_convert_refuses_more_samples(rule) -> None:
    with pytest.raises(
        UserError, match=r"found 3 samples; expected 2.* apo\.num_samples to the same number$"
    ):
        run([samples("a", "x", "y", "z")], {"a": "gold"}, short_samples=rule)


def test_convert_picks_one_sample_by_seed_and_id() -> None:
    texts = [f"s{i}" for i in range(4)]
    rows = [samples(str(i), *texts) for i in range(200)]
    golden = {str(i): "gold" for i in range(200)}
    converted, counts = run(rows, golden, num_samples=4, pick="one")
    assert all(row["scores"] == [1.0, 0.0] for row in converted) and counts["pairs"] == 200
    again, _ = run(rows[::-1], golden, num_samples=4, pick="one")
    assert again[::-1] == converted
    other, _ = run(rows, golden, num_samples=4, pick="one", seed=2)
    assert other != converted
    drawn = Counter(row["responses"][1] for row in converted)
    assert set(drawn) == set(texts) and min(drawn.values()) > 25  # 50 expected, sd 6


def test_convert_picks_one_of_the_samples_left() -> None:
    converted, _ = run([samples("a", "", "gold", "x")], {"a": "gold"}, num_samples=3, pick="one")
    assert converted[0]["responses"] == ["gold", "x"]


def test_convert_names_the_line_of_an_invalid_row() -> None:
    with pytest.raises(UserError, match=r"s.jsonl:2: found query 'b' without golden answer"):
        run([samples("a", "x", "y"), samples("b", "x", "y")], {"a": "gold"})
    with pytest.raises(UserError, match=r"s.jsonl:1: found query 'a' without golden answer"):
        run([samples("a", "x", "y")], {"a": " \n"})
    with pytest.raises(UserError, match=r"s.jsonl:2: found the repeated query_id 'a'"):
        run([samples("a", "x", "y"), samples("a", "x", "y")], {"a": "gold"})
    with pytest.raises(UserError, match=r"s.jsonl:1: found samples .*expected a list of texts"):
        run([samples("a", "x", None)], {"a": "gold"})
    with pytest.raises(UserError, match=r"s.jsonl:1: found samples None"):
        run([{"query_id": "a", "query": QUERY}], {"a": "gold"})


def golden_answers(folder: Path, rows: list[dict[str, Any]]) -> dict[str, str]:
    write_rows(folder / "g.jsonl", (row | {"query_id": str(row["query_id"])} for row in rows))
    with GoldenAnswers(folder / "g.jsonl") as answers:
        assert len(answers) == len(rows)
        return {query_id: answers[query_id] for query_id in sorted(answers)}


def test_golden_answers_are_read_by_id_and_checked(tmp_path: Path) -> None:
    rows = [
        {"query_id": "1", "golden": "x"},
        {"query_id": "é", "golden": "yé\n"},
        {"query_id": "0", "golden": "z"},
    ]
    assert golden_answers(tmp_path, rows) == {"1": "x", "é": "yé\n", "0": "z"}
    with pytest.raises(UserError, match=r"g.jsonl:4: found the repeated query_id '0'"):
        golden_answers(tmp_path, [*rows, {"query_id": "0", "golden": "y"}])
    for bad in ({"query_id": "c"}, {"query_id": "c", "golden": " "}, {"query_id": "c", "golden": None}):
        with pytest.raises(UserError, match=r"g.jsonl:1: found no golden answer for query 'c'"):
            golden_answers(tmp_path, [bad])


# The authors' converter

REFUSED = {
    "duplicate_golden_ids": "repeated query_id",  # theirs takes the later one
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


def test_convert_agrees_with_the_authors(vectors, tmp_path: Path) -> None:
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
        converted, _ = run(rows, golden_answers(tmp_path, case["golden"]), **options)
        pairs = [pair for row in converted for pair in adversarial_to_authors(row)]
        if case["name"] in OURS:
            assert pairs != case["output"], "no difference any more"
            assert [pair["text"][1] for pair in pairs] == [f"{QUERY}<sep>{s}" for s in OURS[case["name"]]]
            continue
        assert pairs == case["output"], case["name"]
    assert len(cases) >= 9
