"""apo/datasets/context.py: what belongs to a prompt is read with it, or is a named issue."""

from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from tests.helpers.reading import PAIR, WHY, asked, read

FOX = "\n\nHuman: What is a fox?\n\nAssistant: A wild dog."
NIGHT = f"{FOX}\n\nHuman: And at night?\n\nAssistant:"
ROW = {"instruction": "And at night?", "input": "", **PAIR}
TURNS = [{"role": "user", "content": "What is a fox?"}, {"role": "assistant", "content": "A wild dog."}]
HISTORIES: dict[str, dict[str, Any]] = {
    "pairs, as LLaMA-Factory": {"history": [["What is a fox?", "A wild dog."]]},
    "messages": {"chat_history": TURNS},
    "ShareGPT": {
        "history": [{"from": "human", "value": "What is a fox?"}, {"from": "gpt", "value": "A wild dog."}]
    },
    "texts by turns": {"conversation_history": ["What is a fox?", "A wild dog."]},
    "records": {"history": [{"prompt": "What is a fox?", "response": "A wild dog."}]},
    "with the last question": {"history": [*TURNS, {"role": "user", "content": "And at night?"}]},
    "as JSON in a cell": {"history": '[["What is a fox?", "A wild dog."]]'},
    "as JSON in a cell of another name": {"dialogue_history": '["What is a fox?", "A wild dog."]'},
    "as JSON under previous turns": {"previous_turns": '[["What is a fox?", "A wild dog."]]'},
    "pairs of role and text": {"history": [["user", "What is a fox?"], ["assistant", "A wild dog."]]},
    "texts with roles": {"history": ["User: What is a fox?", "Bot: A wild dog."]},
    "with the last question and its answer": {
        "history": [["What is a fox?", "A wild dog."], ["And at night?", "good"]]
    },
    "Chinese": {"历史": [["What is a fox?", "A wild dog."]]},
    "pairs of a Chinese role and text": {"history": [["用户", "What is a fox?"], ["助手", "A wild dog."]]},
    "texts with Spanish roles": {"history": ["Usuario: What is a fox?", "Asistente: A wild dog."]},
    "messages with Japanese roles": {
        "history": [
            {"role": "ユーザー", "content": "What is a fox?"},
            {"role": "アシスタント", "content": "A wild dog."},
        ]
    },
    "texts with Q and A": {"history": ["Q: What is a fox?", "A: A wild dog."]},
    "pairs of Q and A with text": {"history": [["Q", "What is a fox?"], ["A", "A wild dog."]]},
    "records with capital names": {"history": [{"User": "What is a fox?", "Bot": "A wild dog."}]},
}


@pytest.mark.parametrize("name", HISTORIES)
def test_parse_answers_reads_earlier_turns_from_their_column(tmp_path: Path, name: str) -> None:
    result = read(tmp_path, [ROW | HISTORIES[name]])
    assert result.ranked == [(NIGHT, "good > bad")]
    (column,) = HISTORIES[name]
    assert result.columns[column] == "earlier turns"


def test_parse_answers_does_not_read_the_answer_from_the_history(tmp_path: Path) -> None:
    asked_ = {"role": "user", "content": "And at night?"}
    sides = {side: [asked_, {"role": "assistant", "content": text}] for side, text in PAIR.items()}
    history = [["What is a fox?", "A wild dog."], ["And at night?", "bad"]]
    for row in ({"prompt": [asked_], **PAIR}, sides, {"prompt": "And at night?", **sides}):
        assert read(tmp_path, [{**row, "history": history}]).ranked == [(NIGHT, "good > bad")]


def test_parse_answers_keeps_a_question_that_was_asked_before(tmp_path: Path) -> None:
    history = [["And at night?", "I know not."]]
    ((query, _),) = read(tmp_path, [ROW | {"history": history}]).ranked
    assert query.count("And at night?") == 2
    ((query, _),) = read(tmp_path, [ROW | {"history": [["Is it?", "good"]]}]).ranked
    assert query == "\n\nHuman: Is it?\n\nAssistant: good\n\nHuman: And at night?\n\nAssistant:"


