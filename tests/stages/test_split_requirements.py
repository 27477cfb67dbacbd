"""stages/split.py: an empty part, or one without golden answers, ends the stage before a training."""

import re
from pathlib import Path

import pytest

from apo.core.errors import UserError
from tests.helpers.split_stage import (
    FRACTIONS,
    PARTS,
    Rows,
    comparison,
    golden,
    long,
    play,
    query,
    world,
    written,
)


def test_split_refuses_or_skips_an_rm_query_without_golden_answer(tmp_path: Path) -> None:
    rows = world()
    complete, _ = play(tmp_path, rows, **FRACTIONS)
    query_id = complete["rm_train"][3]["query_id"]
    rows["golden"] = [row for row in rows["golden"] if row["query_id"] != query_id]
    with pytest.raises(UserError, match=rf"query '{query_id}' of the RM part: found no golden answer"):
        play(tmp_path, rows, **FRACTIONS)
    assert written(tmp_path)[0] == complete  # what was there stays
    files, metrics = play(tmp_path, rows, without_golden="skip", **FRACTIONS)
    assert metrics["rm_queries_without_golden"] == 1
    assert files["rm_train"] == complete["rm_train"]
    assert files["rm_queries"] == [row for row in complete["rm_queries"] if row["query_id"] != query_id]


def test_split_needs_golden_answers_of_the_rm_part_only(tmp_path: Path) -> None:
    rows = world()
    complete, _ = play(tmp_path, rows, **FRACTIONS)
    rows["golden"] = [golden(row) for row in complete["rm_train"]]
    assert play(tmp_path, rows, **FRACTIONS)[0] == complete


@pytest.mark.parametrize("without_golden", ["error", "skip"])
def test_split_refuses_to_play_without_a_golden_answer(tmp_path: Path, without_golden: str) -> None:
    """What a set of comparisons alone gives; the advice names the parameter that helps."""
    rows = world() | {"golden": []}
    message = r"RM part: found no golden answer.*set data\.golden: chosen .* or data\.golden: endpoint"
    with pytest.raises(UserError, match=message) as caught:
        play(tmp_path, rows, without_golden=without_golden, **FRACTIONS)
    assert "without_golden" not in str(caught.value)  # with it no RM query would be left
    assert not list((tmp_path / "split").iterdir())
    with pytest.raises(UserError, match=r"set data\.golden: endpoint \(a model's answers\) in params"):
        play(tmp_path, rows, without_golden=without_golden, golden="chosen", **FRACTIONS)
    files, metrics = play(tmp_path, rows, without_golden=without_golden, golden="endpoint", **FRACTIONS)
    assert len(files["rm_queries"]) == len(files["rm_train"]) == metrics["rm_queries_without_golden"] > 0


def given_parts(*parts: str) -> dict[str, Rows]:
    """A hundred comparisons with parts of their own, in turn."""
    rows = [comparison(n, parts[n % len(parts)]) for n in range(100)]
    return {"comparisons": rows, "golden": [golden(row) for row in rows]}


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"test_fraction": 0.0}, "test"),
        ({"valid_fraction": 0.0}, "valid"),
        ({"rm_fraction": 0.0}, "rm"),
    ],
)
def test_split_refuses_an_empty_part_with_advice_that_works(
    tmp_path: Path, changes: dict[str, float], part: str
) -> None:
    with pytest.raises(UserError, match=rf"part {part}: found no comparisons; ") as caught:
        play(tmp_path, world(), **FRACTIONS | changes)
    assert not list((tmp_path / "split").iterdir())
    assert not (tmp_path / "metrics.json").exists()
    advice = re.search(r"set split\.(\w+) to more than 0, for example (\S+?)(,|$)", str(caught.value))
    assert advice
    files, _ = play(tmp_path, world(), **FRACTIONS | {advice[1]: float(advice[2])})
    assert all(files[name] for name in PARTS)


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [
        (
            world(),
            {"rm_fraction": 0.999999},
            r"part llm: .*below 0\.2 or a split\.rm_fraction below 0\.999999",
        ),
        (
            given_parts("rm", "llm"),
            {},
            r"part test: .*; name comparisons of other queries under data\.files\.test \(",
        ),
        (
            given_parts("llm", "test"),
            {},
            r"part rm: .*; name comparisons of other queries under data\.files\.rm$",
        ),
        (
            given_parts("rm", "test"),
            {},
            r"part llm: .*below 0\.2, or name more comparisons under data\.files\.llm",
        ),
    ],
    ids=["few are left", "no test", "no rm", "no llm"],
)
def test_split_refuses_an_empty_part_that_no_larger_fraction_fills(
    tmp_path: Path, rows: dict[str, Rows], changes: dict[str, float], message: str
) -> None:
    """Where the source gives the parts, the fractions draw nothing."""
    with pytest.raises(UserError, match=message):
        play(tmp_path, rows, **FRACTIONS | changes)


def test_split_says_what_left_a_part_empty(tmp_path: Path) -> None:
    rows = [comparison(n, "rm", long("x", f"rm{n}")) for n in range(9)]
    rows += [comparison("t", "test", long("x")), *(comparison(n, "llm") for n in range(50))]
    message = (
        r"part rm: found no comparisons \(left out: near_test_rm 9\).*; or a larger split\.near_duplicate"
    )
    with pytest.raises(UserError, match=message):
        play(tmp_path, {"comparisons": rows, "golden": [golden(row) for row in rows]}, **FRACTIONS)
    files, _ = play(
        tmp_path,
        {"comparisons": rows, "golden": [golden(row) for row in rows]},
        near_duplicate=1.0,
        **FRACTIONS,
    )
    assert len(files["rm_train"]) == 9


@pytest.mark.parametrize(
    ("missing", "parameter"), [("demonstrations", "actor.start"), ("documents", "backbone.start")]
)
def test_split_refuses_a_model_that_starts_from_nothing(tmp_path: Path, missing: str, parameter: str) -> None:
    """A data set of a hub has no demonstrations: an actor has to be brought, before a backbone is trained."""
    texts = {
        "demonstrations": [{"query_id": "d", "query": query("d"), "response": "r"}],
        "documents": [{"text": "a fact"}],
    }
    rows = world() | texts | {missing: []}
    with pytest.raises(UserError, match=rf"params\.yaml: {parameter}: found .*set {parameter} to a folder"):
        play(tmp_path, rows, starts="texts", **FRACTIONS)
    play(tmp_path, rows, **FRACTIONS)
    play(tmp_path, world() | texts, starts="texts", **FRACTIONS)
