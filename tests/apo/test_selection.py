"""apo/selection.py: the best response that is not blank; samples and rewards have to match."""

import doctest
import math
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from apo import selection
from apo.core.errors import UserError
from apo.selection import COUNTS, select


def samples(query_id: Any, *texts: str | None, **extra: str) -> dict[str, Any]:
    row = {"query_id": query_id, "query": f"q{query_id}", "samples": list(texts)}
    return row | ({"extra": extra} if extra else {})


def rewards(query_id: Any, *values: Any, **extra: Any) -> dict[str, Any]:
    return {"query_id": query_id, "scores": list(values)} | ({"extra": extra} if extra else {})


def run(
    sample_rows, reward_rows, *, include_extra: bool = False
) -> tuple[list[dict[str, Any]], Counter[str]]:
    counts: Counter[str] = Counter()
    rows = list(
        select(
            sample_rows,
            reward_rows,
            include_extra=include_extra,
            samples_source="s.jsonl",
            rewards_source="r.jsonl",
            counts=counts,
        )
    )
    assert set(counts) == set(COUNTS)
    assert counts["selected"] == len(rows) == counts["queries"] - counts["queries_dropped"]
    return rows, counts


def test_the_docstring_example() -> None:
    assert doctest.testmod(selection) == (0, 1)


def test_select_writes_target_rewards_and_margin() -> None:
    rows, counts = run([samples("a", "x", "y", "z")], [rewards("a", 0.25, 2.0, 1.5)])
    assert rows == [
        {
            "query_id": "a",
            "query": "qa",
            "prompt": "qa",
            "completion": " y",
            "target": "y",
            "target_index": 1,
            "samples": ["x", "y", "z"],
            "scores": [0.25, 2.0, 1.5],
            "margin": 0.5,
        }
    ]
    assert list(rows[0])[:4] == ["query_id", "query", "prompt", "completion"]
    assert (counts["samples"], counts["ties"], counts["samples_blank"]) == (3, 0, 0)


def test_select_breaks_ties_by_the_lowest_index() -> None:
    rows, counts = run([samples("a", "w", "x", "y", "z")], [rewards("a", 0.1, 0.7, 0.7, 0.7)])
    assert (rows[0]["target_index"], rows[0]["margin"], counts["ties"]) == (1, 0.0, 1)


def test_select_compares_rewards_in_full_precision() -> None:
    rows, _ = run([samples("a", "x", "y")], [rewards("a", 0.1, math.nextafter(0.1, 1))])
    assert rows[0]["target"] == "y" and rows[0]["margin"] > 0


def test_select_ignores_blank_samples_in_target_and_margin() -> None:
    rows, counts = run([samples("a", "x", " \n", "", "z")], [rewards("a", 1.0, 9.0, 5.0, -1.0)])
    assert (rows[0]["target"], rows[0]["margin"], counts["samples_blank"]) == ("x", 2.0, 2)
    assert rows[0]["scores"] == [1.0, 9.0, 5.0, -1.0]


def test_select_has_no_margin_for_one_candidate() -> None:
    rows, counts = run([samples("a", "", "x")], [rewards("a", 1.0, 0.0)])
    assert rows[0]["target"] == "x" and rows[0]["margin"] is None and counts["ties"] == 0


def test_select_drops_and_counts_a_query_of_blank_samples() -> None:
    rows, counts = run(
        [samples("a", "", " "), samples("b", "x")], [rewards("a", 1.0, 2.0), rewards("b", 0.0)]
    )
    assert [row["query_id"] for row in rows] == ["b"] and counts["queries_dropped"] == 1


def test_select_takes_very_low_rewards() -> None:
    rows, _ = run([samples("a", "x", "y")], [rewards("a", -3e9, -2e9)])
    assert rows[0]["target"] == "y"


def test_select_cuts_a_runaway_turn_first() -> None:
    rows, counts = run(
        [samples("a", "x\n\nHuman: more", "\n\nHuman: only a turn", "y\nHumanity")],
        [rewards("a", 1.0, 9.0, 0.0)],
    )
    assert rows[0]["samples"] == ["x", "", "y\nHumanity"] and rows[0]["completion"] == " x"
    assert (counts["samples_cut"], counts["samples_blank"]) == (2, 1)