def test_parse_answers_reads_a_pair_that_begins_like_a_role_as_a_question(tmp_path: Path) -> None:
    history = [["user", "One who uses."], ["And you?", "A bot."]]
    ((query, _),) = read(tmp_path, [ROW | {"history": history}]).ranked
    assert query.startswith("\n\nHuman: user\n\nAssistant: One who uses.")


@pytest.mark.parametrize("empty", [None, [], "", [[]]])
def test_parse_answers_takes_an_empty_history_for_none(tmp_path: Path, empty: Any) -> None:
    rows = [ROW | {"history": [["What is a fox?", "A wild dog."]]}, ROW | {"history": empty}]
    assert [query for query, _ in read(tmp_path, rows).ranked] == [NIGHT, NIGHT.removeprefix(FOX)]


def test_parse_answers_takes_the_query_from_the_history_if_the_prompt_is_empty(tmp_path: Path) -> None:
    row = ROW | {"instruction": [], "history": [*TURNS, {"role": "user", "content": "And at night?"}]}
    assert read(tmp_path, [ROW, row]).ranked[1] == (NIGHT, "good > bad")
    with pytest.raises(UserError, match=r"x\.jsonl:2.*data\.on_issue\.role_order"):
        read(tmp_path, [ROW, row | {"history": TURNS}])


def test_parse_answers_puts_earlier_turns_between_system_text_and_messages(tmp_path: Path) -> None:
    sides = {side: [{"role": "assistant", "content": text}] for side, text in PAIR.items()}
    prompt = [{"role": "user", "content": "And at night?"}]
    row = {"prompt": prompt, **sides, "history": TURNS, "system": "Be brief."}
    assert read(tmp_path, [row]).ranked == [(f"Be brief.{NIGHT}", "good > bad")]
    whole = {side: [*TURNS, *prompt, *answer] for side, answer in sides.items()}
    assert read(tmp_path, [whole | {"history": TURNS}]).ranked == [(NIGHT, "good > bad")]


@pytest.mark.parametrize(
    "history", ["We spoke about foxes.", [["a", "b", "c"]], [3], [["only a question"]] * 2]
)
def test_parse_answers_names_a_history_of_no_known_form(tmp_path: Path, history: Any) -> None:
    with pytest.raises(UserError, match=r"x\.jsonl:1.*data\.on_issue\.role_order"):
        read(tmp_path, [ROW | {"history": history}])


def test_parse_answers_reads_the_input_of_an_instruction_with_messages(tmp_path: Path) -> None:
    sides = {side: [{"role": "assistant", "content": text}] for side, text in PAIR.items()}
    ((query, _),) = read(tmp_path, [{"instruction": "Translate.", "input": "chat", **sides}]).ranked
    assert query == "\n\nHuman: Translate.\n\nchat\n\nAssistant:"


MEDIA = {
    "images": [{"path": "a.png"}],
    "image": "a.png",
    "audios": ["a.wav"],
    "tools": '[{"name": "search"}]',
    "videos": [{"path": "a.mp4"}],
    "image_path": "a.png",
    "image_urls": ["https://a.org/a.png"],
    "image_id": 7,
    "pixel_values": [[0.5]],
    "available_tools": [{"name": "search"}],
}


@pytest.mark.parametrize("column", MEDIA)
def test_other_media_are_a_data_issue_with_an_action(tmp_path: Path, column: str) -> None:
    rows = [{"prompt": "Why?", **PAIR, column: MEDIA[column]}, {"prompt": "Why?", **PAIR, column: None}]
    with pytest.raises(
        UserError, match=rf"{column}.*not read.*data\.on_issue\.unsupported_column to drop or keep"
    ):
        read(tmp_path, rows)
    assert len(read(tmp_path, rows, actions={"unsupported_column": "drop"}).records) == 1
    result = read(tmp_path, rows, actions={"unsupported_column": "keep"})
    assert (len(result.records), result.issues) == (2, {"unsupported_column": 1})
    assert result.columns[column] == "not read"


