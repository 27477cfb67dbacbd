"""Dialogues, their rewards one at a time, and damage to the files of a checkpoint."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from apo.core.dialogue import dialogue_to_messages
from apo.model.batching import collate
from apo.model.checkpoint import (
    RewardModel,
)

DIALOGUES = [
    ("\n\nHuman: What is 1 plus 2?\n\nAssistant:", "3, my friend."),
    ("\n\nHuman: What is 1 plus 2?\n\nAssistant: 3\n\nHuman: And plus 4?\n\nAssistant:", "7"),
    ("Be brief.\n\nHuman: Where did you eat?\n\nAssistant:", "At the café,\n\nwhich was good."),
]


def rewards(model: RewardModel, texts: list[tuple[str, str]] = DIALOGUES) -> list[float]:
    """One at a time."""
    items = model.encoder.items(((query, [text]) for query, text in texts), Counter(), where="rows")
    pad_id = model.encoder.tokenizer.pad_token_id
    with torch.inference_mode():
        return [model(collate([item], pad_id=pad_id)).item() for item in items]


OWN_TEMPLATE = (
    "{% for m in messages %}{{ bos_token + m['role'] + ': ' + m['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ bos_token + 'assistant: ' }}{% endif %}"
)


def messages_of(query: str, response: str) -> list[dict[str, str]]:
    return [*dialogue_to_messages(query), {"role": "assistant", "content": response}]


def only_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def edit_config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def write_text(name: str, content: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_text(content)

    return change
