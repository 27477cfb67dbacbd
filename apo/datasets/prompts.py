"""Columns that could hold the prompt, and those that only repeat it."""

from collections.abc import Mapping, Sequence
from typing import Any

from apo.core.dialogue import turns_of
from apo.core.errors import RowError
from apo.core.records import Row
from apo.datasets.messages import asks, earlier_turns

CHOSEN = ("chosen", "chosen_response", "response_chosen", "response_j")
_REPEATING = ("query", "conversations", "messages")  # the prompt in the HH form, or the whole conversation


def prompts_of(present: list[str], row: Row) -> list[str]:
    """The keys that hold the prompt, without those that repeat it or belong to it."""
    if any(map(asks, map(row.get, CHOSEN))):  # the conversations themselves hold the prompt
        return [key for key in present if key != "messages"][:1]
    if "instruction" in present and "input" in present:  # what the instruction is about
        present = [key for key in present if key != "input"]
    for key in _REPEATING:
        if len(present) > 1 and key in present:
            others = [other for other in present if other != key]
            present = _without_repeated(key, others, row)
    return present


def _without_repeated(key: str, others: list[str], row: Row) -> list[str]:
    """The other keys if one of them has the text of this one, this one if it has all of theirs, or both.

    A template around a prompt adds nothing here; `PromptTemplates` checks the texts of all rows.
    """
    question, is_answered = _question_in(row[key])
    texts = [
        turn_texts(row[other]) + (turn_texts(row.get("input")) if other == "instruction" else [])
        for other in others
    ]
    for known in texts:
        is_template = len(question) == len(known) == 1 and has_words(question[0], known[0])
        if not question or is_template or not texts_outside(question, known):
            return others
    is_longer = len(others) == 1 and len(question) > len(texts[0]) and not is_answered
    return [key] if is_longer and not texts_outside(texts[0], question) else [*others, key]


def _question_in(value: Any) -> tuple[list[str], bool]:
    """The turns of a prompt without an answer at the end, and whether there is one."""
    messages = _turns(value)
    is_answered = len(messages) > 1 and messages[-1]["role"] == "assistant"
    return turn_texts(messages[:-1] if is_answered else value), is_answered


def turn_texts(value: Any, *, with_answer: bool = True) -> list[str]:
    """The texts of the turns in a value: a text, in the HH form too, messages, or earlier turns."""
    if not with_answer:
        return _question_in(value)[0]
    texts, stack = [], [value]
    while stack:
        part = stack.pop()
        if isinstance(part, str):
            texts += [text.strip() for text in turns_of(part) if text.strip()]
        elif turns := _turns(part):
            texts += [message["content"].strip() for message in turns]
        elif isinstance(part, list | dict):
            stack += reversed(part if isinstance(part, list) else list(part.values()))
    return texts


def _turns(value: Any) -> list[dict[str, str]]:
    """The messages of a value; [] if it is no conversation."""
    try:
        return earlier_turns(value, "", "")
    except RowError:
        return []


def texts_outside(texts: Sequence[str], known: Sequence[str]) -> list[str]:
    """Those of the texts that the known texts, one after the other, do not have in them."""
    return [text for text in texts if not has_words("\n\n".join(known), text)]


def has_words(longer: str, text: str) -> bool:
    """Whether a text has all words of another one, one after the other, as a template has."""
    return f" {' '.join(text.split())} " in f" {' '.join(longer.split())} "


def join_advice(present: Sequence[str], row: Mapping[str, Any]) -> str:
    """How to map two columns of which one could be what the other is about; "" if they are no two texts."""
    if len(present) != 2 or not all(isinstance(row[key], str) for key in present):
        return ""
    prompt, about = sorted(present, key=lambda key: key in ("context", "input"))
    return f"to read both, map `prompt: {prompt}` and `input: {about}`; to read one, "
