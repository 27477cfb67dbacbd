"""apo/report/transcripts.py: samples and answers with what they were worth and which was chosen, by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apo.report.page import build_page
from apo.report.run import Run, read_run
from apo.report.transcripts import (
    count_choices,
    disagreement,
    judged_answers,
    limit_transcripts,
    scored_samples,
)
from tests.helpers.report_run import page_of, settings, text_of

REWARDS = st.lists(st.floats(-9, 9), min_size=3, max_size=3)


@given(REWARDS, REWARDS, st.floats(-9, 9))
def test_disagreement_is_what_each_rm_loses_by_the_choice_of_the_other(
    first: list[float], second: list[float], constant: float
) -> None:
    a, b = (max(range(3), key=one.__getitem__) for one in (first, second))
    loss = disagreement(first, second, a, b)
    assert loss >= 0.0 and (a != b or loss == 0.0)
    assert loss == disagreement(second, first, b, a) or abs(loss - disagreement(second, first, b, a)) < 1e-9
    assert abs(loss - disagreement([x + constant for x in first], second, a, b)) < 1e-9


def row(name: str, samples: list[str], **more: Any) -> dict[str, Any]:
    return {
        "query_id": name,
        "query": "\n\nHuman: Hi\n\nAssistant:",
        "type": "helpful",
        "samples": samples,
    } | more


def test_scored_samples_lists_samples_that_both_rated_once() -> None:
    samples = {arm: {"q": row("q", ["a", "b"])} for arm in ("base", "apo")}
    scores = {"base": {"q": {"scores": [2.0, 0.5]}}, "apo": {"q": {"scores": [0.0, 3.0]}}}
    selected = {"base": {"q": {"target_index": 0}}, "apo": {"q": {"target_index": 1}}}
    (transcript,) = scored_samples(
        "r1", samples, scores, selected, {"q": "gold"}, lambda query, text: float(len(text))
    )
    assert [(one["by"], one["text"]) for one in transcript["answers"]] == [
        ("sample 1", "a"),
        ("sample 2", "b"),
        ("golden", "gold"),
    ]
    assert transcript["rewards"] == {
        "base RM": [2.0, 0.5, None],
        "APO RM": [0.0, 3.0, None],
        "true reward": [1.0, 1.0, 4.0],
    }
    assert transcript["chosen"] == {"base RM": 0, "APO RM": 1}
    assert transcript["measures"] == {
        "chosen_base": 2.0,
        "chosen_apo": 3.0,
        "disagreement": 1.5 + 3.0,
        "true_gain": 0.0,
    }
    assert (transcript["round"], transcript["split"], transcript["kind"]) == ("r1", "llm", "helpful")


def test_scored_samples_does_not_compare_samples_of_two_llms() -> None:
    """From the second round on each RM rates its own; other answers stand behind the samples."""
    samples = {"base": {"q": row("q", ["a"])}, "apo": {"q": row("q", ["b", "cc"], extra={"human": "d"})}}
    scores = {"base": {"q": {"scores": [2.0]}}, "apo": {"q": {"scores": [0.0, 3.0], "extra": {"human": 4.0}}}}
    selected = {"base": {"q": {"target_index": 0}}, "apo": {"q": {"target_index": 2}}}
    (transcript,) = scored_samples("r2", samples, scores, selected, {}, lambda query, text: float(len(text)))
    assert [one["by"] for one in transcript["answers"]] == [
        "base arm, sample 1",
        "apo arm, sample 1",
        "apo arm, sample 2",
        "apo arm, human",
    ]
    assert transcript["rewards"]["base RM"] == [2.0, None, None, None]
    assert transcript["rewards"]["APO RM"] == [None, 0.0, 3.0, 4.0]
    assert transcript["chosen"] == {"base RM": 0, "APO RM": 3}
    assert transcript["measures"] == {"chosen_base": 2.0, "chosen_apo": 4.0, "true_gain": 0.0}


def test_scored_samples_shows_half_a_round() -> None:
    (transcript,) = scored_samples("r1", {"base": {"q": row("q", ["a"])}}, {}, {}, {}, None)
    assert transcript["answers"] == [{"by": "sample 1", "text": "a"}]
    assert (transcript["rewards"], transcript["chosen"], transcript["measures"]) == ({}, {}, {})


def of_arms(rewards: list[float], **choice: Any) -> dict[str, Any]:
    """The transcript of three samples, the third of which has an invented turn, with another answer.

    Both arms have rewards and a choice; those of the APO arm are the given ones.
    """
    samples = ["a", "b", "c\n\nHuman: d"]
    tables = {arm: {"q": row("q", samples, extra={"human": "e"})} for arm in ("base", "apo")}
    extra = {"extra": {"human": -1.0}}
    scores = {
        "base": {"q": {"scores": [1.0, 2.0, 0.0], **extra}},
        "apo": {"q": {"scores": rewards, **extra}},
    }
    first = {"q": {"target_index": 1, "samples": ["a", "b", "c"]}}
    (transcript,) = scored_samples("r1", tables, scores, {"base": first, "apo": choice}, {}, None)
    assert transcript["rewards"]["base RM"] == [1.0, 2.0, 0.0, -1.0] and transcript["chosen"]["base RM"] == 1
    return transcript


@pytest.mark.parametrize("samples", [["a", "b", "c"], ["a", "b", "c", "e"]])
def test_scored_samples_shows_choices_of_the_samples_as_they_were_cut(samples: list[str]) -> None:
    transcript = of_arms([0.0, 1.0, 2.0], q={"target_index": 2, "samples": samples})
    assert (transcript["chosen"]["APO RM"], transcript["outdated"]) == (2, [])
    assert "disagreement" in transcript["measures"]


@pytest.mark.parametrize(
    ("rewards", "choice"),
    [
        ([0.0, 1.0, 2.0, 3.0], {"q": {"target_index": 3, "samples": ["a", "b", "c", "d"]}}),  # one more
        ([0.0, 1.0, 2.0], {"q": {"target_index": 2, "samples": ["a", "b", "old"]}}),  # other samples
        ([0.0, 1.0], {}),  # rejection sampling has never run
        ([0.0, 1.0, 2.0], {"other": {"target_index": 0}}),  # the samples were blank
    ],
)
def test_scored_samples_leaves_out_what_is_of_other_samples(
    rewards: list[float], choice: dict[str, Any]
) -> None:
    """As while a run goes on that has sampled again, and has not rated the samples yet."""
    transcript = of_arms(rewards, **choice)
    assert "APO RM" not in transcript["rewards"] and "APO RM" not in transcript["chosen"]
    assert transcript["measures"] == {"chosen_base": 2.0} and transcript["outdated"] == ["APO RM"]


def test_a_page_counts_the_transcripts_whose_rewards_it_leaves_out(folder: Path) -> None:
    rows = [
        json.loads(line) for line in Path("data/samples/r1/apo.jsonl").read_text("utf-8").split("\n") if line
    ]
    rows = [row | {"samples": row["samples"][:2]} for row in rows]
    for arm in ("base", "apo"):  # num_samples was lowered
        Path(f"data/samples/r1/{arm}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = read_run(["r1"])
    assert sum(one["outdated"] == ["base RM", "APO RM"] for one in run.transcripts) == len(rows) == 6
    assert "In 6 transcripts the rewards and the choice of an RM are left out" in text_of(page_of(run))


def test_judged_answers_by_hand() -> None:
    llms = {
        "actor": {"q": row("q", ["a"], scores=[1.0])},
        "llm_base_r1": {"q": row("q", ["b", "c"], scores=[1.0, 2.0], true_rewards=[0.0, 1.0])},
        "llm_apo_r1": {"q": row("q", ["d"], scores=[4.0], true_rewards=[0.0])},
    }
    (transcript,) = judged_answers("r1", llms, {"q": "gold"})
    assert [one["by"] for one in transcript["answers"]] == [
        "actor",
        "llm_base_r1, 1",
        "llm_base_r1, 2",
        "llm_apo_r1",
        "golden",
    ]
    assert transcript["rewards"]["testing RM"] == [1.0, 1.0, 2.0, 4.0, None]
    assert transcript["rewards"]["true reward"] == [None, 0.0, 1.0, 0.0, None]
    assert transcript["measures"] == {"score_apo": 4.0, "score_gain": 2.5, "true_gain": -0.5}


def test_limit_transcripts_and_the_page_counts_what_it_leaves_out(folder: Path) -> None:
    rows = read_run(["r1"]).transcripts
    assert [sum(one["split"] == split for one in rows) for split in ("llm", "test", "rm")] == [6, 6, 3]
    limited = limit_transcripts(rows, 2, seed=1)
    assert [sum(one["split"] == split for one in limited) for split in ("llm", "test", "rm")] == [2, 2, 2]
    assert [one for one in rows if one in limited] == limited  # in their order
    assert limit_transcripts(rows, 0, seed=1) == rows
    page = build_page(Run({}, {}, rows, []), [], limited, settings())
    assert "9 transcripts are left out of the page" in page
    assert "are left out" not in build_page(Run({}, {}, rows, []), [], rows, settings())


def test_count_choices_counts_queries_that_both_rms_rated(folder: Path) -> None:
    assert count_choices(read_run(["r1"]).transcripts) == (4, 2)
