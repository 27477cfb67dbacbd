"""apo/datasets/suspicious.py: suspicious texts in a row, by the action set."""

import time
from pathlib import Path

import pytest

from apo.core.errors import UserError
from apo.datasets.suspicious import has_template_marks
from tests.helpers.reading import WHY, read, write

ODD = [
    ("turn_order", {"chosen": "\n\nHuman: a\n\nHuman: b\n\nAssistant: c"}, "from turn 2 on"),
    ("turn_order", {"chosen": "\n\nAssistant: a\n\nHuman: b\n\nAssistant: c"}, "from turn 1 on"),
    ("replacement_character", {"chosen": f"{WHY} caf\ufffd"}, "U\\+FFFD"),
    ("too_long", {"chosen": f"{WHY} {'a' * 1_000_001}"}, "a text of 1000001 characters"),
]


@pytest.mark.parametrize(("code", "change", "message"), ODD)
@pytest.mark.parametrize("action", ["error", "drop", "keep"])
def test_suspicious_texts_applies_the_action_to_a_suspicious_text(
    tmp_path: Path, code: str, change: dict[str, str], message: str, action: str
) -> None:
    query = change["chosen"].rpartition("\n\nAssistant:")[0] + "\n\nAssistant:"
    rows = [{"chosen": f"{WHY} a", "rejected": f"{WHY} b"}, {**change, "rejected": f"{query} other"}]
    path = write(tmp_path / "x.jsonl", rows)
    if action == "error":
        with pytest.raises(
            UserError, match=rf"x\.jsonl:2: found .*{message}.*data\.on_issue\.{code} to drop or"
        ):
            read(path, actions={code: action})
        return
    result = read(path, actions={code: action})
    assert len(result.records) == (1 if action == "drop" else 2)
    assert result.counts[f"{'kept' if action == 'keep' else 'dropped'}_{code}"] == result.issues[code] == 1


def test_suspicious_texts_finds_chat_template_marks_in_queries_alone(tmp_path: Path) -> None:
    row = {"prompt": "Hi<extra_id_1>Assistant\nHello<extra_id_1>User\nWhy?", "chosen": "a", "rejected": "b"}
    counts = read(tmp_path, [row, {**row, "prompt": "x", "chosen": "<|im_start|>"}]).counts
    assert counts["kept_chat_template"] == 1


RENDERED = [
    "<|user|>\nHi\n<|assistant|>\nHello\n<|user|>\nWhy?\n<|assistant|>\n",
    "<|prompter|>Why?<|endoftext|><|assistant|>",
    "Below is an instruction.\n\n### Instruction:\nWhy?\n\n### Response:\n",
    "### Human: Hi\n### Assistant: Hello\n### Human: Why?\n### Assistant:",
    "A chat of two. USER: Hi ASSISTANT: Hello</s>USER: Why? ASSISTANT:",
    "User: Hi\nAI: Hello\nUser: Why?\nAI:",
    "System: Be brief.\nUser: Why?\nBot:",
    "prompter: Why?",
    "用户\uff1a为什么\n助手\uff1a",
    "<\uff5cUser\uff5c>Why?<\uff5cAssistant\uff5c>",
    "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Why?",
    "<|start_of_role|>user<|end_of_role|>Why?",
    "<|im_user|>user<|im_middle|>Why?",
    "<|header_start|>user<|header_end|>\n\nWhy?<|eot|>",
    "<|start|>user<|message|>Why?<|end|>",
    "[INST] Why?",
    "<human>: Hi\n<bot>:",
    "[|Human|] Why?\n[|AI|]",
]


@pytest.mark.parametrize("prompt", RENDERED)
def test_suspicious_texts_finds_the_marks_of_many_templates(tmp_path: Path, prompt: str) -> None:
    row = {"prompt": prompt, "chosen": "a", "rejected": "b"}
    assert read(tmp_path, [row]).issues == {"chat_template": 1}


PLAIN = [
    "user: root",
    "What does User: mean?",
    "Sum up:\nUser: Hi\nBot: Hello",
    "Vec<String> [x]: why?",
    "## Input: 3",
]


@pytest.mark.parametrize("prompt", PLAIN)
def test_suspicious_texts_takes_no_line_inside_a_prompt_for_a_template(tmp_path: Path, prompt: str) -> None:
    assert read(tmp_path, [{"prompt": prompt, "chosen": "a", "rejected": "b"}]).issues == {}


@pytest.mark.parametrize("text", ["\n" * 500_000 + ":", "user:" + "\n " * 400_000, "### input: " * 80_000])
def test_has_template_marks_takes_no_quadratic_time(text: str) -> None:
    begin = time.perf_counter()
    assert not has_template_marks(text)
    assert time.perf_counter() - begin < 10


@pytest.mark.parametrize(
    "prompt", ["<image>\nWhy?", "<image>Why?", "Why?\n<image>", "<image_1> Why?", "<|image|>\nWhy?"]
)
def test_suspicious_texts_finds_the_mark_of_an_image(tmp_path: Path, prompt: str) -> None:
    row = {"prompt": prompt, "chosen": "a", "rejected": "b"}
    with pytest.raises(UserError, match=r"image.*data\.on_issue\.unsupported_column to drop or keep"):
        read(tmp_path, [row])
    svg = {**row, "prompt": "What is <svg><image></image></svg>?"}
    assert not read(tmp_path, [svg]).issues


@pytest.mark.parametrize("blank", ["nan", "NaN", "None", "null"])
def test_suspicious_texts_counts_an_answer_that_is_no_value(tmp_path: Path, blank: str) -> None:
    (tmp_path / "x.csv").write_text(f"prompt,chosen,rejected\nWhy?,good,{blank}\nHow?,{blank} at all,bad\n")
    result = read(tmp_path / "x.csv")
    assert (len(result.records), result.issues) == (2, {"json_text": 1})


@pytest.mark.parametrize(
    "end", ["</s>", "<|im_end|>", "<|eot_id|>\n", "<end_of_turn>", "<|im_end|><|endoftext|>"]
)
def test_suspicious_texts_counts_the_end_of_a_turn_in_a_response(tmp_path: Path, end: str) -> None:
    rows = [{"prompt": "Why?", "chosen": f"a{end}", "rejected": "b"}]
    rows += [{"prompt": "How?", "chosen": "<s>struck</s>", "rejected": f"{end} is a token"}]
    assert read(tmp_path, rows).issues == {"chat_template": 1}
