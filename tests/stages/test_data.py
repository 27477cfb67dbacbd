"""stages/data.py: the demo world follows its parameters and its seed."""

import json
from pathlib import Path
from typing import Any

import pytest

from apo.core.dialogue import query_id_of
from apo.demo import preference_probability, true_reward
from tests.helpers.data_stage import OUTS, SMALL, Rows, play


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Rows], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("demo")
    rows, metrics = play(folder)
    return folder, rows, metrics


def test_data_of_the_demo_follows_the_parameters(demo: tuple[Path, dict[str, Rows], dict]) -> None:
    folder, rows, metrics = demo
    assert [row["split"] for row in rows["comparisons"]] == [""] * 60 + ["test"] * 20
    assert metrics["rows"] == {
        "comparisons": 80,
        "golden": 80,
        "samples": 0,
        "demonstrations": 15,
        "documents": 60,
    }
    assert (metrics["files"], metrics["dropped"]) == ({}, 0)
    assert json.loads((folder / "raw" / "truth.json").read_text()) == {"temperature": 0.5}


def test_data_of_the_demo_has_distinct_queries_with_golden_answers(
    demo: tuple[Path, dict[str, Rows], dict],
) -> None:
    _, rows, _ = demo
    queries = [row["query"] for row in rows["comparisons"]]
    assert len(set(queries)) == 80
    assert {row["query_id"]: row["query"] for row in rows["golden"]} == {
        row["query_id"]: row["query"] for row in rows["comparisons"]
    }
    shown = {row["query"] for row in rows["demonstrations"]}
    assert len(shown) == 15 and not shown & set(queries)
    for row in rows["comparisons"]:
        assert row["query_id"] == query_id_of(row["query"])
        assert list(row) == ["query_id", "query", "responses", "scores", "type", "split"]


def test_data_of_the_demo_follows_the_true_reward(
    demo: tuple[Path, dict[str, Rows], dict],
) -> None:
    _, rows, _ = demo
    golden = {row["query"]: true_reward(row["query"], row["golden"]) for row in rows["golden"]}
    agree = expected = better = 0.0
    for row in rows["comparisons"]:
        a, b = row["responses"]
        chosen, rejected = (a, b) if row["scores"][0] > row["scores"][1] else (b, a)
        probability = preference_probability(row["query"], a, b, 0.5)
        expected += max(probability, 1 - probability)
        agree += true_reward(row["query"], chosen) >= true_reward(row["query"], rejected)
        better += golden[row["query"]] > (true_reward(row["query"], a) + true_reward(row["query"], b)) / 2
    assert abs(agree - expected) < 4 * (expected * (1 - expected / 80)) ** 0.5 + 1
    assert better > 60


def test_data_of_the_demo_depends_on_the_seed_alone(
    demo: tuple[Path, dict[str, Rows], dict], tmp_path: Path
) -> None:
    first, rows, _ = demo
    play(tmp_path)
    for name in OUTS:
        assert (tmp_path / "raw" / name).read_bytes() == (first / "raw" / name).read_bytes(), name
    assert (tmp_path / "metrics.json").read_bytes() == (first / "metrics.json").read_bytes()
    other, _ = play(tmp_path, seed=2)
    assert not {row["query_id"] for row in other["comparisons"]} >= {
        row["query_id"] for row in rows["comparisons"]
    }


def test_data_of_the_demo_with_more_comparisons_keeps_the_earlier_ones(
    demo: tuple[Path, dict[str, Rows], dict], tmp_path: Path
) -> None:
    _, rows, _ = demo
    more, _ = play(tmp_path, demo=SMALL | {"comparisons": 90})
    assert more["comparisons"][:60] == rows["comparisons"][:60]
    assert more["comparisons"][90:] == rows["comparisons"][60:]


def test_data_of_the_demo_with_flawed_golden_answers_keeps_the_rest(
    demo: tuple[Path, dict[str, Rows], dict], tmp_path: Path
) -> None:
    _, rows, _ = demo
    flawed, _ = play(tmp_path, demo=SMALL | {"golden_flaws": 0.5})
    assert {name for name in rows if rows[name] != flawed[name]} == {"golden"}
    changed = sum(one != other for one, other in zip(rows["golden"], flawed["golden"], strict=True))
    assert 25 <= changed <= 55  # of 80


def test_data_of_the_demo_takes_chosen_answers_for_golden_ones(
    demo: tuple[Path, dict[str, Rows], dict], tmp_path: Path
) -> None:
    """Comparisons of the test set give no golden answer, and those of the world's expert are counted."""
    _, rows, _ = demo
    chosen, metrics = play(tmp_path, golden="chosen")
    assert {name for name in rows if rows[name] != chosen[name]} == {"golden"}
    best = {row["query_id"]: row["responses"][row["scores"].index(1.0)] for row in rows["comparisons"][:60]}
    assert {row["query_id"]: row["golden"] for row in chosen["golden"]} == best
    assert metrics["files"] == {
        "chosen": {
            "golden": 60,
            "queries_without": 0,
            "further_comparisons": 0,
            "without_preference": 0,
            "source_golden_unused": 80,
        }
    }


def test_data_ignores_hidden_files_and_the_readme(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    for name in (".gitignore", ".DS_Store", "README.md"):
        (tmp_path / "input" / name).write_text("x")
    play(
        tmp_path, demo=SMALL | {"comparisons": 2, "test_comparisons": 2, "documents": 1, "demonstrations": 1}
    )
