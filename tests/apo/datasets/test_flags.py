"""apo/datasets/flags.py: an answer that nobody wants is no demonstration, however its flag is spelled."""

import re
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.datasets.readers import read_comparisons, read_demonstrations, read_golden
from tests.helpers.reading import WHY, read

ASKED = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Go away"}]
SHARED = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Go away"}]
UNWANTED: list[dict[str, Any]] = [
    {"messages": ASKED, "label": False},
    {"prompt": "Why?", "completion": "Go away", "label": False},
    {"prompt": ASKED[:1], "completion": ASKED[1:], "label": 0},
    {"conversations": SHARED, "kto_tag": False},
    {"instruction": "Why?", "output": "Go away", "label": "undesirable"},
    {"question": "Why?", "answer": "Go away", "is_safe": False},
    {"prompt": "Why?", "response": "Go away", "thumbs_up": "no"},
    {"prompt": "Why?", "response": "Go away", "feedback": "thumbs down"},
    {"messages": ASKED, "is_rejected": True},
    {"messages": ASKED, "Label": -1},
    {"query": "Why?", "golden": "Go away", "good": "False"},
]
QA = {"prompt": "Why?", "response": "Go away"}
NO = [
    "nein",
    "falsch",
    "нет",
    "差",
    "否",
    "👎",
    "👎🏽",
    "not ok",
    "lose",
    "spam",
    "harmful",
    ["bad"],
    [False],
]
NO += ["Não", "incorrecto", "unpreferred", "-1", {"value": False}, "不好", "\uff2eo", "いいえ", ":-1:"]
UNWANTED += [QA | {"label": value} for value in NO]
UNWANTED += [
    QA | flag
    for flag in (
        {"preference": "dispreferred"},
        {"is_rejected": "ja"},
        {"rating": "bad"},
        {"vote": -1},
        {"status": "reject"},
        {"upvoted": False},
        {"human_feedback": "negative"},
        {"is_helpful": False},
        {"isGood": False},
        {"Is Response Safe?": "no"},
        {"toxic": True},
        {"is_toxic": 1},
        {"harmful": "yes"},
        {"spam": "spam"},
        {"rejected": True},
        {"bad": 1},
        {"flagged": "true"},
        {"safety": "unsafe"},
        {"correctness": "incorrect"},
        {"quality": "low"},
        {"review_result": False},
        {"标签": "坏"},
        {"是否正确": "否"},
        {"bewertung": "schlecht"},
        {"metadata": {"label": False}},
        {"meta": {"annotation": {"isGood": "no"}}},
        {"weight": 0},
        {"is_best": False},
        {"isWinner": 0},
        {"is_negative": "yes"},
        {"thumb": "down"},
        {"reaction": "👎"},
        {"outcome": "fail"},
        {"Judgement": "wrong"},
        {"acceptability": "unacceptable"},
        {"selected": False},
        {"human_pref": "dispreferred"},
        {"binary_label": 0},
        {"nsfw": True},
        {"hallucination": 1},
        {"качество": "плохо"},
        {"annotations": [{"by": "x"}, {"label": False}]},
    )
]
UNWANTED += [{"messages": [ASKED[0], ASKED[1] | flag]} for flag in ({"label": False}, {"weight": 0})]


@pytest.mark.parametrize("row", UNWANTED)
def test_unwanted_flag_refuses_or_drops_a_flagged_answer(tmp_path: Path, row: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"nobody wants.*data\.on_issue\.unwanted_answer to drop or keep"):
        read(tmp_path, [row], read_demonstrations)
    left = read(tmp_path, [row], read_demonstrations, {"unwanted_answer": "drop"})
    assert (left.records, left.counts["dropped_unwanted_answer"]) == ([], 1)
    assert len(read(tmp_path, [row], read_demonstrations, {"unwanted_answer": "keep"}).records) == 1


@pytest.mark.parametrize(
    "flag",
    [
        {"label": True},
        {"label": 1},
        {"kto_tag": "desirable"},
        {"label": "not toxic", "is_bad": "нет", "toxic": False, "flagged": "nein", "deleted": 0},
        {"rating": [4, 5], "safety": {"hate": 0.1, "violence": 0.2}},
        {"rating": 1, "quality": 0.2, "score": -1, "helpfulness": 0, "vote": 1, "weight": 1.0},
        {"label": None, "is_good": "", "metadata": {"source": "no", "label": "gut"}},
        {"rejected": "no text of a flag", "status": "submitted", "no": 0, "best": "no"},
        {"outcome": "a draw", "selected": "b", "nsfw": 0.02, "reaction": "laughs", "winner": "no"},
        {"is_best": True, "annotations": [{"label": True}, "no"], "hallucination": False},
        {"annotations": [{"label": "PERSON", "start": 3}]},
        {"isSafe": "✅", "标签": "好", "liked": ["oui"]},
        {},
    ],
)
def test_unwanted_flag_keeps_a_wanted_or_unflagged_answer(tmp_path: Path, flag: dict[str, Any]) -> None:
    assert (
        read(tmp_path, [{"messages": ASKED} | flag], read_demonstrations).records[0]["response"] == "Go away"
    )


UNKNOWN = [
    {"label": "sports"},
    {"label": 3},
    {"is_good": 0.7},
    {"toxic": 0.02},
    {"feedback": "Thanks a lot!"},
]
UNKNOWN += [
    {"quality": "medium"},
    {"is_toxic": "low"},
    {"metadata": {"label": "x"}},
    {"labels": ["yes", "no"]},
]


