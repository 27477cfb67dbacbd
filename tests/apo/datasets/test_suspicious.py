"""apo/datasets/suspicious.py: suspicious texts in a row, by the action set."""

from pathlib import Path

import pytest

from apo.core.errors import UserError
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


@pytest.mark.parametrize("prompt", ["<image>\nWhy?", "Why?\n<image>", "<image_1> Why?", "<|image|>\nWhy?"])
def test_suspicious_texts_finds_the_mark_of_an_image(tmp_path: Path, prompt: str) -> None:
    row = {"prompt": prompt, "chosen": "a", "rejected": "b"}
    with pytest.raises(UserError, match=r"image.*data\.on_issue\.unsupported_column to drop or keep"):
        read(tmp_path, [row])
    svg = {**row, "prompt": "What is <svg><image></image></svg>?"}
    assert not read(tmp_path, [svg]).issues
