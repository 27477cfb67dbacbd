"""Dialogues as text in the Helpful&Harmless form, and the key under which queries are compared.

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
    """A whole dialogue as its query and its last response; the two joined are the text again.

    >>> split_dialogue("\\n\\nHuman: Hi\\n\\nAssistant: Hello")
    ('\\n\\nHuman: Hi\\n\\nAssistant:', ' Hello')

    Raises:
        UserError: There is no human turn with an answer.
    """
    before, mark, response = text.rpartition(ASSISTANT)
    if not mark or HUMAN not in before:
        raise UserError(
            where,
            found=f"text that is no dialogue ({text[:60]!r})",
            expected=f"turns marked by {HUMAN!r} and {ASSISTANT!r}, the last one the assistant's",
            do="write the dialogue in that form, or give the query and the responses separately",
        )
    return before + mark, response


def has_turn_marks(text: str) -> bool:
    """Whether a line begins like a turn, in the HH form or in one that resembles it."""
    return _LOOKS_LIKE_TURN.search(text) is not None


def cut_runaway(text: str) -> tuple[str, bool]:
    """Cuts a generated response before a human turn that the model invented.

    A turn begins a line with `Human:`; a line that is only `Human` is one whose colon was not
    generated any more. Words that begin so, and sentences about humans, stay.

    >>> cut_runaway("Sure.\\n\\nHuman: Thanks")
    ('Sure.', True)
    >>> cut_runaway("Sure.\\nHumanity agrees.")
    ('Sure.\\nHumanity agrees.', False)

    Returns:
        The text, white space before a cut stripped, and whether it was cut.
    """
    turn = _RUNAWAY.search(text)
    return (text[: turn.start()].rstrip(), True) if turn else (text, False)


def first_turn(query: str) -> str:
    """What the human said first: all dialogues that branch from one beginning share it.

    >>> first_turn("\\n\\nHuman: Hi\\n\\nAssistant: Hello\\n\\nHuman: Bye\\n\\nAssistant:")
    ' Hi'
    """
    _, mark, rest = query.partition(HUMAN)
    return _TURN.split(rest, maxsplit=1)[0] if mark else query


def turn_out_of_order(query: str) -> int:
    """The number of the first turn that is not the other side's, the human's first; 0 where all are.

    >>> turn_out_of_order("\\n\\nHuman: Hi\\n\\nHuman: Hello?\\n\\nAssistant:")
    2
    """
    turns = _TURN.findall(query)
    if turns[::2].count("Human") + turns[1::2].count("Assistant") == len(turns):
        return 0
    expected = cycle(("Human", "Assistant"))
    return next(number for number, turn in enumerate(turns, start=1) if turn != next(expected))


# The same query, written differently ---------------------------------------------------------------

_SIGN = re.compile(r"\*\*|[-*/.%\u2013]")
_SPOKEN = {
    "**": "to the",
    "*": "times",
    "/": "over",
    "-": "minus",
    "\u2013": "minus",
    ".": "point",
    "%": "percent",
}


def _spoken(sign: re.Match[str]) -> str:
    """A sign as a word where it does arithmetic: 7 * 3, 7 - 3 and 7 / 3 differ; elsewhere as it is."""
    mark = sign.group()
    before, after = (
        sign.string[max(sign.start() - 2, 0) : sign.start()],
        sign.string[sign.end() : sign.end() + 2],
    )
    left, right = before.rstrip()[-1:], after.lstrip()[:1]
    if mark == ".":
        counts = before[-1:].isdigit() and after[:1].isdigit()
    elif mark == "%":
        counts = left.isdigit()
    else:
        between = (left.isdigit() or left == ")") and (right.isdigit() or right == "(")
        alone = before[-1:] in ("", " ", "\n", "(") and after[:1].isdigit()
        counts = between or (mark == "-" and alone)
    return f" {_SPOKEN[mark]} " if counts else mark


class _Separators(dict[int, str]):
    """What `str.translate` puts in the place of a character; worked out once for each."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        category = unicodedata.category(char)
        if char in "'`\u2018\u2019" or category == "Cf":
            self[code] = ""
        else:
            self[code] = " " if category[0] == "P" else char
        return self[code]


