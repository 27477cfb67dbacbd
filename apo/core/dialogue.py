"""Dialogues as text in the Helpful&Harmless (HH) form, and the normalized form by which queries are equal.

A query is everything up to and including the last `\\n\\nAssistant:`; a response is what follows.
Text before the first `\\n\\nHuman:` is a system message.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import cycle
from typing import Any

from apo.core.errors import UserError

HUMAN = "\n\nHuman:"
ASSISTANT = "\n\nAssistant:"

_TURN = re.compile(r"\n\n(Human|Assistant):")
_LOOKS_LIKE_TURN = re.compile(r"(?:^|\n)[ \t]*(?:Human|Assistant):")
_RUNAWAY = re.compile(r"\r?\nHuman(?=[ \t]*(?::|\r?\n|\Z))")
_MARKS = {"user": HUMAN, "assistant": ASSISTANT}
_ROLES = {"Human": "user", "Assistant": "assistant"}


def split_dialogue(text: str, *, where: str = "a dialogue") -> tuple[str, str]:
    """Splits a dialogue into its query and its last response, whose concatenation is the text.

    >>> split_dialogue("\\n\\nHuman: Hi\\n\\nAssistant: Hello")
    ('\\n\\nHuman: Hi\\n\\nAssistant:', ' Hello')

    Raises:
        UserError: The text has no human turn with an answer.
    """
    before, mark, response = text.rpartition(ASSISTANT)
    if not mark or HUMAN not in before:
        raise UserError(
            where,
            found=f"text that is no dialogue ({text[:60]!r})",
            expected=f"turns that begin with {HUMAN!r} and {ASSISTANT!r}, and an assistant turn at the end",
            do="write the dialogue in that form, or give the query and the responses separately",
        )
    return before + mark, response


def has_turn_marks(text: str) -> bool:
    """Whether a line begins like a turn, in the HH form or in one that resembles it."""
    return _LOOKS_LIKE_TURN.search(text) is not None


def cut_runaway(text: str) -> tuple[str, bool]:
    """Cuts a sample before a human turn that the model invented. For samples alone: people write such lines.

    A turn is a line that begins with `Human:`, or a line `Human` whose colon was not generated. Words that
    begin with Human, and sentences about humans, stay.

    >>> cut_runaway("Sure.\\n\\nHuman: Thanks")
    ('Sure.', True)
    >>> cut_runaway("Sure.\\nHumanity agrees.")
    ('Sure.\\nHumanity agrees.', False)

    Returns:
        The text, without white space before a cut, and whether it was cut.
    """
    turn = _RUNAWAY.search(text)
    return (text[: turn.start()].rstrip(), True) if turn else (text, False)


def first_turn(query: str) -> str:
    """The first human turn, which all dialogues that branch from it share.

    >>> first_turn("\\n\\nHuman: Hi\\n\\nAssistant: Hello\\n\\nHuman: Bye\\n\\nAssistant:")
    ' Hi'
    """
    _, mark, rest = query.partition(HUMAN)
    return _TURN.split(rest, maxsplit=1)[0] if mark else query


def turns_of(query: str) -> list[str]:
    """The texts between the marks of turns.

    >>> turns_of("Be brief.\\n\\nHuman: Hi\\n\\nAssistant:")
    ['Be brief.', ' Hi', '']
    """
    return _TURN.split(query)[::2]


def turn_out_of_order(query: str) -> int:
    """The number of the first turn out of the order human, assistant, human, ...; 0 if there is none.

    >>> turn_out_of_order("\\n\\nHuman: Hi\\n\\nHuman: Hello?\\n\\nAssistant:")
    2
    """
    turns = _TURN.findall(query)
    if turns[::2].count("Human") + turns[1::2].count("Assistant") == len(turns):
        return 0
    expected = cycle(("Human", "Assistant"))
    return next(number for number, turn in enumerate(turns, start=1) if turn != next(expected))


# Equality of queries ------------------------------------------------------------------------------

_SIGN = re.compile(r"\*\*|[-*/.%\u2013]")
_SIGN_WORDS = {
    "**": "to the",
    "*": "times",
    "/": "over",
    "-": "minus",
    "\u2013": "minus",
    ".": "point",
    "%": "percent",
}


def _spell_sign(match: re.Match[str]) -> str:
    """The word for an arithmetic sign, so that 7 * 3, 7 - 3 and 7 / 3 differ; other signs stay."""
    sign = match.group()
    before = match.string[max(match.start() - 2, 0) : match.start()]
    after = match.string[match.end() : match.end() + 2]
    left, right = before.rstrip()[-1:], after.lstrip()[:1]
    if sign == ".":
        is_arithmetic = before[-1:].isdigit() and after[:1].isdigit()
    elif sign == "%":
        is_arithmetic = left.isdigit()
    else:
        is_binary = (left.isdigit() or left == ")") and (right.isdigit() or right == "(")
        is_unary_minus = sign == "-" and before[-1:] in ("", " ", "\n", "(") and after[:1].isdigit()
        is_arithmetic = is_binary or is_unary_minus
    return f" {_SIGN_WORDS[sign]} " if is_arithmetic else sign


class _Separators(dict[int, str]):
    """The table for `str.translate`; each character is looked up once."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        category = unicodedata.category(char)
        if char in "'`\u2018\u2019" or category == "Cf":
            self[code] = ""
        else:
            self[code] = " " if category[0] == "P" else char
        return self[code]


_SEPARATORS = _Separators()

