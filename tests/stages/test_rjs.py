"""stages/rjs.py: the response with the highest reward from files, as `dvc repro` runs it."""

import json
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.core.records import read_rows, write_rows
from stages.rjs import main

Rows = list[dict[str, Any]]


def query(name: object) -> str:
    return f"\n\nHuman: question {name}\n\nAssistant:"


def samples(name: str, *texts: str, **extra: str) -> dict[str, Any]:
    row = {"query_id": name, "query": query(name), "samples": list(texts)}
    return row | ({"extra": extra} if extra else {})


def rewards(name: str, *values: float, **extra: float) -> dict[str, Any]:
    return {"query_id": name, "scores": list(values)} | ({"extra": extra} if extra else {})


def play(
    folder: Path, sampled: Rows, rated: Rows, candidates: str = "samples", rewards: str = "rm"
) -> tuple[Rows, dict[str, Any]]:
    """Runs the stage; the selections and the counts."""
    (folder / "params.yaml").write_text(json.dumps({"rjs": {"candidates": candidates, "rewards": rewards}}))
    write_rows(folder / "samples.jsonl", sampled)
    write_rows(folder / "scores.jsonl", rated)
    names = ("samples.jsonl", "scores.jsonl", "rjs/apo.jsonl", "metrics.json", "params.yaml")
    main("apo", *(folder / name for name in names))
    metrics: dict[str, dict[str, Any]] = json.loads((folder / "metrics.json").read_text())
    assert metrics.keys() == {"rjs_apo"}
    return list(read_rows(folder / "rjs/apo.jsonl")), metrics["rjs_apo"]


def test_rjs_selects_the_highest_reward_that_is_not_blank(tmp_path: Path) -> None:
    rows, counts = play(
        tmp_path,
        [samples("a", "x", "y", ""), samples("b", "same", "same"), samples("c", " ", "\n")],
        [rewards("c", 1.0, 2.0), rewards("a", 0.5, -0.25, 9.0), rewards("b", 1.0, 1.0)],
    )
    assert rows == [
        {
            "query_id": "a",
            "query": query("a"),
            "prompt": query("a"),
            "completion": " x",
            "target": "x",
            "target_index": 0,
            "samples": ["x", "y", ""],
            "scores": [0.5, -0.25, 9.0],
            "margin": 0.75,
        },
        {
            "query_id": "b",
            "query": query("b"),
            "prompt": query("b"),
            "completion": " same",
            "target": "same",
            "target_index": 0,
            "samples": ["same", "same"],
            "scores": [1.0, 1.0],
            "margin": 0.0,
        },
    ]
    assert counts == {
        "queries": 3,
        "samples": 7,
        "samples_cut": 0,
        "samples_blank": 3,
        "extra_ignored": 0,
        "extra_selected": 0,
        "ties": 1,
        "queries_dropped": 1,
        "selected": 2,
    }


def test_rjs_selects_extra_answers_on_request_only(tmp_path: Path) -> None:
    sampled, rated = [samples("a", "x", hh_best="h")], [rewards("a", 1.0, hh_best=2.0)]
    rows, counts = play(tmp_path, sampled, rated)
    assert (rows[0]["target"], counts["extra_ignored"]) == ("x", 1)
    rows, counts = play(tmp_path, sampled, rated, "samples_and_extra")
    assert (rows[0]["target"], rows[0]["target_index"], counts["extra_selected"]) == ("h", 1, 1)


def test_rjs_needs_rewards_of_extra_answers_only_if_they_are_candidates(tmp_path: Path) -> None:
    """With `score.extra_answers: false` they have none."""
    sampled, rated = [samples("a", "x", "y", hh_best="h")], [rewards("a", 1.0, 3.0)]
    rows, counts = play(tmp_path, sampled, rated)
    assert (rows[0]["target"], counts["extra_ignored"]) == ("y", 1)
    with pytest.raises(
        UserError,
        match=r"scores\.jsonl:1: found 2 scores and extra answers \[\].* score\.extra_answers: true",
    ):
        play(tmp_path, sampled, rated, "samples_and_extra")


def test_rjs_keeps_every_digit_of_a_reward(tmp_path: Path) -> None:
    value = 0.1234567890123456789
    rows, _ = play(tmp_path, [samples("a", "x", "y")], [rewards("a", value, 1e-300)])
    assert rows[0]["scores"] == [value, 1e-300]
    assert rows[0]["margin"] == value - 1e-300


# Rewards of the source -----------------------------------------------------------------------------

BROUGHT = [
    samples("a", "x", "y", "z") | {"source_rewards": [1.0, 3.0, 2.0]},
    samples("b", "x", "y", "z") | {"source_rewards": [1.0, 2.0, 3.0]},
    samples("c", "x", "y") | {"source_rewards": [5.0, 5.0]},
]
OURS = [rewards("a", 0.1, 0.3, 0.2), rewards("b", 0.1, 0.3, 0.2), rewards("c", 0.0, 1.0)]


def test_rjs_reports_kendalls_tau_by_hand(tmp_path: Path) -> None:
    """The same order is 1; one of three pairs the other way is 1/3; where all are alike there is none."""
    rows, metrics = play(tmp_path, BROUGHT, OURS)
    assert [row["target"] for row in rows] == ["y", "y", "y"]
    assert metrics["kendall_tau"] == pytest.approx((1 + 1 / 3) / 2)
    assert (metrics["kendall_tau_queries"], metrics["kendall_tau_queries_without"]) == (2, 1)
    _, metrics = play(tmp_path, [samples("a", "x", "y")], [rewards("a", 1.0, 2.0)])
    assert not any(name.startswith("kendall") for name in metrics)


def test_rjs_selects_by_the_rewards_of_the_source_on_request(tmp_path: Path) -> None:
    rows, metrics = play(tmp_path, BROUGHT, OURS, rewards="source")
    assert [(row["target"], row["margin"]) for row in rows] == [("y", 1.0), ("z", 1.0), ("x", 0.0)]
    assert rows[0]["scores"] == [1.0, 3.0, 2.0]
    assert metrics["kendall_tau_queries"] == 2


@pytest.mark.parametrize(
    ("brought", "candidates", "message"),
    [
        (samples("a", "x", "y"), "samples", "source_rewards None for 2 samples"),
        (samples("a", "x", "y") | {"source_rewards": [1.0]}, "samples", "for 2 samples"),
        (samples("a", "x") | {"source_rewards": ["1"]}, "samples", "expected one finite number"),
        (
            samples("a", "x", hh="h") | {"source_rewards": [1.0]},
            "samples_and_extra",
            "set rjs.candidates: samples",
        ),
    ],
)
def test_rjs_refuses_rewards_that_the_source_did_not_bring(
    tmp_path: Path, brought: dict[str, Any], candidates: str, message: str
) -> None:
    extra = dict.fromkeys(brought.get("extra", {}), 1.0)
    rated = [rewards("a", *[1.0] * len(brought["samples"]), **extra)]
    with pytest.raises(UserError, match=message):
        play(tmp_path, [brought], rated, candidates=candidates, rewards="source")
