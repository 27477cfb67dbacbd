"""apo/datasets/format_table.py: rows of public sets in their own columns, and the exact records they give."""

from pathlib import Path
from typing import Any

import pytest

from apo.core.dialogue import query_id_of
from apo.core.errors import UserError
from tests.helpers.reading import TALK, WHY, message, read, sharegpt, talk

ASKED = talk("")[:-1]

# What a row of the set looks like, and the query, responses and scores that it says.
PUBLIC: dict[str, tuple[dict[str, Any], str, list[str], list[float]]] = {
    "prompt repeated in the answers": (
        {"prompt": TALK, "chosen": f"{TALK} good", "rejected": f"{TALK} bad"},
        TALK,
        ["good", "bad"],
        [1, 0],
    ),
    "a system message before the prompt": (
        {
            "prompt": "Why?",
            "chosen": [message("system", "Be brief."), message("user", "Why?"), message("assistant", "good")],
            "rejected": [
                message("system", "Be brief."),
                message("user", "Why?"),
                message("assistant", "bad"),
            ],
        },
        f"Be brief.{WHY}",
        ["good", "bad"],
        [1, 0],
    ),
    "orca_dpo_pairs, empty system": (
        {"system": "", "question": "Why?", "chosen": "good", "rejected": "bad"},
        WHY,
        ["good", "bad"],
        [1, 0],
    ),
    "argilla/distilabel-intel-orca-dpo-pairs": (
        {"system": None, "input": "Why?", "chosen": "good", "rejected": "bad", "rating": [9.0, 7.0]},
        WHY,
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
            "conversations": [sharegpt("human", "Hi"), sharegpt("gpt", "Hello"), sharegpt("human", "Why?")],
            "chosen": sharegpt("gpt", "good"),
            "rejected": sharegpt("gpt", "bad"),
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
        WHY,
        ["bad", "good"],
        [0, 1],
    ),
    "nvidia/HelpSteer2 preferences": (
        {"split": "train", "prompt": "Why?", "response_1": "good", "response_2": "bad"}
        | {"preference_strength": -2, "preference_statement": "s"},
        WHY,
        ["good", "bad"],
        [2, 0],
    ),
    "nvidia/HelpSteer3": (
        {"domain": "d", "context": ASKED, "response1": "good", "response2": "bad", "overall_preference": -3},
        TALK,
        ["good", "bad"],
        [3, 0],
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
        WHY,
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
        WHY,
        ["good", "bad", "fair"],
        [-1, -3, -2],
    ),
    "HuggingFaceH4/stack-exchange-preferences": (
        {
            "qid": 4,
            "question": "Why?",
            "answers": [{"text": "bad", "pm_score": 1}, {"text": "good", "pm_score": 3}],
        },
        WHY,
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
        WHY,
        ["good", "bad"],
        [7.5, 2],
    ),
    "lmsys/chatbot_arena_conversations": (
        {
            "conversation_a": [message("user", "Why?"), message("assistant", "bad")],
            "conversation_b": [message("user", "Why?"), message("assistant", "good")],
            "winner": "model_b",
        },
        WHY,
        ["bad", "good"],
        [0, 1],
    ),
    "openai/webgpt_comparisons, flat": (
        {"question": "Why?", "response_0": "bad", "response_1": "good", "score_0": -0.5, "score_1": 0.5},
        WHY,
        ["bad", "good"],
        [-0.5, 0.5],
    ),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_rows_give_exact_records(tmp_path: Path, name: str) -> None:
    row, query, responses, scores = PUBLIC[name]
    rows, counts, _, issues, _ = read(tmp_path, [row, row])
    wanted = {"query_id": query_id_of(query), "query": query, "responses": responses, "scores": scores}
    assert rows == [wanted | {"type": ""}] * 2
    assert (counts["rows"], counts["kept"], issues) == (2, 2, [])


@pytest.mark.parametrize("tie", [{"preference_strength": 0}, {"winner": "tie (bothbad)"}])
def test_tie_in_a_public_row_is_no_preference(tmp_path: Path, tie: dict[str, Any]) -> None:
    name = "nvidia/HelpSteer2 preferences" if "winner" not in tie else "lmsys/chatbot_arena_conversations"
    result = read(tmp_path, [PUBLIC[name][0] | tie])
    assert (result.records, result.counts["dropped_no_preference"]) == ([], 1)


BAD_LABELS = [
    ("PKU-Alignment/PKU-SafeRLHF", {"better_response_id": 2}, "found 2 in 'better_response_id'"),
    ("PKU-Alignment/PKU-SafeRLHF", {"better_response_id": True}, "found True in 'better"),
    ("stanfordnlp/SHP", {"labels": "3"}, "found str '3' in 'labels'"),
    ("stanfordnlp/SHP", {"labels": -1}, "found -1 in 'labels'"),
    ("lmsys/chatbot_arena_conversations", {"winner": "c"}, "found str 'c' in 'winner'"),
    ("nvidia/HelpSteer2 preferences", {"preference_strength": None}, "found null in 'preference_strength'"),
    ("nvidia/HelpSteer2 preferences", {"preference_strength": float("nan")}, "found the score nan"),
    ("berkeley-nest/Nectar", {"answers": [{"answer": "a"}]}, "found an entry with .* and no score"),
    ("berkeley-nest/Nectar", {"answers": ["a"]}, "found an entry with no text and no score"),
    ("berkeley-nest/Nectar", {"answers": [{"answer": "a", "rank": 1, "score": 1}]}, "found an entry with"),
]


@pytest.mark.parametrize(("name", "change", "message"), BAD_LABELS)
def test_invalid_label_of_a_public_row_is_named(
    tmp_path: Path, name: str, change: dict, message: str
) -> None:
    with pytest.raises(UserError, match=rf"x\.jsonl:2: {message}"):
        read(tmp_path, [PUBLIC[name][0], PUBLIC[name][0] | change])
