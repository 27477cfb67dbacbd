"""apo/datasets/pairs.py: public sets that name the better answer by its column.

The columns are those of their cards, the words are ours: `good` is the better answer, `bad` the worse.
"""

from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from tests.helpers.reading import ORCA, PAIR, TALK, WHY, asked, check_set, message, read, sharegpt, talk

Row = dict[str, Any]
CHAT = {"chosen": asked("good"), "rejected": asked("bad")}
OASST = "prompter: Hi\nassistant: Hello\nprompter: "  # turns in one text, the issue `chat_template`
TALKS = {"chosen": talk("good"), "rejected": talk("bad")}

# name: (row, query, responses from best to worst as one text)
SETS: dict[str, tuple[Row, str, str]] = {
    "Anthropic/hh-rlhf": ({"chosen": f"{TALK} good", "rejected": f"{TALK} bad"}, TALK, "good > bad"),
    "ms-swift": (
        {"messages": asked("good"), "rejected_response": "bad"},
        WHY,
        "good > bad",
    ),
    "OpenPipe": (
        {"messages": asked("good"), "rejected_message": message("assistant", "bad")},
        WHY,
        "good > bad",
    ),
    "a whole conversation rejected": (
        {"messages": talk("good"), "rejected_messages": talk("bad")},
        TALK,
        "good > bad",
    ),
    "a whole conversation rejected, a system text": (
        {"system": "Be brief.", "messages": talk("good"), "rejected_messages": talk("bad")},
        f"Be brief.{TALK}",
        "good > bad",
    ),
    "a whole conversation rejected, a history": (
        {"history": [["Hi", "Hello"]], "conversations": asked("good"), "rejected_messages": asked("bad")},
        TALK,
        "good > bad",
    ),
    "a whole conversation rejected, a history in both": (
        {"history": [["Hi", "Hello"]], "messages": asked("good"), "rejected": talk("bad")},
        TALK,
        "good > bad",
    ),
    "messages of both": (
        {"chosen_messages": talk("good"), "rejected_messages": talk("bad")},
        TALK,
        "good > bad",
    ),
    "OpenAI": (
        {"prompt": "Why?", "preferred_output": "good", "non_preferred_output": "bad"},
        WHY,
        "good > bad",
    ),
    "two names with blanks": (
        {"prompt": "Why?", "response 1": "bad", "response 2": "good", "preference": "2"},
        WHY,
        "good > bad",
    ),
    "a developer's message": (
        {
            "prompt": [message("developer", "Be brief."), message("user", "Why?")],
            "chosen": "good",
            "rejected": "bad",
        },
        f"Be brief.{WHY}",
        "good > bad",
    ),
    "an answer and a rejected one": (
        {"query": "Why?", "response": "good", "rejected_response": "bad"},
        WHY,
        "good > bad",
    ),
    "HuggingFaceH4/ultrafeedback_binarized": (
        {"prompt": "Why?", "prompt_id": "6", **CHAT, "messages": asked("good")}
        | {"score_chosen": 8.0, "score_rejected": 6.5},
        WHY,
        "good > bad",
    ),
    "argilla/dpo-mix-7k": (
        {"dataset": "d", **TALKS, "chosen_rating": 5.0, "rejected_rating": 4.0},
        TALK,
        "good > bad",
    ),
    "argilla/distilabel-capybara-dpo-7k-binarized": (
        {
            "source": "s",
            "conversation": [{"input": "Hi", "output": "Hello"}, {"input": "Why?", "output": "x"}],
            "original_response": "x",
            "prompt": "Why?",
            **TALKS,
            "rating_chosen": 5,
            "rating_rejected": 3,
        },
        TALK,
        "good > bad",
    ),
    "argilla/distilabel-intel-orca-dpo-pairs": (
        ORCA,
        f"Be brief.{WHY}",
        "good > bad",
    ),
    "argilla/ultrafeedback-binarized-preferences-cleaned": (
        {"source": "s", "prompt": "Why?", **CHAT, "chosen-rating": 5.0, "chosen-model": "m"},
        WHY,
        "good > bad",
    ),
    "argilla/ultrafeedback-binarized-preferences": (
        {"source": "s", "instruction": "Why?", "chosen_response": "good", "rejected_response": "bad"}
        | {"chosen_avg_rating": 5.0, "rejected_avg_rating": 3.5},
        WHY,
        "good > bad",
    ),
    "argilla/OpenHermesPreferences": (
        {
            "source": "s",
            "category": "c",
            "prompt": "Why?",
            "candidates_completions": ["bad", "good", "x"],
            "candidate_policies": ["a", "b", "c"],
            "ranks": [2, 0, 1],
            "rank_str": "b > c > a",
            **CHAT,
        },
        WHY,
        "good > bad",
    ),
    "Intel/orca_dpo_pairs": (
        {"system": "Be brief.", "question": "Why?", **PAIR},
        f"Be brief.{WHY}",
        "good > bad",
    ),
    "Dahoas/full-hh-rlhf": (
        {"prompt": TALK, "response": " good", "chosen": " good", "rejected": " bad"},
        TALK,
        "good > bad",
    ),
    "Dahoas/synthetic-instruct-gptj-pairwise": ({"prompt": "Why?", **PAIR}, WHY, "good > bad"),
    "allenai/llama-3.1-tulu-3-8b-preference-mixture": (
        {"id": "i", "source": "s", "prompt": "Hi", **TALKS, "chosen_model": "m", "prompt_id": "p"},
        TALK,
        "good > bad",
    ),
    "allenai/reward-bench": (
        {
            "id": 30,
            "prompt": "Why?",
            **PAIR,
            "chosen_model": "m",
            "rejected_model": "n",
            "subset": "alpacaeval",
        },
        WHY,
        "good > bad",
    ),
    "allenai/reward-bench-2": (
        {
            "id": "i",
            "prompt": "Why?",
            "chosen": ["good"],
            "rejected": ["bad", "worse", "other"],
            "num_correct": 1,
            "num_incorrect": 3,
            "total_completions": 4,
            "models": ["a", "b", "c", "d"],
            "subset": "Math",
            "additional_metadata": {"category": None},
        },
        WHY,
        "good > bad = worse = other",
    ),
    "Skywork/Skywork-Reward-Preference-80K": ({**TALKS, "source": "s"}, TALK, "good > bad"),
    "RLHFlow/HH-RLHF-Helpful-standard": (
        {**TALKS, "rejected_score": 0.1, "chosen_score": 0.9},
        TALK,
        "good > bad",
    ),
    "Magpie-Align/Magpie-Llama-3.1-Pro-DPO": (
        {
            "uuid": "u",
            "instruction": "Why?",
            "gen_response_configs": {"prompt": "x", "temperature": 0.8},
            "gen_reward_configs": {"reward_model": "m"},
            "responses": ["good", "bad"],
            "rewards_armorm": [{"model": "m", "score": 0.2}],
            **CHAT,
        },
        WHY,
        "good > bad",
    ),
    "jondurbin/truthy-dpo-v0.1": (
        {"id": "i", "source": "s", "system": "You are honest.", "prompt": "Why?", **PAIR},
        f"You are honest.{WHY}",
        "good > bad",
    ),
    "snorkelai/Snorkel-Mistral-PairRM-DPO-Dataset": (
        {
            "prompt_id": "i",
            "prompt": "Why?",
            **CHAT,
            "all_generated_responses": ["a"],
            "all_rm_scores": [0.5],
        },
        WHY,
        "good > bad",
    ),
    "tasksource/oasst1_pairwise_rlhf_reward": (
        {"lang": "en", "parent_id": "p", "prompt": f"{OASST}Why?", **PAIR},
        WHY.replace("Why?", f"{OASST}Why?"),
        "good > bad",
    ),
    "CarperAI/openai_summarize_comparisons": ({"prompt": "Why?", **PAIR}, WHY, "good > bad"),
    "mlabonne/orpo-dpo-mix-40k": (
        {"source": "s", **TALKS, "prompt": "Hi", "question": "Hi"},
        TALK,
        "good > bad",
    ),
    "llamafactory/DPO-En-Zh-20k": (
        {
            "conversations": [sharegpt("system", "Sei knapp."), sharegpt("human", "为什么")],
            "chosen": sharegpt("gpt", "好"),
            "rejected": sharegpt("gpt", "坏"),
        },
        "Sei knapp.\n\nHuman: 为什么\n\nAssistant:",
        "好 > 坏",
    ),
    "TRL, explicit": ({"prompt": "Why?", "chosen": " good", "rejected": " bad"}, WHY, "good > bad"),
    "TRL, explicit, conversational": (
        {
            "prompt": talk("x")[:-1],
            "chosen": [message("assistant", "good")],
            "rejected": [message("assistant", "bad")],
        },
        TALK,
        "good > bad",
    ),
    "TRL, implicit, conversational": (CHAT, WHY, "good > bad"),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("ending", ["jsonl", "json.gz"])
def test_choose_pair_parser_puts_the_better_answer_first(tmp_path: Path, name: str, ending: str) -> None:
    check_set(tmp_path / f"x.{ending}", *SETS[name])


@pytest.mark.parametrize("name", ["allenai/reward-bench-2"])
def test_choose_pair_parser_reads_parquet_the_same(tmp_path: Path, name: str) -> None:
    check_set(tmp_path / "x.parquet", *SETS[name])


QUOTED = [
    {"prompt": "Q", "chosen": ["Q", "A", "Q2", "good"], "rejected": ["Q", "A", "Q2", "bad"]},
    {"prompt": "Hello", "chosen": ["Hello", "good"], "rejected": ["Hello", "bad"]},
    {"chosen": ["Hello", "good"], "rejected": ["Hello", "bad"]},
]


@pytest.mark.parametrize("row", QUOTED)
def test_choose_pair_parser_refuses_turns_in_a_list_of_texts(tmp_path: Path, row: Row) -> None:
    with pytest.raises(UserError, match=r"in 'chosen'.*write turns as messages"):
        read(tmp_path / "x.jsonl", [row])