def test_system_text_without_a_place_in_the_format_is_a_data_issue(tmp_path: Path) -> None:
    row = {"query": WHY, "responses": ["a", "b"], "scores": [1, 0], "system": "Be brief."}
    with pytest.raises(UserError, match="a filled column 'system', which is not read"):
        read(tmp_path, [row])


DIALOGUES = {side: f"{WHY} {text}" for side, text in PAIR.items()}
SYSTEM = [{"role": "system", "content": "Be kind."}]
WHOLE = {side: asked(text) for side, text in PAIR.items()}
LOST: dict[str, tuple[dict[str, Any], str]] = {
    "a second system text": ({"prompt": "Why?", "system": "Be brief.", "system_prompt": "No", **PAIR}, "No"),
    "a second history": (
        {"prompt": "Why?", "history": [["a", "b"]], "past_turns": [["c", "d"]], **PAIR},
        "c",
    ),
    "beside another system message": ({"prompt": [*SYSTEM, *TURNS[:1]], "system": "No", **PAIR}, "No"),
    "before a history with another": ({**ROW, "history": [*SYSTEM, *TURNS], "system": "No"}, "No"),
    "before dialogues with another": (
        {s: f"Be kind.{t}" for s, t in DIALOGUES.items()} | {"system": "No"},
        "No",
    ),
    "an input of messages": ({"instruction": TURNS[:1], "input": "1 and 2", **PAIR}, "1 and 2"),
    "an input beside conversations": ({"instruction": "Why?", "input": "1 and 2", **WHOLE}, "1 and 2"),
    "a context beside conversations": ({"prompt": "Why?", "context": "Foxes", **WHOLE}, "Foxes"),
}


@pytest.mark.parametrize("name", LOST)
def test_context_that_is_not_in_the_record_is_a_data_issue(tmp_path: Path, name: str) -> None:
    row, text = LOST[name]
    with pytest.raises(UserError, match=rf"whose text is not in the record \('{text}'\).*`history: COLUMN`"):
        read(tmp_path, [row])
    result = read(tmp_path, [row], actions={"unsupported_column": "keep"})
    assert (len(result.records), result.issues) == (1, {"unsupported_column": 1})


def test_context_of_whole_dialogues_is_read(tmp_path: Path) -> None:
    row = {**DIALOGUES, "system": "Be brief.", "history": [["What is a fox?", "A wild dog."]]}
    assert read(tmp_path, [row]).ranked == [(f"Be brief.{FOX}{WHY}", "good > bad")]
    whole = {side: f"Be brief.{FOX}{text}" for side, text in DIALOGUES.items()}
    assert read(tmp_path, [row | whole]).ranked == [(f"Be brief.{FOX}{WHY}", "good > bad")]


@pytest.mark.parametrize("turn", [{"speaking": "me", "words": "Hi"}, {"q": "Hi"}, ["Hi", "Ho", "Hi"]])
def test_a_turn_of_no_known_form_is_shown_as_it_is(tmp_path: Path, turn: object) -> None:
    shown = r"\['Hi', 'Ho', 'Hi'\]" if isinstance(turn, list) else rf"\{{'{next(iter(turn))}': '.*'\}}"
    with pytest.raises(UserError, match=rf"found {shown} in 'history'.*questions with their answers"):
        read(tmp_path, [ROW | {"history": [turn]}])


def test_a_prompt_may_be_a_record_with_messages(tmp_path: Path) -> None:
    asked_ = [*TURNS, {"role": "user", "content": "And at night?"}]
    row = {
        "input": {"messages": asked_, "tools": [], "parallel_tool_calls": True},
        "preferred_output": [{"role": "assistant", "content": "good"}],
        "non_preferred_output": [{"role": "assistant", "content": "bad"}],
    }
    for one in (row, {"prompt": row["input"], **PAIR}, {"question": {"messages": asked_}, **PAIR}):
        assert read(tmp_path, [one]).ranked == [(NIGHT, "good > bad")]
    with pytest.raises(UserError, match="'tools' in 'input'"):
        read(tmp_path, [row | {"input": {"messages": asked_, "tools": [{"name": "f"}]}}])


