"""apo/datasets/flags.py: an answer that nobody wants is no demonstration, however its flag is spelled."""

from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.datasets.readers import read_comparisons, read_demonstrations
from tests.helpers.reading import read

ASKED = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Go away"}]
SHARED = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Go away"}]
UNWANTED: list[dict[str, Any]] = [
    {"messages": ASKED, "label": False},
    {"prompt": "Why?", "completion": "Go away", "label": False},
    {"prompt": ASKED[:1], "completion": ASKED[1:], "label": 0},
    {"conversations": SHARED, "kto_tag": False},
    {"instruction": "Why?", "output": "Go away", "label": "undesirable"},
    {"question": "Why?", "answer": "Go away", "is_safe": False},
    {"prompt": "Why?", "response": "Go away", "thumbs_up": "no"},
    {"prompt": "Why?", "response": "Go away", "feedback": "thumbs down"},
    {"messages": ASKED, "is_rejected": True},
    {"messages": ASKED, "Label": -1},
    {"query": "Why?", "golden": "Go away", "good": "False"},
]


@pytest.mark.parametrize("row", UNWANTED)
def test_unwanted_flag_refuses_or_drops_a_flagged_answer(tmp_path: Path, row: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"nobody wants.*data\.on_issue\.unwanted_answer to drop or keep"):
        read(tmp_path, [row], read_demonstrations)
    left = read(tmp_path, [row], read_demonstrations, {"unwanted_answer": "drop"})
    assert (left.records, left.counts["dropped_unwanted_answer"]) == ([], 1)
    assert len(read(tmp_path, [row], read_demonstrations, {"unwanted_answer": "keep"}).records) == 1


@pytest.mark.parametrize(
    "flag", [{"label": True}, {"label": 1}, {"kto_tag": "desirable"}, {"label": "sports"}, {}]
)
def test_unwanted_flag_keeps_a_wanted_or_unflagged_answer(tmp_path: Path, flag: dict[str, Any]) -> None:
    assert (
        read(tmp_path, [{"messages": ASKED} | flag], read_demonstrations).records[0]["response"] == "Go away"
    )


@pytest.mark.parametrize(
    "row",
    [
        {"messages": ASKED, "label": False},
        {"conversations": SHARED, "kto_tag": True},
        {"prompt": "Why?", "completion": "so", "label": 1},
        {"prompt": "Why?", "response": "so", "thumbs_up": True},
    ],
)
def test_unwanted_flag_explains_unpaired_preferences(tmp_path: Path, row: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"one answer .*as KTO takes them.*data\.files\.demonstrations"):
        read(tmp_path, [row], read_comparisons)