def test_select_leaves_samples_of_another_form_as_they_are() -> None:
    """What a chat model writes behind a line `Human:` was scored, and is what is learned from."""
    row = samples("a", "x\n\nHuman: more", "y\nHumanity") | {"uncut": True}
    rows, counts = run([row], [rewards("a", 1.0, 0.0)])
    assert rows[0]["samples"] == ["x\n\nHuman: more", "y\nHumanity"]
    assert rows[0]["target"] == "x\n\nHuman: more" and counts["samples_cut"] == counts["samples_blank"] == 0


def test_select_keeps_the_ids_that_were_drawn_beside_the_samples() -> None:
    row = samples("a", "x", "y", hh_best="human") | {"sample_ids": [None, [7, 8]]}
    [selection], _ = run([row], [rewards("a", 1.0, 2.0, hh_best=3.0)])
    assert selection["sample_ids"] == [None, [7, 8]] and list(selection)[-3:] == [
        "sample_ids",
        "scores",
        "margin",
    ]
    [selection], _ = run([row], [rewards("a", 1.0, 2.0, hh_best=3.0)], include_extra=True)
    assert selection["samples"] == ["x", "y", "human"] and selection["sample_ids"] == [None, [7, 8], None]


def test_select_finds_rewards_by_id_in_any_order() -> None:
    rows, _ = run(
        [samples("a", "x", "y"), samples(2, "x", "y")], [rewards("2", 5.0, 4.0), rewards("a", 4.0, 5.0)]
    )
    assert [(row["query_id"], row["target"]) for row in rows] == [("a", "y"), ("2", "x")]


def test_select_takes_extra_answers_on_request_only() -> None:
    answers = [samples("a", "x", "y", hh_best="human", gpt4="machine"), samples("b", "x", hh_best="human")]
    reward_rows = [rewards("a", 1.0, 2.0, hh_best=9.0, gpt4=3.0), rewards("b", 9.0, hh_best=9.0)]
    rows, counts = run(answers, reward_rows)
    assert [row["target"] for row in rows] == ["y", "x"] and rows[0]["scores"] == [1.0, 2.0]
    assert (counts["extra_ignored"], counts["extra_selected"], counts["samples"]) == (3, 0, 3)
    rows, counts = run(answers, reward_rows, include_extra=True)
    assert rows[0]["samples"] == ["x", "y", "machine", "human"] and rows[0]["scores"] == [1.0, 2.0, 3.0, 9.0]
    assert (rows[0]["target"], rows[0]["target_index"], rows[0]["margin"]) == ("human", 3, 6.0)
    assert rows[1]["target"] == "x"  # a tie: samples come first
    assert (counts["extra_ignored"], counts["extra_selected"], counts["samples"]) == (0, 1, 6)


def test_select_does_not_cut_an_extra_answer() -> None:
    rows, counts = run(
        [samples("a", "x\nHuman: y", hh_best="Mammals:\nHuman\nWhale")],
        [rewards("a", 1.0, hh_best=9.0)],
        include_extra=True,
    )
    assert rows[0]["samples"] == ["x", "Mammals:\nHuman\nWhale"] and counts["samples_cut"] == 1
    assert rows[0]["target"] == "Mammals:\nHuman\nWhale"