RECORDS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "Why?"}]},
    {"full_text": "Why?", "id": "7", "dataset": "x"},
]


@pytest.mark.parametrize("record", RECORDS)
def test_the_context_in_a_prompt_that_is_a_record_is_read(tmp_path: Path, record: dict[str, Any]) -> None:
    row = {"question": record | {"system": "Be brief."}, **PAIR}
    result = read(tmp_path, [row, {"question": record, **PAIR}])
    assert ([query for query, _ in result.ranked], result.issues) == ([f"Be brief.{WHY}", WHY], {})
    assert result.columns["system"] == "system text"
    row = {"prompt": record | {"chat_history": TURNS, "systemPrompt": "Be brief."}, **PAIR}
    ((query, _),) = read(tmp_path, [row]).ranked
    assert query == f"Be brief.{FOX}{WHY}"


LOST_IN_RECORDS: list[dict[str, Any]] = [
    {"system_prompt": "Be kind."},
    {"passage": "Foxes are dogs."},
    {"context": "Foxes are dogs."},
    {"images": ["a.png"]},
]


@pytest.mark.parametrize("record", RECORDS)
@pytest.mark.parametrize("beside", LOST_IN_RECORDS)
def test_other_context_in_a_prompt_that_is_a_record_is_a_data_issue(
    tmp_path: Path, record: dict[str, Any], beside: dict[str, Any]
) -> None:
    row = {"input": record | beside, "system": "Be brief.", **PAIR}
    with pytest.raises(UserError, match=r"a filled column|1 in 'images'.*data\.on_issue\.unsupported_column"):
        read(tmp_path, [row])
    columns = {"prompt": "input.full_text", "system": "system", "chosen": "chosen", "rejected": "rejected"}
    with pytest.raises(UserError, match=r"data\.on_issue\.unsupported_column"):
        read(tmp_path, [row | {"input": {"full_text": "Why?", **beside}}], columns=columns)


@pytest.mark.parametrize("column", ["conversation", "history", "dialogue", "对话"])
def test_a_conversation_that_holds_the_prompt_is_named(tmp_path: Path, column: str) -> None:
    row = {column: [*TURNS, {"role": "user", "content": "And at night?"}], **PAIR}
    with pytest.raises(UserError, match=f"map `prompt: {column}` under data.files.columns.comparisons"):
        read(tmp_path, [row])
    assert read(tmp_path, [row], columns={"prompt": column}).ranked == [(NIGHT, "good > bad")]


@pytest.mark.parametrize("column", ["ask", "opening", "words"])
def test_a_text_column_beside_plain_answers_is_named_as_a_prompt(tmp_path: Path, column: str) -> None:
    row = {column: "Why?", **PAIR}
    with pytest.raises(UserError, match=f"holds the prompt, map `prompt: {column}` under"):
        read(tmp_path, [row])
    assert read(tmp_path, [row], columns={"prompt": column}).ranked == [(WHY, "good > bad")]


@pytest.mark.parametrize("blank", ["nan", "NaN", "None", "null", " "])
def test_a_cell_without_a_value_is_no_context(tmp_path: Path, blank: str) -> None:
    row = {"instruction": "Why?", "input": blank, "system": blank, "history": blank, "image": blank, **PAIR}
    lines = [",".join(row), ",".join(row.values())]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    result = read(tmp_path / "x.csv")
    assert (result.ranked, result.issues) == ([(WHY, "good > bad")], {})
    mapped = read(tmp_path / "x.csv", columns={"prompt": "instruction"})
    assert (mapped.ranked, mapped.issues) == ([(WHY, "good > bad")], {})
    ((query, _),) = read(tmp_path, [{"instruction": "Translate.", "input": "nan", **PAIR}]).ranked
    assert query == "\n\nHuman: Translate.\n\nnan\n\nAssistant:"


def test_a_medium_that_is_false_is_none(tmp_path: Path) -> None:
    assert read(tmp_path, [{"prompt": "Why?", "image": False, "images": 0, **PAIR}]).issues == {}
