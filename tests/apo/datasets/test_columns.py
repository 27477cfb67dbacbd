"""apo/datasets/columns.py: columns that the user maps keep their partners; names in other languages."""

from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.datasets.readers import read_demonstrations, read_golden, read_samples
from tests.helpers.reading import PAIR, WHY, read


def test_with_columns_keeps_the_input_of_a_mapped_instruction(tmp_path: Path) -> None:
    rows = [{"instruction": "Add.", "input": about, **PAIR} for about in ("1 and 2", "", None)]
    columns = {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"}
    result = read(tmp_path, rows, columns=columns)
    assert [query for query, _ in result.ranked] == [
        "\n\nHuman: Add.\n\n1 and 2\n\nAssistant:",
        *["\n\nHuman: Add.\n\nAssistant:"] * 2,
    ]


def test_with_columns_of_the_prompt_alone_leaves_the_answers(tmp_path: Path) -> None:
    rows = [{"instruction": "Add.", "input": "1 and 2", **PAIR, "source": "s"}]
    result = read(tmp_path, rows, columns={"prompt": "instruction"})
    assert result.ranked == [("\n\nHuman: Add.\n\n1 and 2\n\nAssistant:", "good > bad")]
    assert result.columns == {
        "instruction": "prompt",
        "input": "input of the instruction",
        "chosen": "chosen",
        "rejected": "rejected",
        "source": "not read",
    }
    votes = [{"post": "Why?", "answer_a": "good", "answer_b": "bad", "winner": "b"}]
    assert read(tmp_path, votes, columns={"prompt": "post"}).ranked == [(WHY, "bad > good")]


ADD = "\n\nHuman: Add.\n\n1 and 2\n\nAssistant:"
SIDES = {"chosen": "a", "rejected": "b"}
PARTNERS: list[tuple[dict[str, Any], dict[str, str], str]] = [
    (
        {"q": "Add.", "about": "1 and 2", "a": "good", "b": "bad"},
        {"prompt": "q", "input": "about", "chosen": "a", "rejected": "b"},
        "\n\nHuman: Add.\n\n1 and 2\n\nAssistant:",
    ),
    (
        {"q": "Why?", "system": "Be brief.", "a": "good", "b": "bad"},
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        f"Be brief.{WHY}",
    ),
    (
        {"q": "Why?", "before": [["Hi", "Ho"]], "a": "good", "b": "bad"},
        {"prompt": "q", "history": "before", "chosen": "a", "rejected": "b"},
        f"\n\nHuman: Hi\n\nAssistant: Ho{WHY}",
    ),
    (
        {"x": {"instruction": "Add."}, "input": "1 and 2", "a": "good", "b": "bad"},
        {"prompt": "x.instruction", "chosen": "a", "rejected": "b"},
        "\n\nHuman: Add.\n\n1 and 2\n\nAssistant:",
    ),
    ({"prompt": "Why?", "a": "good", "b": "bad"}, {"chosen": "a", "rejected": "b"}, WHY),
    *(
        (row | {"a": "good", "b": "bad"}, {prompt: path, "chosen": "a", "rejected": "b"}, ADD)
        for row, prompt, path in (
            ({"x": {"instruction": "Add.", "input": "1 and 2"}}, "prompt", "x.instruction"),
            ({"Instruction": "Add.", "Input": "1 and 2"}, "prompt", "Instruction"),
            ({"指令": "Add.", "输入": "1 and 2"}, "prompt", "指令"),
            ({"instruction": "Add.", "input": "1 and 2"}, "question", "instruction"),
        )
    ),
    ({"prompt": "Add.", "about": "1 and 2", "a": "good", "b": "bad"}, {"input": "about"} | SIDES, ADD),
    (
        {"指令": "Add.", "话": "1 and 2", "a": "good", "b": "bad"},
        {"prompt": "指令", "input": "话"} | SIDES,
        ADD,
    ),
    ({"指令": "Why?", "系统": "S", "a": "good", "b": "bad"}, {"prompt": "instruction"} | SIDES, f"S{WHY}"),
]


@pytest.mark.parametrize(("row", "columns", "query"), PARTNERS)
def test_with_columns_keeps_what_belongs_to_a_mapped_column(
    tmp_path: Path, row: dict[str, Any], columns: dict[str, str], query: str
) -> None:
    result = read(tmp_path, [row], columns=columns)
    assert result.ranked == [(query, "good > bad")]
    assert "not read" not in result.columns.values()


def test_with_columns_names_an_input_that_can_not_be_appended(tmp_path: Path) -> None:
    row = {"instruction": [{"role": "user", "content": "Add."}], "input": "1 and 2", **PAIR}
    with pytest.raises(UserError, match=r"an input beside a prompt that is a list"):
        read(tmp_path, [row], columns={"prompt": "instruction"})


def test_with_columns_gives_golden_answers_and_comparisons_one_id(tmp_path: Path) -> None:
    row = {"instruction": "Add.", "input": "1 and 2", "output": "3"}
    [comparison] = read(tmp_path, [row | PAIR]).records
    columns = {"query": "instruction", "golden": "output"}
    [golden] = read(tmp_path, [row], read_golden, columns=columns).records
    assert (golden["query"], golden["query_id"]) == (comparison["query"], comparison["query_id"])
    columns = {"query": "instruction", "samples": "outputs"}
    [samples] = read(tmp_path, [row | {"outputs": ["3"]}], read_samples, columns=columns).records
    assert samples["query_id"] == golden["query_id"]


def test_with_columns_maps_every_kind_of_file(tmp_path: Path) -> None:
    golden = read(
        tmp_path, [{"q": "Why?", "best": "so"}], read_golden, columns={"query": "q", "golden": "best"}
    )
    assert [(row["query"], row["golden"]) for row in golden.records] == [(WHY, "so")]
    columns = {"query": "q", "samples": "answers"}
    samples = read(tmp_path, [{"q": "Why?", "answers": ["a", "b"]}], read_samples, columns=columns)
    assert samples.records[0]["samples"] == ["a", "b"]
    columns = {"prompt": "q", "completion": "said"}
    shown = read(tmp_path, [{"q": "Why?", "said": "so"}], read_demonstrations, columns=columns)
    assert shown.records[0]["response"] == "so"


LANGUAGES = [
    {"指令": "Why?", "输入": "", "选择": "good", "拒绝": "bad"},
    {"frage": "Why?", "gewählt": "good", "abgelehnt": "bad"},
    {"instrucción": "Why?", "entrada": "", "elegida": "good", "rechazada": "bad"},
    {"инструкция": "Why?", "выбранный": "good", "отклонённый": "bad"},
    {"上下文": "Why?", "选择": "good", "拒绝": "bad"},
    {"pregunta": "Why?", "elegida": "good", "rechazada": "bad"},
    {"质问": "", "问题": "Why?", "chosen": "good", "rejected": "bad"},
]


@pytest.mark.parametrize("row", LANGUAGES)
def test_translated_knows_common_names_in_other_languages(tmp_path: Path, row: dict[str, Any]) -> None:
    result = read(tmp_path, [row])
    assert result.ranked == [(WHY, "good > bad")]
    assert list(result.columns) == list(row)


def test_with_columns_names_a_path_that_leads_nowhere(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a column 'a\.9'"):
        read(
            tmp_path,
            [{"a": ["x"], **PAIR}],
            columns={"prompt": "a.9", "chosen": "chosen", "rejected": "rejected"},
        )


Row = dict[str, Any]

PROMETHEUS = {
    "orig_criteria": "c",
    "orig_instruction": "Why?",
    "orig_preference": "B",
    "orig_response_A": "bad",
    "orig_response_B": "good",
    "orig_score_A": "3",
    "orig_score_B": "5",
    "instruction": "###Task: ...",
    "output": "Feedback ... [RESULT] B",
}

MULTIPREF = {"text": "Why?", "completion_a": "good", "completion_b": "bad", "overall": {"pref": "A"}}

NAMED: dict[str, tuple[Row, dict[str, str]]] = {
    "prometheus-eval/Preference-Collection": (
        PROMETHEUS,
        {"prompt": "orig_instruction", "response_a": "orig_response_A", "response_b": "orig_response_B"}
        | {"winner": "orig_preference"},
    ),
    "a verdict inside a record": (
        MULTIPREF,
        {"prompt": "text", "response_a": "completion_a", "response_b": "completion_b"}
        | {"winner": "overall.pref"},
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_with_columns_reads_a_set_of_no_known_format(tmp_path: Path, name: str) -> None:
    row, columns = NAMED[name]
    with pytest.raises(UserError, match=r"of no known format.*map columns"):
        read(tmp_path / "x.jsonl", [row])
    assert read(tmp_path / "x.jsonl", [row], columns=columns).ranked == [(WHY, "good > bad")]


COLUMNS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "plain": (
        {"ask": "Why?", "yes": "good", "no": "bad", "score": "x"},
        {"prompt": "ask", "chosen": "yes", "rejected": "no"},
    ),
    "openai/summarize_from_feedback": (
        {
            "info": {"post": "Why?", "title": "t"},
            "summaries": [{"text": "good"}, {"text": "bad"}],
            "choice": 0,
        },
        {
            "prompt": "info.post",
            "response_0": "summaries.0.text",
            "response_1": "summaries.1.text",
            "better": "choice",
        },
    ),
    "openai/webgpt_comparisons": (
        {
            "question": {"full_text": "Why?"},
            "answer_0": "good",
            "answer_1": "bad",
            "score_0": 0.5,
            "score_1": 0,
        },
        {
            "prompt": "question.full_text",
            "response_0": "answer_0",
            "response_1": "answer_1",
            "score_0": "score_0",
            "score_1": "score_1",
        },
    ),
    "a dot in a name": (
        {"a.b": "Why?", "a": {"b": "no"}, "c": "good", "d": "bad"},
        {"prompt": "a.b", "chosen": "c", "rejected": "d"},
    ),
    "the other of two": (
        {"prompt": "in a template: Why?", "question": "Why?", "chosen": "good", "rejected": "bad"},
        {"prompt": "question", "chosen": "chosen", "rejected": "rejected"},
    ),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_with_columns_by_hand(tmp_path: Path, name: str) -> None:
    row, columns = COLUMNS[name]
    [record] = read(tmp_path, [row], columns=columns).records
    assert (record["query"], record["responses"]) == (WHY, ["good", "bad"])
    assert record["scores"][0] > record["scores"][1]


@pytest.mark.parametrize("path", ["ask", "info.text", "list.2", "list.x", "list.-1", "text.0", "info.post.a"])
def test_with_columns_names_a_missing_column(tmp_path: Path, path: str) -> None:
    row = {"info": {"post": "p"}, "list": ["a", "b"], "text": "t"}
    with pytest.raises(UserError, match=rf"x\.jsonl:1: found keys .* expected a column '{path}'"):
        read(tmp_path, [row], columns={"prompt": path})


PAIRS_OF_NAMES = [("win", "lose"), ("good", "bad"), ("preferred", "dispreferred"), ("positive", "negative")]


@pytest.mark.parametrize(("better", "worse"), PAIRS_OF_NAMES)
def test_name_sides_knows_pairs_of_names(tmp_path: Path, better: str, worse: str) -> None:
    result = read(tmp_path, [{worse: "bad", "prompt": "Why?", better: "good"}])
    assert result.ranked == [(WHY, "good > bad")]
    assert result.columns == {worse: "rejected", "prompt": "prompt", better: "chosen"}
    marks = {"prompt": "Why?", "chosen": "good", "rejected": "bad", better: "x", worse: "y"}
    assert read(tmp_path, [marks]).ranked == [(WHY, "good > bad")]
    mapped = {"prompt": "prompt", "chosen": better, "rejected": worse}
    assert read(tmp_path, [{"prompt": "Why?", better: "good", worse: "bad"}], columns=mapped).ranked == [
        (WHY, "good > bad")
    ]
    with pytest.raises(UserError):
        read(tmp_path, [{"prompt": "Why?", better: 3, worse: 1}])


def test_name_sides_leaves_rows_of_a_known_format(tmp_path: Path) -> None:
    others = {"win": "yes", "lose": "n", "good": "yes", "bad": "no"}
    row = {"prompt": "Why?", "response_a": "bad", "response_b": "good", "winner": "b"}
    assert read(tmp_path, [row | others]).ranked == [(WHY, "good > bad")]
    [record] = read(
        tmp_path, [{"prompt": "Why?", "response": "so"} | others], reader=read_demonstrations
    ).records
    assert record["response"] == "so"


def test_name_sides_leaves_a_row_with_a_blank_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="of no known format"):
        read(tmp_path, [{"": "x", "a": "y"}])