@pytest.mark.parametrize(
    ("sample_rows", "reward_rows", "message"),
    [
        ([samples("a", "x")], [], r"s.jsonl:1: found query 'a' without rewards in r.jsonl"),
        (
            [samples("a", "x")],
            [rewards("a", 1.0), rewards("b", 1.0)],
            r"r.jsonl:2: found rewards of 1 queries",
        ),
        ([], [rewards("a", 1.0)], r"r.jsonl:1: found rewards of 1 queries such as 'a'"),
        ([samples("a", "x")], [rewards("a", 1.0, 2.0)], r"r.jsonl:1: found 2 scores .* expected 1 samples"),
        ([samples("a", "x", "y")], [rewards("a", 1.0)], r"r.jsonl:1: found 1 scores .* expected 2 samples"),
        (
            [samples("a", "x"), samples("a", "x")],
            [rewards("a", 1.0)],
            r"s.jsonl:2: found the repeated query_id 'a'",
        ),
        (
            [samples("a", "x")],
            [rewards("a", 1.0), rewards("a", 1.0)],
            r"r.jsonl:2: found the repeated query_id 'a'",
        ),
        (
            [samples(1, "x"), samples("1", "y")],
            [rewards(1, 1.0)],
            r"s.jsonl:2: found the repeated query_id '1'",
        ),
        ([samples("a", "x")], [rewards("a", math.nan)], r"r.jsonl:1: found nan .* finite numbers"),
        ([samples("a", "x")], [rewards("a", -math.inf)], r"r.jsonl:1: found -inf"),
        ([samples("a", "x")], [rewards("a", "1.0")], r"r.jsonl:1: found '1.0' among the scores"),
        ([samples("a", "x")], [rewards("a", True)], r"r.jsonl:1: found True"),
        ([samples("a", "x")], [rewards("a", None)], r"r.jsonl:1: found None"),
        ([samples("a", None)], [rewards("a", 1.0)], r"s.jsonl:1: found None among the samples .* texts"),
        ([samples("a", "x")], [{"query_id": "a"}], r"r.jsonl:1: found 'scores' None"),
        (
            [samples("a", "x", hh="h", gpt4="g")],
            [rewards("a", 1.0, hh=1.0)],
            r"r.jsonl:1: found 1 scores and extra answers \['hh'\]",
        ),
        ([samples("a", "x")], [rewards("a", 10**400)], r"r.jsonl:1: found 1000"),
        ([samples("a", "x")], [rewards("a", 1.0, hh=2.0)], r"r.jsonl:1: found .*\['hh'\].*expected"),
        ([samples("a", "x", hh="h")], [rewards("a", 1.0, hh=math.nan)], r"r.jsonl:1: found nan"),
    ],
)
def test_select_refuses_samples_and_rewards_that_do_not_match(sample_rows, reward_rows, message) -> None:
    with pytest.raises(UserError, match=message):
        run(sample_rows, reward_rows)


def test_selection_and_conversion_import_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, apo.selection, apo.conversion; sys.exit(bool({'torch', 'numpy'} & sys.modules.keys()))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=Path(selection.__file__).parents[1]).returncode == 0
    )


# The authors' script

REFUSED = {
    "missing_query_in_scores": "without rewards",
    "score_for_absent_answer": "found 4 scores",
    "nan_scores": "found nan",  # theirs takes the best of the others
    "null_answer": "found None",
    "empty_data": "that s.jsonl lacks",  # theirs writes an empty file
}
OURS = {
    "ties_order_of_the_score_file": ["r0"],  # theirs: the first in the score file
    "very_low_scores": ["r2"],  # theirs drops what is below -1e8
}


def from_authors(case) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows `sample_0.., hh_best` and flat scores `{"id:name": reward}` in our shape."""
    by_id: dict[str, dict[str, float]] = defaultdict(dict)
    for entry in case["scores"]:
        for key, value in entry.items():
            query_id, name = key.split(":")
            by_id[query_id][name] = float(value)
    reward_rows = [
        rewards(
            query_id,
            *(value for name, value in sorted(named.items()) if name.startswith("sample_")),
            **{name: value for name, value in named.items() if name == "hh_best"},
        )
        for query_id, named in by_id.items()
    ]
    sample_rows = [
        samples(
            row["query_id"],
            *(text for name, text in sorted(row.items()) if name.startswith("sample_")),
            **{name: text for name, text in row.items() if name == "hh_best"},
        )
        for row in case["data"]
    ]
    return sample_rows, reward_rows


def test_select_agrees_with_the_authors(vectors) -> None:
    compared = 0
    for case in vectors("rejection_sampling"):
        if "data" not in case:
            continue  # about their command line
        compared += 1
        if case["name"] in REFUSED:
            with pytest.raises(UserError, match=REFUSED[case["name"]]):
                run(*from_authors(case))
            continue
        rows, _ = run(*from_authors(case))
        targets = [row["target"] for row in rows]
        if case["name"] in OURS:
            assert targets == OURS[case["name"]] != [row["target"] for row in case["output"]]
            continue
        assert [(row["query_id"], row["target"]) for row in rows] == [
            (str(row["query_id"]), row["target"]) for row in case["output"]
        ], case["name"]
        for ours, theirs in zip(rows, case["output"], strict=True):
            assert ours["scores"] == [theirs["scores"][f"sample_{i}"] for i in range(len(ours["scores"]))]
            best, second = sorted(ours["scores"], reverse=True)[:2]
            assert ours["margin"] == best - second
    assert compared >= 13
