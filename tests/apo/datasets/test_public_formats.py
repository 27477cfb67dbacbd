"""Public preference sets in the columns that their cards show, as JSON Lines and parquet; the words are ours.

Every row says which answer is better by its words: `good` is the better one, `bad` the worse.
"""

import gzip
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pyarrow import Table, parquet

from apo.core.config import read_section
from apo.core.data_issues import DataIssues
from apo.core.errors import UserError
from apo.datasets.file_reader import ReadOptions
from apo.datasets.issues import ROW_ISSUES
from apo.datasets.readers import read_comparisons

PARAMS = Path(__file__).parents[3] / "params.yaml"
ACTIONS = read_section(PARAMS, ROW_ISSUES.section, ROW_ISSUES.settings).actions()
Q = "\n\nHuman: Why?\n\nAssistant:"
TALK = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Why?\n\nAssistant:"
Row = dict[str, Any]


def said(role: str, content: str) -> Row:
    return {"role": role, "content": content}


def shared(role: str, content: str) -> Row:
    return {"from": role, "value": content}


def asked(answer: str) -> list[Row]:
    return [said("user", "Why?"), said("assistant", answer)]


def talk(answer: str) -> list[Row]:
    return [said("user", "Hi"), said("assistant", "Hello"), *asked(answer)]


def read(path: Path, rows: list[Row] | None = None, **options: Any) -> tuple[list[Row], Counter[str]]:
    """The comparisons of a file, which holds the rows if they are given."""
    if rows is not None and path.suffix == ".parquet":
        parquet.write_table(Table.from_pylist(rows), path)
    elif rows is not None and path.suffix == ".gz":
        path.write_bytes(gzip.compress(json.dumps(rows).encode()))
    elif rows is not None:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    counts: Counter[str] = Counter()
    issues = DataIssues(ROW_ISSUES, ACTIONS)
    return list(read_comparisons(path, counts, issues, ReadOptions(**options))), counts


ARENA = {"model_a": "m", "model_b": "n", "turn": 1, "anony": True, "language": "English", "tstamp": 1.5}
PARTS = [{"type": "text", "text": "Why?", "image": None, "mimeType": None}]
GOOD_PARTS = [{"type": "text", "text": "good", "image": None, "mimeType": None}]
BAD_PARTS = [{"type": "text", "text": "bad", "image": None, "mimeType": None}]
PAIR = {"chosen": "good", "rejected": "bad"}
CHAT = {"chosen": asked("good"), "rejected": asked("bad")}
TALKS = {"chosen": talk("good"), "rejected": talk("bad")}

