"""apo/datasets/renaming.py: one naming of columns for `make inspect` and for stage `data`."""

import json
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.datasets.readers import read_samples
from tests.helpers.inspected import report_of
from tests.helpers.reading import PAIR, WHY, read, user, write

ADD = "\n\nHuman: Add.\n\n1 and 2\n\nAssistant:"
PAIRS_OF_NAMES = [
    ("win", "lose"),
    ("good", "bad"),
    ("preferred", "dispreferred"),
    ("pos_resp", "neg_resp"),
    ("preferred_output", "non_preferred_output"),
    ("chosen_text", "rejected_text"),
    ("y_w", "y_l"),
]


@pytest.mark.parametrize(("better", "worse"), PAIRS_OF_NAMES)
def test_inspect_names_the_sides_as_the_stage_does(tmp_path: Path, better: str, worse: str) -> None:
    path = write(tmp_path / "x.jsonl", [{"prompt": "Why?", worse: "bad", better: "good"}] * 2)
    report = report_of(path)
    assert (report.kind, report.kept, report.usable) == ("comparison", 2, True)
    assert report.records[0]["answers"] == [["best (1)", "good"], ["worst (0)", "bad"]]
    assert read(path).ranked == [(WHY, "good > bad")] * 2


def test_sides_by_other_names_are_looked_through_for_json(tmp_path: Path) -> None:
    rows = [{"prompt": "Why?", "win": json.dumps("good"), "lose": json.dumps("bad")}] * 2
    assert read(tmp_path, rows).ranked == [(WHY, "good > bad")] * 2
    plain = {"prompt": "Why?", "win": "yes", "lose": "no"}
    assert read(tmp_path, [*rows, plain]).ranked == [(WHY, '"good" > "bad"')] * 2 + [(WHY, "yes > no")]


FOX = "\n\nHuman: What is a fox?\n\nAssistant: A wild dog."
SPELLED: list[tuple[dict[str, Any], str]] = [
    ({"Prompt": "Why?", "Chosen": "good", "Rejected": "bad"}, WHY),
    ({"Instruction": "Add.", "Input": "1 and 2", **PAIR}, ADD),
    ({"instruction": "Add.", "Input": "1 and 2", **PAIR}, ADD),
    ({"Consigne": "Add.", "Entrée": "1 and 2", "choisi": "good", "rejeté": "bad"}, ADD),
    ({"Anweisung": "Add.", "Eingabe": "1 and 2", "Gewählt": "good", "abgelehnt": "bad"}, ADD),
    ({"PROMPT": "Why?", "RESPONSE_A": "bad", "RESPONSE_B": "good", "WINNER": "B"}, WHY),
    ({"Question": "Why?", "Response A": "good", "Response B": "bad", "Label": "A"}, WHY),
    ({"Frage": "Why?", "Antwort A": "bad", "Antwort B": "good", "Winner": "antwort_b"}, WHY),
    ({"问题": "Why?", "回答A": "bad", "回答B": "good", "更好": "回答B"}, WHY),
    ({"pregunta": "Why?", "respuesta_1": "bad", "respuesta_2": "good", "Ganador": 2}, WHY),
    ({"Prompt": "Why?", "Responses": ["bad", "good"], "Scores": [1, 2]}, WHY),
    ({"question": "Why?", "systemPrompt": "Be brief.", **PAIR}, f"Be brief.{WHY}"),
    ({"Question": "Why?", "System Prompt": "Be brief.", **PAIR}, f"Be brief.{WHY}"),
    ({"prompt": "Why?", "sys_prompt": "Be brief.", **PAIR}, f"Be brief.{WHY}"),
    ({"prompt": "Why?", "History": [["What is a fox?", "A wild dog."]], **PAIR}, FOX + WHY),
    ({"질문": "Why?", "대화 기록": [["What is a fox?", "A wild dog."]], **PAIR}, FOX + WHY),
    ({"質問": "Why?", "会話履歴": [["What is a fox?", "A wild dog."]], **PAIR}, FOX + WHY),
]


@pytest.mark.parametrize(("row", "query"), SPELLED)
def test_columns_are_known_in_any_spelling(tmp_path: Path, row: dict[str, Any], query: str) -> None:
    result = read(tmp_path, [row])
    assert (result.ranked, result.issues) == ([(query, "good > bad")], {})
    assert "not read" not in result.columns.values()


def test_the_exact_name_comes_before_another_spelling(tmp_path: Path) -> None:
    result = read(tmp_path, [{"Prompt": "Why?", "prompt": "Why?", **PAIR}])
    assert (result.ranked, result.columns["Prompt"]) == ([(WHY, "good > bad")], "not read")


BESIDE: list[tuple[dict[str, Any], str]] = [
    ({"text": "Why?", "system": "Be brief."}, f"Be brief.{WHY}"),
    ({"text": "Why?", "History": [["What is a fox?", "A wild dog."]]}, FOX + WHY),
    ({"text": [user("Why?")], "system_prompt": "Be brief.", "tools": []}, f"Be brief.{WHY}"),
    ({"instruction": "Add.", "Input": "1 and 2", "images": None}, ADD),
]


@pytest.mark.parametrize(("record", "query"), BESIDE)
def test_context_beside_a_mapped_prompt_in_a_record_is_read(
    tmp_path: Path, record: dict[str, Any], query: str
) -> None:
    columns = {"prompt": "task.instruction" if "instruction" in record else "task.text"}
    assert read(tmp_path, [{"task": record, **PAIR}], columns=columns).ranked == [(query, "good > bad")]
    with pytest.raises(UserError, match="1 in 'tools', which is not read"):
        read(tmp_path, [{"task": record | {"tools": [{"name": "f"}]}, **PAIR}], columns=columns)


@pytest.mark.parametrize(("column", "rewards"), [("scores", [1.0, 2.0]), ("Ranks", [-1.0, -2.0])])
def test_rewards_beside_mapped_samples_are_read(tmp_path: Path, column: str, rewards: list[float]) -> None:
    row = {"question": "Why?", "outs": ["a", "b"], column: [1, 2]}
    columns = {"query": "question", "samples": "outs"}
    result = read(tmp_path, [row], read_samples, columns=columns)
    assert (result.records[0]["source_rewards"], result.columns[column]) == (rewards, "rewards of the source")