@pytest.mark.parametrize("flag", UNKNOWN)
def test_flag_issue_says_which_flag_is_not_understood(tmp_path: Path, flag: dict[str, Any]) -> None:
    key, value = next(iter(flag.items()))
    shown = "metadata.label: 'x'" if key == "metadata" else f"{key}: {value!r}"
    message = rf"{re.escape(shown)}, neither .*it is not known whether.*; write true or false there.*"
    with pytest.raises(UserError, match=message + r"data\.on_issue\.unknown_flag to drop or keep"):
        read(tmp_path, [QA | flag], read_demonstrations)
    actions = {"unwanted_answer": "drop", "unknown_flag": "keep"}
    result = read(tmp_path, [QA | flag], read_demonstrations, actions)
    assert (len(result.records), result.issues) == (1, {"unknown_flag": 1})


@pytest.mark.parametrize("row", [{"query": WHY, "golden": "Go away"}, {"q": "Why?", "a": "Go away"}])
def test_flag_issue_guards_golden_answers_and_mapped_columns(tmp_path: Path, row: dict[str, Any]) -> None:
    columns = {"query": "q", "golden": "a"} if "q" in row else {}
    for flag in ({"label": False}, {"is_bad": "yes"}, {"metadata": {"kto_tag": "nein"}}):
        with pytest.raises(UserError, match="nobody wants"):
            read(tmp_path, [row | flag], read_golden, columns=columns)
        actions = {"unwanted_answer": "drop"}
        assert read(tmp_path, [row | flag], read_golden, actions, columns=columns).records == []
    assert len(read(tmp_path, [row | {"label": True}], read_golden, columns=columns).records) == 1


def test_flag_issue_finds_the_flag_of_a_mapped_demonstration(tmp_path: Path) -> None:
    row, actions = {"q": "Why?", "a": "Go away", "label": False}, {"unwanted_answer": "drop"}
    columns = {"prompt": "q", "completion": "a"}
    result = read(tmp_path, [row, row | {"label": True}], read_demonstrations, actions, columns=columns)
    assert (len(result.records), result.issues) == (1, {"unwanted_answer": 1})
    assert result.columns["label"] == "flag of the answer"
    answer = {"q": "Why?", "feedback": "Go away"}  # a mapped column is no flag
    assert read(tmp_path, [answer], read_demonstrations, columns=columns | {"completion": "feedback"}).records
    nested = {"task": {"q": "Why?"}, "x": [{"role": "assistant", "content": "so", "label": False}]}
    with pytest.raises(UserError, match=r"completion\.0\.label: False"):
        read(tmp_path, [nested], read_demonstrations, columns={"prompt": "task.q", "completion": "x"})


def test_flag_issue_reads_flags_of_tables(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(
        "prompt,response,isGood\nWhy?,a,1.0\nHow?,b,0.0\nWho?,c,\nWhen?,d,False\n"
    )
    result = read(tmp_path / "x.csv", None, read_demonstrations, {"unwanted_answer": "drop"})
    assert [row["response"] for row in result.records] == ["a", "c"]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": ASKED, "label": False},
        {"conversations": SHARED, "kto_tag": True},
        {"prompt": "Why?", "completion": "so", "label": 1},
        {"prompt": "Why?", "response": "so", "thumbs_up": True},
        {"prompt": "Why?", "response": "so", "quality": "low"},
        {"prompt": "Why?", "response": "so", "rejected": True},
        {"prompt": "Why?", "response": "so", "metadata": {"label": False}},
        {"messages": [ASKED[0], ASKED[1] | {"label": None, "isGood": False}]},
    ],
)
def test_unwanted_flag_explains_unpaired_preferences(tmp_path: Path, row: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"one answer .*as KTO takes them.*unwanted_answer: drop"):
        read(tmp_path, [row], read_comparisons)


@pytest.mark.parametrize("grade", [{"score": -1}, {"rating": 1}, {"reward": 0.3}, {"quality": 3}])
def test_unwanted_flag_does_not_say_that_grades_leave_rows_out(tmp_path: Path, grade: dict[str, Any]) -> None:
    message = rf"as KTO takes them.*every row is taken, whatever its {next(iter(grade))}: leave out those"
    with pytest.raises(UserError, match=message) as error:
        read(tmp_path, [QA | grade], read_comparisons)
    assert "drop" not in str(error.value)
    assert read(tmp_path, [QA | grade], read_demonstrations).counts["kept"] == 1


@pytest.mark.parametrize("key", ["generation", "reply", "summary"])
@pytest.mark.parametrize("reader", [read_comparisons, read_demonstrations])
def test_unwanted_flag_gives_advice_that_works(tmp_path: Path, key: str, reader: Any) -> None:
    row = {"question": "Why?", key: "Go away", "thumbs": "down"}
    message = rf"`{{prompt: question, completion: {key}}}` under data\.files\.columns\.demonstrations"
    with pytest.raises(UserError, match=message):
        read(tmp_path, [row], reader)
    columns, actions = {"prompt": "question", "completion": key}, {"unwanted_answer": "drop"}
    result = read(tmp_path, [row, row | {"thumbs": "up"}], read_demonstrations, actions, columns=columns)
    assert (len(result.records), result.issues) == (1, {"unwanted_answer": 1})