# name: (row, query, responses from best to worst as one text)
SETS: dict[str, tuple[Row, str, str]] = {
    "Anthropic/hh-rlhf": ({"chosen": f"{TALK} good", "rejected": f"{TALK} bad"}, TALK, "good > bad"),
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
        Q,
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
        Q.replace("Why", "T\n\nWhy"),
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
        Q,
        "good > bad",
    ),
    "HuggingFaceH4/ultrafeedback_binarized": (
        {"prompt": "Why?", "prompt_id": "6", **CHAT, "messages": asked("good")}
        | {"score_chosen": 8.0, "score_rejected": 6.5},
        Q,
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
        Q,
        "good > fair > bad",
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
        {
            "system": "Be brief.",
            "input": "Why?",
            **PAIR,
            "generations": ["good", "bad"],
            "order": ["chosen", "rejected"],
            "labelling_prompt": [said("system", "s"), said("user", "u")],
            "rating": [9.0, 7.0],
            "status": "unchanged",
            "chosen_score": 9.0,
            "in_gsm8k_train": False,
        },
        f"Be brief.{Q}",
        "good > bad",
    ),
    "argilla/ultrafeedback-binarized-preferences-cleaned": (
        {"source": "s", "prompt": "Why?", **CHAT, "chosen-rating": 5.0, "chosen-model": "m"},
        Q,
        "good > bad",
    ),
    "argilla/ultrafeedback-binarized-preferences": (
        {"source": "s", "instruction": "Why?", "chosen_response": "good", "rejected_response": "bad"}
        | {"chosen_avg_rating": 5.0, "rejected_avg_rating": 3.5},
        Q,
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
        Q,
        "good > bad",
    ),
    "Intel/orca_dpo_pairs": (
        {"system": "Be brief.", "question": "Why?", **PAIR},
        f"Be brief.{Q}",
        "good > bad",
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
        Q,
        "good > bad",
    ),
    "nvidia/HelpSteer3": (
        {
            "domain": "general",
            "language": "english",
            "context": talk("x")[:-1],
            "response1": "bad",
            "response2": "good",
            "overall_preference": 2,
            "individual_preference": [{"score": 2, "reasoning": "r", "feedback1": "f", "feedback2": "g"}],
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
        Q,
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
        Q,
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
        Q,
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
        Q,
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
        Q,
        "good > bad",
    ),
    "lmarena-ai/arena-human-preference-140k": (
        {
            "id": "5",
            "model_a": "m",
            "model_b": "n",
            "winner": "model_b",
            "evaluation_order": 1,
            "conversation_a": [
                {"role": "user", "content": PARTS},
                {"role": "assistant", "content": BAD_PARTS},
            ],
            "conversation_b": [
                {"role": "user", "content": PARTS},
                {"role": "assistant", "content": GOOD_PARTS},
            ],
            "full_conversation": [{"user": {"role": "user", "content": PARTS}}],
            "language": "en",
            "is_code": False,
        },
        Q,
        "good > bad",
    ),
    "lmarena-ai/PPE-Human-Preference-V1": (
        {"question_id": "5", "model_1": "m", "model_2": "n", "winner": "model_b", "prompt": "Why?"}
        | {"response_1": "bad", "response_2": "good", "language": "English"},
        Q,
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
        Q,
        "good > fair > bad",
    ),
    "Dahoas/full-hh-rlhf": (
        {"prompt": TALK, "response": " good", "chosen": " good", "rejected": " bad"},
        TALK,
        "good > bad",
    ),
    "Dahoas/synthetic-instruct-gptj-pairwise": ({"prompt": "Why?", **PAIR}, Q, "good > bad"),
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
        Q,
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
        Q,
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
        Q,
        "good > bad",
    ),
    "jondurbin/truthy-dpo-v0.1": (
        {"id": "i", "source": "s", "system": "You are honest.", "prompt": "Why?", **PAIR},
        f"You are honest.{Q}",
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
        Q,
        "good > bad",
    ),
    "tasksource/oasst1_pairwise_rlhf_reward": (
        {"lang": "en", "parent_id": "p", "prompt": "Why?", **PAIR},
        Q,
        "good > bad",
    ),
    "CarperAI/openai_summarize_comparisons": ({"prompt": "Why?", **PAIR}, Q, "good > bad"),
    "lvwerra/stack-exchange-paired": (
        {
            "qid": 4,
            "question": "Why?",
            "date": "d",
            "metadata": ["m"],
            "response_j": "good",
            "response_k": "bad",
        },
        Q,
        "good > bad",
    ),
    "mlabonne/orpo-dpo-mix-40k": (
        {"source": "s", **TALKS, "prompt": "Hi", "question": "Hi"},
        TALK,
        "good > bad",
    ),
    "tatsu-lab/alpaca_farm": (
        {"instruction": "Why?", "input": "", "output_1": "bad", "output_2": "good", "preference": 2},
        Q,
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
        Q,
        "good > bad",
    ),
    "llamafactory/DPO-En-Zh-20k": (
        {
            "conversations": [shared("system", "Sei knapp."), shared("human", "为什么")],
            "chosen": shared("gpt", "好"),
            "rejected": shared("gpt", "坏"),
        },
        "Sei knapp.\n\nHuman: 为什么\n\nAssistant:",
        "好 > 坏",
    ),
    "TRL, explicit": ({"prompt": "Why?", "chosen": " good", "rejected": " bad"}, Q, "good > bad"),
    "TRL, explicit, conversational": (
        {
            "prompt": talk("x")[:-1],
            "chosen": [said("assistant", "good")],
            "rejected": [said("assistant", "bad")],
        },
        TALK,
        "good > bad",
    ),
    "TRL, implicit, conversational": (CHAT, Q, "good > bad"),
}