_SEPARATORS = _Separators()

# The same for ASCII, which most texts are once their curly quotes are straight: the key is the same, sooner.
_STRAIGHT = (("\u2019", "'"), ("\u2018", "'"), ("\u201c", '"'), ("\u201d", '"'), ("\xa0", " "))
_ASCII = bytes(ord(_SEPARATORS[code] or chr(code)) for code in range(128)).lower() + bytes(128)
_ASCII_DELETED = bytes(code for code in range(128) if not _SEPARATORS[code])
_NUMBER = re.compile(r"[0-9)]")
_ARITHMETIC = re.compile(r"[0-9)]\s?[-*/.%]|-[0-9]")  # wherever _spoken finds some, and in more places


@lru_cache(maxsize=64)  # a query is asked for again soon: by its id, by another row
def normalise_query(query: str) -> str:
    """The key by which two queries are the same: case, punctuation and white space don't count.

    Unicode is brought into its NFKC form; arithmetic signs between numbers are kept as words.

    >>> normalise_query("\\n\\nHuman: What's  7*3?\\n\\nAssistant:")
    'human whats 7 times 3 assistant'
    """
    if not query.isascii():
        for curly, straight in _STRAIGHT:
            query = query.replace(curly, straight)
    if query.isascii():
        counts = _NUMBER.search(query) and _ARITHMETIC.search(query)
        words = _SIGN.sub(_spoken, query) if counts else query
        words = words.encode().translate(_ASCII, _ASCII_DELETED).decode()
    else:
        folded = unicodedata.normalize("NFKC", query.casefold()).casefold()
        words = _SIGN.sub(_spoken, folded).translate(_SEPARATORS)
    return " ".join(words.split())


def query_keys(text: str) -> Iterator[list[str]]:
    """The keys of all queries in a dialogue, piece by piece, in time and memory linear in the text.

    Yields:
        The words that one more query adds to the key of the query before it: all words so far are its key.

    >>> list(query_keys("\\n\\nHuman: Hi!\\n\\nAssistant: Ho.\\n\\nHuman: No?\\n\\nAssistant: So"))
    [['human', 'hi', 'assistant'], ['ho', 'human', 'no', 'assistant']]
    """
    end, start = text.find(ASSISTANT), 0
    while end >= 0:
        # The colon of the mark before it stands before a piece: "Assistant:-5" holds no minus five.
        yield [*normalise_query(text[start:end]).split(), "assistant"]
        start = end + len(ASSISTANT) - 1
        end = text.find(ASSISTANT, start)


def digest_of(text: str) -> bytes:
    """Sixteen bytes for a text: what of many texts is kept in memory, where equal or not is the question."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def query_id_of(query: str) -> str:
    """An id for a query that came without one: the same for the same normalised query."""
    return "q-" + hashlib.sha256(normalise_query(query).encode()).hexdigest()[:12]


# Conversations as lists of messages ----------------------------------------------------------------


def messages_to_dialogue(messages: Sequence[Any], *, where: str = "a conversation") -> tuple[str, str]:
    """A conversation that ends with the assistant as its query and its last response.

    Raises:
        UserError: A message is malformed, the roles are out of order, or a content holds a turn mark.
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
            do="mend the message; tool calls and images can't be read",
        )
    if _TURN.search(content):
        raise UserError(
            where,
            found=f"a content that holds a turn mark ({content[:60]!r})",
            expected=f"contents without {HUMAN!r} and {ASSISTANT!r}",
            do="split the content into one message a turn",
        )
    return role, content


def dialogue_to_messages(query: str) -> list[dict[str, str]]:
    """A query, or a whole dialogue, as messages; the assistant's turn that is still open is left out."""
    system, *turns = _TURN.split(query)
    messages = [{"role": "system", "content": system}] if system else []
    for name, content in zip(turns[::2], turns[1::2], strict=True):
        messages.append({"role": _ROLES[name], "content": content.removeprefix(" ")})
    if query.endswith(ASSISTANT):
        messages.pop()
    return messages