# A faster path to the same result for ASCII, which most texts are once their curly quotes are straight.
_STRAIGHT = (("\u2019", "'"), ("\u2018", "'"), ("\u201c", '"'), ("\u201d", '"'), ("\xa0", " "))
_ASCII = bytes(ord(_SEPARATORS[code] or chr(code)) for code in range(128)).lower() + bytes(128)
_ASCII_DELETED = bytes(code for code in range(128) if not _SEPARATORS[code])
_NUMBER = re.compile(r"[0-9)]")
_ARITHMETIC = re.compile(r"[0-9)]\s?[-*/.%]|-[0-9]")  # matches whatever _spell_sign changes, and more


@lru_cache(maxsize=64)  # the same query often follows soon: for its id, in the next row
def normalize_query(query: str) -> str:
    """The query without case, punctuation and extra white space; two queries are the same if it is equal.

    Unicode is in NFKC form. Arithmetic signs between numbers become words.

    >>> normalize_query("\\n\\nHuman: What's  7*3?\\n\\nAssistant:")
    'human whats 7 times 3 assistant'
    """
    if not query.isascii():
        for curly, straight in _STRAIGHT:
            query = query.replace(curly, straight)
    if query.isascii():
        has_arithmetic = _NUMBER.search(query) and _ARITHMETIC.search(query)
        words = _SIGN.sub(_spell_sign, query) if has_arithmetic else query
        words = words.encode().translate(_ASCII, _ASCII_DELETED).decode()
    else:
        folded = unicodedata.normalize("NFKC", query.casefold()).casefold()
        words = _SIGN.sub(_spell_sign, folded).translate(_SEPARATORS)
    return " ".join(words.split())


def query_keys(text: str) -> Iterator[list[str]]:
    """The normalized queries of all assistant turns of a dialogue, in time and memory linear in the text.

    Yields:
        The words that a query adds to the one before it; all words so far are the normalized query.

    >>> list(query_keys("\\n\\nHuman: Hi!\\n\\nAssistant: Ho.\\n\\nHuman: No?\\n\\nAssistant: So"))
    [['human', 'hi', 'assistant'], ['ho', 'human', 'no', 'assistant']]
    """
    end, start = text.find(ASSISTANT), 0
    while end >= 0:
        # The text starts with the colon of the previous mark: "Assistant:-5" has no minus five.
        yield [*normalize_query(text[start:end]).split(), "assistant"]
        start = end + len(ASSISTANT) - 1
        end = text.find(ASSISTANT, start)


def digest_of(text: str) -> bytes:
    """A hash of 16 bytes, to compare many texts for equality in little memory."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def query_id_of(query: str) -> str:
    """An id for a query without one. Queries with the same normalized form have the same id."""
    return "q-" + hashlib.sha256(normalize_query(query).encode()).hexdigest()[:12]


# Conversations as lists of messages ----------------------------------------------------------------


def messages_to_dialogue(messages: Sequence[Any], *, where: str = "a conversation") -> tuple[str, str]:
    """The query and the last response of a conversation that ends with the assistant.

    Raises:
        UserError: A message is malformed, the roles are out of order, or a content has a turn mark.
    """
    parts: list[str] = []
    expected = "user"
    for position, message in enumerate(messages):
        role, content = _role_and_content(message, f"{where}: message {position + 1}")
        if role == "system" and position == 0:
            parts.append(content)
            continue
        if role != expected:
            raise UserError(
                f"{where}: message {position + 1}",
                found=f"role {role!r}",
                expected=f"role {expected!r}",
                do="order the messages as an optional system message, then user and assistant in turn",
            )
        parts.append(f"{_MARKS[role]} {content}")
        expected = "assistant" if role == "user" else "user"
    if len(parts) < 2 or expected != "user":
        raise UserError(
            where,
            found=f"{len(parts)} messages that do not end with an answer of the assistant",
            expected="a conversation whose last message has the role 'assistant'",
            do="add the answer, or leave the conversation out",
        )
    answer = parts.pop().removeprefix(f"{ASSISTANT} ")
    return "".join(parts) + ASSISTANT, answer


def _role_and_content(message: Any, where: str) -> tuple[str, str]:
    role = message.get("role") if isinstance(message, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    if role not in ("system", "user", "assistant") or not isinstance(content, str):
        raise UserError(
            where,
            found=repr(message)[:80],
            expected="{'role': 'system', 'user' or 'assistant', 'content': text}",
            do="correct the message; tool calls and images are not supported",
        )
    if _TURN.search(content):
        raise UserError(
            where,
            found=f"a content that holds a turn mark ({content[:60]!r})",
            expected=f"contents without {HUMAN!r} and {ASSISTANT!r}",
            do="split the content into one message per turn",
        )
    return role, content


def dialogue_to_messages(query: str) -> list[dict[str, str]]:
    """A query or a whole dialogue as messages, without the empty assistant turn at the end of a query."""
    system, *turns = _TURN.split(query)
    messages = [{"role": "system", "content": system}] if system else []
    for name, content in zip(turns[::2], turns[1::2], strict=True):
        messages.append({"role": _ROLES[name], "content": content.removeprefix(" ")})
    if query.endswith(ASSISTANT):
        messages.pop()
    return messages


def merge_turns(messages: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Messages in plain alternation: system text joins the first turn, and turns of one role are joined.

    >>> merge_turns([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}])
    [{'role': 'user', 'content': 'Be brief.\\n\\nHi'}]
    """
    merged: list[dict[str, str]] = []
    for message in messages:
        if merged and merged[-1]["role"] in (message["role"], "system"):
            content = f"{merged[-1]['content']}\n\n{message['content']}"
            merged[-1] = {"role": message["role"], "content": content}
        else:
            merged.append(dict(message))
    return merged