def order(row: Row) -> str:
    """The responses from best to worst."""
    ranked = sorted(zip(row["scores"], row["responses"], strict=True), key=lambda one: -one[0])
    text = ranked[0][1]
    for (score, _), (lower, response) in pairwise(ranked):
        text += f" {'=' if score == lower else '>'} {response}"
    return text


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("ending", ["jsonl", "json.gz"])
def test_a_set_is_read_the_right_way_round(tmp_path: Path, name: str, ending: str) -> None:
    check(tmp_path / f"x.{ending}", *SETS[name])


# Those whose values are nested, null or of several types; a process for each takes a while.
NESTED = [
    "openai/summarize_from_feedback, comparisons",
    "openbmb/UltraFeedback",
    "nvidia/HelpSteer3",
    "lmarena-ai/arena-human-preference-140k",
    "allenai/reward-bench-2",
]


@pytest.mark.parametrize("name", NESTED)
def test_a_set_in_parquet_is_read_the_same(tmp_path: Path, name: str) -> None:
    check(tmp_path / "x.parquet", *SETS[name])


def check(path: Path, row: Row, query: str, ranked: str) -> None:
    found, counts = read(path, [row] * 2)
    assert [(one["query"], order(one)) for one in found] == [(query, ranked)] * 2
    assert (counts["rows"], counts["kept"]) == (2, 2)


# What has to be named ------------------------------------------------------------------------------

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
def test_a_set_is_named_by_its_columns(tmp_path: Path, name: str) -> None:
    row, columns = NAMED[name]
    with pytest.raises(UserError, match=r"of no known format.*map columns"):
        read(tmp_path / "x.jsonl", [row])
    ((found,), _) = read(tmp_path / "x.jsonl", [row], columns=columns)
    assert (found["query"], order(found)) == (Q, "good > bad")


# What is refused ------------------------------------------------------------------------------------

