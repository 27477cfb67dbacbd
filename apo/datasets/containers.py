"""Lists, records and messages that are written as texts, as in the cells of a table."""

import json
import re
from collections import Counter
from typing import Any

from apo.core.records import Row
from apo.datasets.columns import PROMPTS
from apo.datasets.context import HISTORY
from apo.datasets.fields import bad_value, shortened
from apo.datasets.messages import CONTENT_KEYS, ROLE_KEYS, ROLES, is_message, role_of

_NAMES = "|".join((*ROLE_KEYS, "content", "value"))
_MESSAGES = re.compile(rf"""\s*(?:\[\s*)?\{{\s*(["'])({_NAMES})\1\s*:""")
# A message whose role, one of ours, stands behind an id and the like.
_LATER_ROLE = re.compile(
    rf"""\s*(?:\[\s*)?\{{\s*["'].{{,400}}?(["'])(?:{"|".join(ROLE_KEYS)})\1\s*:\s*["'](?:{"|".join(ROLES)})["']""",
    re.DOTALL | re.IGNORECASE,
)
_PROMPT = re.compile(r"""(["'])(?:messages|full_text)\1\s*:""")  # in a record with a prompt
_CONTENT = re.compile(rf"""["'](?:{"|".join(CONTENT_KEYS)})["']\s*:""")
# Columns that hold lists or records where a set has them.
_CONTAINERS = frozenset(
    [
        *HISTORY,
        "responses",
        "scores",
        "score",
        "text",
        "samples",
        "extra",
        "answers",
        "completions",
        "summaries",
        "info",
        "images",
        "tools",
        "rewards",
        "ratings",
        "ranks",
    ]
)


def decode_containers(row: Row, where: str, counts: Counter[str]) -> Row:
    """The row with JSON texts decoded if they hold messages, lists or records, as in tables.

    Raises:
        RowError: A text holds messages as Python writes them.
    """
    for key, value in row.items():
        if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
            continue
        has_messages = _holds_messages(value) or (
            key in PROMPTS and value.lstrip().startswith("{") and bool(_PROMPT.search(value))
        )
        if not has_messages and key not in _CONTAINERS:
            continue
        try:
            decoded = json.loads(value)
        except (ValueError, RecursionError):
            if not has_messages or not value.rstrip().endswith(("]", "}")):
                continue
            found = f"messages written as a text ({shortened(value)})"
            do = "write the file from the lists, as JSON Lines"
            expected = "a list of messages, or JSON"
            raise bad_value("not_text", where, key, found, expected, do) from None
        if has_messages and not _is_conversation(decoded) and not _is_prompt(decoded):
            continue  # an answer that is JSON itself
        row = row | {key: decoded}
        counts["conversations_in_texts" if has_messages else "lists_in_texts"] += 1
    return row


def _holds_messages(value: str) -> bool:
    """Whether a text begins as messages do, in JSON or as Python writes them."""
    return bool(_MESSAGES.match(value) or (_LATER_ROLE.match(value) and _CONTENT.search(value)))


def _is_prompt(value: Any) -> bool:
    return isinstance(value, dict) and (
        isinstance(value.get("full_text"), str) or isinstance(value.get("messages"), list)
    )


def _is_conversation(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(is_message, value))
    return is_message(value) and role_of(value) in ROLES.values()
