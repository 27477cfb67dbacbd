"""apo/datasets/public_formats.py: public sets with indices, grades, votes or two sides.

The columns are those of their cards, the words are ours: `good` is the better answer, `bad` the worse.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.reading import TALK, WHY, asked, check_set, talk

Row = dict[str, Any]
ARENA = {"model_a": "m", "model_b": "n", "turn": 1, "anony": True, "language": "English", "tstamp": 1.5}


def in_parts(role: str, text: str) -> Row:
    """A message whose content is a list of parts."""
    return {"role": role, "content": [{"type": "text", "text": text, "image": None, "mimeType": None}]}


# name: (row, query, responses from best to worst as one text)
SETS: dict[str, tuple[Row, str, str]] = {
    "stanfordnlp/SHP": (
        {
            "post_id": "p1",
            "domain": "askcooks_train",
            "upvote_ratio": 0.9,
            "history": "Why?",
            "c_root_id_A": "x",
            "c_root_id_B": "y",
            "created_at_utc_A": 1,
            "created_at_utc_B": 2,
            "score_A": 4,
            "score_B": 9,
            "human_ref_A": "bad",
            "human_ref_B": "good",
            "labels": 0,
            "seconds_difference": 3.0,
            "score_ratio": 2.2,
        },
        WHY,
        "good > bad",
    ),
    "openai/summarize_from_feedback, comparisons": (
        {
            "info": {
                "id": "t3",
                "post": "Why?",
                "title": "T",
                "subreddit": "s",
                "site": None,
                "article": None,
            },
            "summaries": [
                {"text": "bad", "action": "p", "note": "n"},
                {"text": "good", "action": "r", "note": ""},
            ],
            "choice": 1,
            "worker": "w",
            "batch": "b",
            "split": "train",
            "extra": {"confidence": 7},
        },
        WHY.replace("Why", "T\n\nWhy"),
        "good > bad",
    ),
    "openai/webgpt_comparisons": (
        {
            "question": {"dataset": "eli5", "id": "q", "full_text": "Why?"},
            "quotes_0": {"title": ["t"], "extract": ["e"]},
            "answer_0": "bad",
            "tokens_0": {"prefix": [1], "completion": [2]},
            "score_0": -0.5,
            "quotes_1": {"title": ["t"], "extract": ["e"]},
            "answer_1": "good",
            "tokens_1": {"prefix": [1], "completion": [2]},
            "score_1": 0.5,
        },
        WHY,
        "good > bad",
    ),
    "openbmb/UltraFeedback": (
        {
            "source": "s",
            "instruction": "Why?",
            "models": ["a", "b"],
            "completions": [
                {
                    "model": model,
                    "principle": "honesty",
                    "custom_system_prompt": "Be honest.",
                    "response": response,
                    "annotations": {"honesty": {"Rating": "4", "Rationale": "r"}},
                    "fine-grained_score": 4.0,
                    "critique": "c",
                    "overall_score": score,
                }
                for model, response, score in (("a", "bad", 2.0), ("b", "good", 7.5), ("c", "fair", 5.0))
            ],
            "correct_answers": ["None"],
            "incorrect_answers": ["None"],
        },
        WHY,
        "good > fair > bad",
    ),
    "nvidia/HelpSteer2, preference": (
        {
            "split": "train",
            "prompt": "Why?",
            "response_1": "good",
            "response_2": "bad",
            "preference_strength": -2,
            "preference_statement": "s",
            "preference_elaboration": "e",
            "three_most_similar_preferences": [{"statement": "s", "strength": -2}],
            "all_preferences_unprocessed": [
                {"strength": -2, "statement": "s"},
                {"strength": 1, "statement": "t"},
            ],
        },
        WHY,
        "good > bad",
    ),
    "nvidia/HelpSteer3": (
        {
            "domain": "general",
            "language": "english",
            "context": talk("x")[:-1],
            "response1": "good",
            "response2": "bad",
            "overall_preference": -2,
            "individual_preference": [{"score": -2, "reasoning": "r", "feedback1": "f", "feedback2": "g"}],
        },
        TALK,
        "good > bad",
    ),
    "PKU-Alignment/PKU-SafeRLHF": (
        {
            "prompt": "Why?",
            "response_0": "bad",
            "response_1": "good",
            "prompt_source": "s",
            "is_response_0_safe": True,
            "is_response_1_safe": False,
            "response_0_harm_category": {"Cybercrime": False},
            "better_response_id": 1,
            "safer_response_id": 0,
            "response_0_sha256": "x",
        },
        WHY,
        "good > bad",
    ),
    "lmsys/chatbot_arena_conversations": (
        {
            "question_id": "5",
            "winner": "model_b",
            "judge": "arena_user_1",
            "conversation_a": asked("bad"),
            "conversation_b": asked("good"),
            **ARENA,
            "openai_moderation": {"categories": {"hate": False}, "flagged": False},
            "toxic_chat_tag": {"roberta-large": {"flagged": False, "probability": 0.01}},
        },
        WHY,
        "good > bad",
    ),
    "lmsys/mt_bench_human_judgments": (
        {
            "question_id": 81,
            "model_a": "m",
            "model_b": "n",
            "winner": "model_a",
            "judge": "author_1",
            "turn": 1,
        }
        | {"conversation_a": asked("good"), "conversation_b": asked("bad")},
        WHY,
        "good > bad",
    ),
    "lmsys/lmsys-arena-human-preference-55k": (
        {
            "id": 30192,
            "model_a": "m",
            "model_b": "n",
            "prompt": '["Why?"]',
            "response_a": '["bad"]',
            "response_b": '["good"]',
            "winner_model_a": 0,
            "winner_model_b": 1,
            "winner_tie": 0,
        },
        WHY,
        "good > bad",
    ),
    "lmarena-ai/arena-human-preference-100k": (
        {
            "question_id": "5",
            "winner": "model_a",
            "judge": "j",
            "conversation_a": asked("good"),
            "conversation_b": asked("bad"),
            **ARENA,
            "conv_metadata": {"sum_user_tokens": 3, "bold_count_a": {"**": 1}},
            "dedup_tag": {"high_freq": False, "sampled": True},
            "category_tag": {"if_v0.1": {"if": False, "score": 1}},
        },
        WHY,
        "good > bad",
    ),
    "lmarena-ai/arena-human-preference-140k": (
        {
            "id": "5",
            "model_a": "m",
            "model_b": "n",
            "winner": "model_b",
            "evaluation_order": 1,
            "conversation_a": [in_parts("user", "Why?"), in_parts("assistant", "bad")],
            "conversation_b": [in_parts("user", "Why?"), in_parts("assistant", "good")],
            "full_conversation": [{"user": in_parts("user", "Why?")}],
            "language": "en",
            "is_code": False,
        },
        WHY,
        "good > bad",
    ),
    "lmarena-ai/PPE-Human-Preference-V1": (
        {"question_id": "5", "model_1": "m", "model_2": "n", "winner": "model_b", "prompt": "Why?"}
        | {"response_1": "bad", "response_2": "good", "language": "English"},
        WHY,
        "good > bad",
    ),
    "berkeley-nest/Nectar": (
        {
            "prompt": " \n\nHuman: Why?\n\nAssistant: ",
            "answers": [
                {"answer": "bad", "model": "a", "rank": 3.0},
                {"answer": "good", "model": "b", "rank": 1.0},
                {"answer": "fair", "model": "c", "rank": 2.0},
            ],
            "turns": 1,
            "num_responses": 3,
            "source": ["s"],
            "good_natured": True,
        },
        WHY,
        "good > fair > bad",
    ),
    "lvwerra/stack-exchange-paired": (
        {
            "qid": 4,
            "question": "Why?",
            "date": "d",
            "metadata": ["m"],
            "response_j": "good",
            "response_k": "bad",
        },
        WHY,
        "good > bad",
    ),
    "tatsu-lab/alpaca_farm": (
        {"instruction": "Why?", "input": "", "output_1": "bad", "output_2": "good", "preference": 2},
        WHY,
        "good > bad",
    ),
    "llm-blender/Unified-Feedback": (
        {
            "id": "i",
            "conv_A": asked("good"),
            "conv_B": asked("bad"),
            "conv_A_rating": 5.0,
            "conv_B_rating": 1.0,
        }
        | {"conv_A_user_agent": "a", "source": "s"},
        WHY,
        "good > bad",
    ),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("ending", ["jsonl", "json.gz"])
def test_public_set_is_read_with_the_better_answer_first(tmp_path: Path, name: str, ending: str) -> None:
    check_set(tmp_path / f"x.{ending}", *SETS[name])


# Those whose values are nested, null or of several types; a process for each takes a while.
NESTED = [
    "openai/summarize_from_feedback, comparisons",
    "openbmb/UltraFeedback",
    "nvidia/HelpSteer3",
    "lmarena-ai/arena-human-preference-140k",
]


@pytest.mark.parametrize("name", NESTED)
def test_public_set_in_parquet_is_read_the_same(tmp_path: Path, name: str) -> None:
    check_set(tmp_path / "x.parquet", *SETS[name])
