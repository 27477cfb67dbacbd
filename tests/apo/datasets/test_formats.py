"""Public preference sets in their own formats, and columns and formats that the user names."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from apo.core.config import read_section
from apo.core.data_issues import DataIssues
from apo.core.dialogue import query_id_of
from apo.core.errors import UserError
from apo.datasets.file_reader import ReadOptions
from apo.datasets.issues import ROW_ISSUES
from apo.datasets.readers import read_comparisons, read_demonstrations

PARAMS = Path(__file__).parents[3] / "params.yaml"
ACTIONS = read_section(PARAMS, ROW_ISSUES.section, ROW_ISSUES.settings).actions()
Q = "\n\nHuman: Why?\n\nAssistant:"
TALK = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Why?\n\nAssistant:"


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def shared(role: str, content: str) -> dict[str, str]:
    return {"from": role, "value": content}


ASKED = [said("user", "Hi"), said("assistant", "Hello"), said("user", "Why?")]


def read(
    folder: Path, rows: list[dict[str, Any]], reader: Any = read_comparisons, **options: Any
) -> tuple[list[dict[str, Any]], Counter[str], list[dict[str, Any]]]:
    path = folder / "x.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    counts: Counter[str] = Counter()
    issues = DataIssues(ROW_ISSUES, ACTIONS)
    return list(reader(path, counts, issues, ReadOptions(**options))), counts, issues.examples


# What a row of the set looks like, and the query, responses and scores that it says.
PUBLIC: dict[str, tuple[dict[str, Any], str, list[str], list[float]]] = {
    "Anthropic/hh-rlhf": (
        {"chosen": f"{TALK} good", "rejected": f"{TALK} bad"},
        TALK,
        ["good", "bad"],
        [1, 0],
    ),
    "Dahoas/full-hh-rlhf": (
        {"prompt": TALK, "response": " good", "chosen": " good", "rejected": " bad"},
        TALK,
        ["good", "bad"],
        [1, 0],
    ),
    "prompt repeated in the answers": (
        {"prompt": TALK, "chosen": f"{TALK} good", "rejected": f"{TALK} bad"},
        TALK,
        ["good", "bad"],
        [1, 0],
    ),
    "HuggingFaceH4/ultrafeedback_binarized": (
        {
            "prompt": "Why?",
            "prompt_id": "6b",
            "chosen": [said("user", "Why?"), said("assistant", "good")],
            "rejected": [said("user", "Why?"), said("assistant", "bad")],
            "messages": [said("user", "Why?"), said("assistant", "good")],
            "score_chosen": 8.0,
            "score_rejected": 6.5,
        },
        Q,
        ["good", "bad"],
        [1, 0],
    ),
    "a system message before the prompt": (
        {
            "prompt": "Why?",
            "chosen": [said("system", "Be brief."), said("user", "Why?"), said("assistant", "good")],
            "rejected": [said("system", "Be brief."), said("user", "Why?"), said("assistant", "bad")],
        },
        f"Be brief.{Q}",
        ["good", "bad"],
        [1, 0],
    ),
    "argilla/dpo-mix-7k": (
        {
            "dataset": "x",
            "chosen": [*ASKED, said("assistant", "good")],
            "rejected": [*ASKED, said("assistant", "bad")],
            "chosen_rating": 5.0,
        },
        TALK,
        ["good", "bad"],
        [1, 0],
    ),
    "argilla/ultrafeedback-binarized-preferences": (
        {"source": "s", "instruction": "Why?", "chosen_response": "good", "rejected_response": "bad"},
        Q,
        ["good", "bad"],
        [1, 0],
    ),
    "Intel/orca_dpo_pairs": (
        {"system": "Be brief.", "question": "Why?", "chosen": "good", "rejected": "bad"},
        f"Be brief.{Q}",
        ["good", "bad"],
        [1, 0],
    ),
    "orca_dpo_pairs, empty system": (
        {"system": "", "question": "Why?", "chosen": "good", "rejected": "bad"},
        Q,
        ["good", "bad"],
        [1, 0],
    ),
    "argilla/distilabel-intel-orca-dpo-pairs": (
        {"system": None, "input": "Why?", "chosen": "good", "rejected": "bad", "rating": [9.0, 7.0]},
        Q,
        ["good", "bad"],
        [1, 0],
    ),
    "alpaca with a preference": (
        {"instruction": "Add.", "input": "1 and 2", "chosen": "3", "rejected": "4"},
        "\n\nHuman: Add.\n\n1 and 2\n\nAssistant:",
        ["3", "4"],
        [1, 0],
    ),
    "ShareGPT with a preference": (
        {
            "conversations": [shared("human", "Hi"), shared("gpt", "Hello"), shared("human", "Why?")],
            "chosen": shared("gpt", "good"),
            "rejected": shared("gpt", "bad"),
        },
        TALK,
        ["good", "bad"],
        [1, 0],
    ),
    "PKU-Alignment/PKU-SafeRLHF": (
        {
            "prompt": "Why?",
            "response_0": "bad",
            "response_1": "good",
            "is_response_0_safe": False,
            "is_response_1_safe": True,
            "better_response_id": 1,
            "safer_response_id": 1,
        },
        Q,
        ["bad", "good"],
        [0, 1],
    ),
    "nvidia/HelpSteer2 preferences": (
        {"split": "train", "prompt": "Why?", "response_1": "good", "response_2": "bad"}
        | {"preference_strength": -2, "preference_statement": "s"},
        Q,
        ["good", "bad"],
        [2, 0],
    ),
    "nvidia/HelpSteer3": (
        {"domain": "d", "context": ASKED, "response1": "bad", "response2": "good", "overall_preference": 3},
        TALK,
        ["bad", "good"],
        [0, 3],
    ),
    "stanfordnlp/SHP": (
        {
            "post_id": "p",
            "history": "Why?",
            "human_ref_A": "bad",
            "human_ref_B": "good",
            "labels": 0,
            "score_A": 3,
            "score_B": 9,
        },
        Q,
        ["bad", "good"],
        [0, 1],
    ),
    "berkeley-nest/Nectar": (
        {
            "prompt": " \n\nHuman: Why?\n\nAssistant: ",
            "answers": [
                {"answer": "good", "model": "a", "rank": 1.0},
                {"answer": "bad", "model": "b", "rank": 3.0},
                {"answer": "fair", "model": "c", "rank": 2.0},
            ],
            "turns": 1,
            "num_responses": 3,
        },
        Q,
        ["good", "bad", "fair"],
        [-1, -3, -2],
    ),
    "HuggingFaceH4/stack-exchange-preferences": (
        {
            "qid": 4,
            "question": "Why?",
            "answers": [{"text": "bad", "pm_score": 1}, {"text": "good", "pm_score": 3}],
        },
        Q,
        ["bad", "good"],
        [1, 3],
    ),
    "openbmb/UltraFeedback": (
        {
            "source": "s",
            "instruction": "Why?",
            "models": ["a", "b"],
            "completions": [
                {"model": "a", "response": "good", "overall_score": 7.5, "critique": "c"},
                {"model": "b", "response": "bad", "overall_score": 2.0, "critique": "c"},
            ],
        },
        Q,
        ["good", "bad"],
        [7.5, 2],
    ),
    "lmsys/chatbot_arena_conversations": (
        {
            "conversation_a": [said("user", "Why?"), said("assistant", "bad")],
            "conversation_b": [said("user", "Why?"), said("assistant", "good")],
            "winner": "model_b",
        },
        Q,
        ["bad", "good"],
        [0, 1],
    ),
    "openai/webgpt_comparisons, flat": (
        {"question": "Why?", "response_0": "bad", "response_1": "good", "score_0": -0.5, "score_1": 0.5},
        Q,
        ["bad", "good"],
        [-0.5, 0.5],
    ),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_sets_are_understood_as_they_are(tmp_path: Path, name: str) -> None:
    row, query, responses, scores = PUBLIC[name]
    rows, counts, issues = read(tmp_path, [row, row])
    wanted = {"query_id": query_id_of(query), "query": query, "responses": responses, "scores": scores}
    assert rows == [wanted | {"type": ""}] * 2
    assert (counts["rows"], counts["kept"], issues) == (2, 2, [])


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
def test_columns_are_mapped(tmp_path: Path, name: str) -> None:
    row, columns = COLUMNS[name]
    (found,), _, _ = read(tmp_path, [row], columns=columns)
    assert (found["query"], found["responses"]) == (Q, ["good", "bad"])
    assert found["scores"][0] > found["scores"][1]


@pytest.mark.parametrize("path", ["ask", "info.text", "list.2", "list.x", "list.-1", "text.0", "info.post.a"])
def test_a_column_that_is_not_there_is_named(tmp_path: Path, path: str) -> None:
    row = {"info": {"post": "p"}, "list": ["a", "b"], "text": "t"}
    with pytest.raises(UserError, match=rf"x\.jsonl:1: found keys .* expected a column '{path}'"):
        read(tmp_path, [row], columns={"prompt": path})


def test_two_prompts_are_ambiguous_and_both_are_named(tmp_path: Path) -> None:
    row = {"prompt": "a", "question": "b", "chosen": "c", "rejected": "d"}
    with pytest.raises(UserError, match=r"of which prompt and question could each be the prompt"):
        read(tmp_path, [row])


def test_an_ambiguous_file_lists_what_it_could_be_and_a_name_decides(tmp_path: Path) -> None:
    own = {"query": Q, "responses": ["x", "y"], "scores": [1, 2]}
    row = {**own, "prompt": "Why?", "chosen": "good", "rejected": "bad"}
    with pytest.raises(UserError) as error:
        read(tmp_path, [row])
    assert "one of: responses (query, responses, scores); pairs (prompt, chosen, rejected)" in str(
        error.value
    )
    assert "data.format" in str(error.value)
    assert read(tmp_path, [row], format="pairs")[0][0]["responses"] == ["good", "bad"]
    assert read(tmp_path, [row], format="responses")[0][0]["responses"] == ["x", "y"]
    with pytest.raises(UserError, match=r"of no known format; expected one of: arena \(conversation_a"):
        read(tmp_path, [row], format="arena")
    with pytest.raises(UserError, match=r"data\.format: found 'pears'; expected '' or one of: responses"):
        read(tmp_path, [row], format="pears")


def test_a_named_format_may_have_keys_of_another(tmp_path: Path) -> None:
    row = {"question": "a template", "chosen": f"{TALK} good", "rejected": f"{TALK} bad"}
    assert read(tmp_path, [row], format="dialogues")[0][0]["query"] == TALK


@pytest.mark.parametrize("tie", [{"preference_strength": 0}, {"winner": "tie (bothbad)"}])
def test_a_tie_says_nothing(tmp_path: Path, tie: dict[str, Any]) -> None:
    name = "nvidia/HelpSteer2 preferences" if "winner" not in tie else "lmsys/chatbot_arena_conversations"
    rows, counts, _ = read(tmp_path, [PUBLIC[name][0] | tie])
    assert (rows, counts["dropped_no_preference"]) == ([], 1)


BAD_LABELS = [
    ("PKU-Alignment/PKU-SafeRLHF", {"better_response_id": 2}, "found 2 in 'better_response_id'"),
    ("PKU-Alignment/PKU-SafeRLHF", {"better_response_id": True}, "found True in 'better"),
    ("stanfordnlp/SHP", {"labels": "1"}, "found str '1' in 'labels'"),
    ("stanfordnlp/SHP", {"labels": -1}, "found -1 in 'labels'"),
    ("lmsys/chatbot_arena_conversations", {"winner": "c"}, "found str 'c' in 'winner'"),
    ("nvidia/HelpSteer2 preferences", {"preference_strength": None}, "found null in 'preference_strength'"),
    ("nvidia/HelpSteer2 preferences", {"preference_strength": float("nan")}, "found the score nan"),
    ("berkeley-nest/Nectar", {"answers": [{"answer": "a"}]}, "found an entry with .* and no score"),
    ("berkeley-nest/Nectar", {"answers": ["a"]}, "found an entry with no text and no score"),
    ("berkeley-nest/Nectar", {"answers": [{"answer": "a", "rank": 1, "score": 1}]}, "found an entry with"),
]


@pytest.mark.parametrize(("name", "change", "found"), BAD_LABELS)
def test_a_label_that_is_none_is_named(tmp_path: Path, name: str, change: dict, found: str) -> None:
    with pytest.raises(UserError, match=rf"x\.jsonl:2: {found}"):
        read(tmp_path, [PUBLIC[name][0], PUBLIC[name][0] | change])


BAD_TALKS = [
    ([said("user", "a"), said("user", "b"), said("assistant", "c")], "message 2: found role 'user'"),
    ([said("assistant", "a"), said("user", "b")], "message 1: found role 'assistant'"),
    ([said("user", "a")], "found 1 messages that do not end with an answer"),
    ([said("tool", "a")], "message 1: found the role of a tool in 'chosen'"),
    ([said("critic", "a")], r"message 1: found \{'role': 'critic', 'content': 'a'\}"),
    ([{"role": "user", "content": [{"type": "text"}]}], r"message 1: found \{'role': 'user', 'content': \["),
    ([{"role": ["user"], "content": "a"}], "message 1: found"),
    (["a"], "message 1: found str 'a' in 'chosen'"),
    ([said("user", f"a{Q}"), said("assistant", "b")], "a content that holds a turn mark"),
    ([said("user", "a\0"), said("assistant", "b")], "a NUL character"),
]


@pytest.mark.parametrize(("talk", "found"), BAD_TALKS)
def test_a_conversation_out_of_order_is_named(tmp_path: Path, talk: list, found: str) -> None:
    good = [said("user", "a"), said("assistant", "b")]
    rows = [{"chosen": good, "rejected": good}, {"chosen": talk, "rejected": good}]
    with pytest.raises(UserError, match=found):
        read(tmp_path, rows)


ANSWERED: list[tuple[dict[str, Any], str, str]] = [
    (
        {"instruction": "Add.", "input": "1 and 2", "output": "3"},
        "\n\nHuman: Add.\n\n1 and 2\n\nAssistant:",
        "3",
    ),
    ({"instruction": "Why?", "input": "", "output": "so"}, Q, "so"),
    ({"conversations": [shared("human", "Why?"), shared("gpt", "so")]}, Q, "so"),
    ({"system_prompt": "Be brief.", "question": "Why?", "response": "so"}, f"Be brief.{Q}", "so"),
    ({"prompt": "Why?", "response": "so", "helpfulness": 3}, Q, "so"),
    ({"question": "Why?", "answer": "so"}, Q, "so"),
    ({"prompt": ASKED, "completion": "so"}, TALK, "so"),
]


@pytest.mark.parametrize(("row", "query", "response"), ANSWERED)
def test_public_demonstrations(tmp_path: Path, row: dict[str, Any], query: str, response: str) -> None:
    (found,), _, _ = read(tmp_path, [row], read_demonstrations)
    assert (found["query"], found["response"]) == (query, response)


ODD = [
    ("turn_order", {"chosen": "\n\nHuman: a\n\nHuman: b\n\nAssistant: c"}, "from turn 2 on"),
    ("turn_order", {"chosen": "\n\nAssistant: a\n\nHuman: b\n\nAssistant: c"}, "from turn 1 on"),
    ("replacement_character", {"chosen": f"{Q} caf\ufffd"}, "U\\+FFFD"),
    ("too_long", {"chosen": f"{Q} {'a' * 1_000_001}"}, "a text of 1000001 characters"),
]


@pytest.mark.parametrize(("code", "change", "found"), ODD)
@pytest.mark.parametrize("action", ["error", "drop", "keep"])
def test_what_is_odd_is_found(
    tmp_path: Path, code: str, change: dict[str, str], found: str, action: str
) -> None:
    query = change["chosen"].rpartition("\n\nAssistant:")[0] + "\n\nAssistant:"
    path = tmp_path / "x.jsonl"
    rows = [{"chosen": f"{Q} a", "rejected": f"{Q} b"}, {**change, "rejected": f"{query} other"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    counts: Counter[str] = Counter()
    issues = DataIssues(ROW_ISSUES, {**ACTIONS, code: action})
    reading = read_comparisons(path, counts, issues)
    if action == "error":
        with pytest.raises(
            UserError, match=rf"x\.jsonl:2: found .*{found}.*data\.on_issue\.{code} to drop or"
        ):
            list(reading)
        return
    assert len(list(reading)) == (1 if action == "drop" else 2)
    assert counts[f"{'kept' if action == 'keep' else 'dropped'}_{code}"] == issues.counts[code] == 1


def test_a_template_of_others_is_found_in_a_query_but_not_in_an_answer(tmp_path: Path) -> None:
    row = {"prompt": "Hi<extra_id_1>Assistant\nHello<extra_id_1>User\nWhy?", "chosen": "a", "rejected": "b"}
    _, counts, _ = read(tmp_path, [row, {**row, "prompt": "x", "chosen": "<|im_start|>"}])
    assert counts["kept_chat_template"] == 1