KTO = {"prompt": "Why?", "completion": "good", "label": True}
SIDES = {"prompt": "Why?", "response_a": "good", "response_b": "bad"}
MESSAGES = "[{'role': 'user', 'content': 'Why?'}, {'role': 'assistant', 'content': 'good'}]"
REFUSED: dict[str, tuple[Row, str]] = {
    "trl-lib/kto-mix-14k": (KTO, "one answer .* as KTO takes them"),
    "the same as messages": (KTO | {"prompt": asked("x")[:1], "completion": asked("x")[1:]}, "as KTO takes"),
    "PKU-Alignment/BeaverTails": ({"prompt": "Why?", "response": "x", "is_safe": False}, "as KTO takes them"),
    "rows in an object": ({"data": [{"prompt": "Why?", **PAIR}]}, "all rows under 'data'"),
    "other letters": ({"Prompt": "Why?", "Chosen": "a", "Rejected": "b"}, "'prompt': keys are compared"),
    "TRL, implicit": (PAIR, "text that is no dialogue"),
    "a number for a letter": (SIDES | {"winner": 1}, "a number of the better one, or its letter"),
    "an index for a number": (
        {"prompt": "Why?", "output_1": "a", "output_2": "b", "preference": 0},
        "found 0 in 'preference' for answers that end in '1' and '2'",
    ),
    "a verdict that is none": (SIDES | {"winner": "model_a_strong"}, "found str 'model_a_strong'"),
    "messages as Python writes them": (
        {"prompt": "Why?", "chosen": MESSAGES, "rejected": MESSAGES},
        "messages written as a text",
    ),
    "whole dialogues behind a prompt": (
        {"prompt": "Why?", "chosen": f"{Q} good", "rejected": f"{Q} bad"},
        "a whole dialogue",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_comparison_is_told(tmp_path: Path, name: str) -> None:
    row, message = REFUSED[name]
    with pytest.raises(UserError, match=message):
        read(tmp_path / "x.jsonl", [row])


def test_ties_are_counted_and_grades_are_compared(tmp_path: Path) -> None:
    verdicts = ["tie", "both_bad", "tie (bothbad)", "Tie", "model_b", "A"]
    found, counts = read(tmp_path / "x.jsonl", [SIDES | {"winner": one} for one in verdicts])
    assert ([one["scores"] for one in found], counts["dropped_no_preference"]) == ([[0, 1], [1, 0]], 4)
    grades = [{"score_chosen": 1, "score_rejected": other} for other in (0, 1, 2)]
    _, counts = read(tmp_path / "x.jsonl", [{"prompt": "Why?", **PAIR} | one for one in grades])
    assert (counts["pairs_graded_alike"], counts["pairs_graded_the_other_way"], counts["kept"]) == (1, 1, 3)


def test_messages_before_and_in_a_conversation_are_joined_once(tmp_path: Path) -> None:
    for taken in range(4):
        row = {side: talk(answer)[taken:] for side, answer in PAIR.items()} | {"prompt": talk("x")[:-1]}
        ((found,), _) = read(tmp_path / "x.jsonl", [row])
        assert (found["query"], order(found)) == (TALK, "good > bad")


# Tables and files in disguise -----------------------------------------------------------------------


def test_a_table_is_read_with_its_numbers_and_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b'\xef\xbb\xbfprompt,response_0,response_1,better\r\n"Why, ""so""\n?",bad,good,1\r\n')
    ((found,), _) = read(path)
    assert (found["query"], order(found)) == ('\n\nHuman: Why, "so"\n?\n\nAssistant:', "good > bad")
    (tmp_path / "x.tsv").write_text(
        "prompt\tscore_0\tscore_1\tresponse_0\tresponse_1\nWhy?\t9\t10\tbad\tgood\n"
    )
    assert order(read(tmp_path / "x.tsv")[0][0]) == "good > bad"
    path.write_text(
        'id,prompt,response_a,response_b,winner_model_a,winner_model_b,winner_tie\n1,"[""Why?""]",'
        '"[""bad""]","[""good""]",0,1,0\n'
    )
    assert order(read(path)[0][0]) == "good > bad"


BROKEN = {
    "a.csv": (b'prompt,chosen,rejected\nWhy?,"good,bad\n', "no row of a table"),
    "b.csv": (b"prompt,chosen,chosen\n1,2,3\n", "the column 'chosen' twice"),
    "c.csv": (b"prompt,chosen,rejected\nWhy?,good\n", "found 2 values"),
    "d.csv": (b"prompt,chosen,rejected\n\xfc,a,b\n", "not UTF-8"),
    "e.csv": (b"prompt,chosen,rejected\n", "no rows"),
    "a.jsonl": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    "a.parquet": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    "a.jsonl.gz": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    "b.jsonl": (b"\n<!DOCTYPE html><html>404", "a web page"),
    "c.json": (b"PK\x03\x04...", "a zip archive"),
    "d.jsonl": ("{}".encode("utf-16"), "text in UTF-16"),
    "e.jsonl": (gzip.compress(b"{}", mtime=0), "gzip data"),
    "f.jsonl": (b'{"prompt": "a", "chosen": "b", "chosen": "c", "rejected": "d"}', "the key 'chosen' twice"),
    "f.json": (b'[{"prompt": "a", "chosen": "b", "chosen": "c"}]', "the key 'chosen' twice"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_another_thing_is_told(tmp_path: Path, name: str) -> None:
    data, message = BROKEN[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message):
        read(tmp_path / name)
