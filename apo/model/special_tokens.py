"""Texts as ids, in which a special token that is written is text and never the token.

`split_special_tokens` does that, unless the model of a tokenizer has the special token as a piece of its own
(Unigram and word-level ones): then the text is encoded in parts, broken behind the first character of what
is written.
"""

import re
from collections.abc import Iterable, Mapping
from itertools import chain, pairwise
from typing import Any

ANCHOR = "\n\nAssistant:"  # every query ends with it; encoding it alone shows where a response begins


def special_tokens(tokenizer: Any, separator: str = "") -> dict[str, int]:
    """Ids by text of the tokens that no text may become: all special ones but `unk`, and the separator."""
    found = {
        token.content: number for number, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    named = [getattr(tokenizer, f"{role}_token") for role in ("bos", "eos", "pad", "cls", "sep", "mask")]
    for text in filter(None, [*named, separator]):
        found[text] = tokenizer.convert_tokens_to_ids(text)
    return {text: number for text, number in found.items() if number != tokenizer.unk_token_id}


def text_ids(tokenizer: Any, texts: list[str], special: Mapping[str, int]) -> list[list[int]]:
    """The ids of texts, nothing added.

    The text of a special token never becomes its id, unless it is a single character (the byte that somebody
    made the pad token): that has no other id.

    Args:
        tokenizer: Any of Hugging Face's.
        texts: What to encode.
        special: Of `special_tokens`.
    """
    if not texts:
        return []
    numbers = set(special.values())
    found = _encoded(tokenizer, texts)
    for index, text in enumerate(texts):
        for parts in (_broken, _characters):
            if not numbers.isdisjoint(found[index]):
                found[index] = list(chain.from_iterable(_encoded(tokenizer, parts(text, special))))
    return found


def chat_ids(tokenizer: Any, messages: list[dict[str, str]]) -> list[int]:
    """The ids of a conversation that the assistant is to go on with, by the chat template of the tokenizer.

    The template's own special tokens are tokens; the text of one in a message is text.
    """
    special = special_tokens(tokenizer)
    texts = [message["content"] for message in messages]
    sign = next(sign for sign in map(chr, range(0xE000, 0xF8FF)) if not any(sign in text for text in texts))
    found: list[str] = []  # in the messages, each replaced by its number between two signs

    def numbered(match: re.Match[str]) -> str:
        found.append(match[0])
        return f"{sign}{len(found) - 1}{sign}"

    marked = [
        message | {"content": written(special).sub(numbered, message["content"])} for message in messages
    ]
    rendered = tokenizer.apply_chat_template(marked, add_generation_prompt=True, tokenize=False)
    ids: list[int] = []
    for place, part in enumerate(re.split(f"{sign}([0-9]+){sign}", rendered)):
        if place % 2:
            ids += text_ids(tokenizer, [found[int(part)]], special)[0]
        elif part:
            ids += tokenizer(part, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def _encoded(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    ids: list[list[int]] = tokenizer(
        texts, add_special_tokens=False, split_special_tokens=True, verbose=False
    )["input_ids"]
    return ids


def written(special: Iterable[str]) -> re.Pattern[str]:
    """Finds the texts of special tokens, the longest first; nothing where there are none."""
    longest_first = sorted(special, key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _broken(text: str, special: Iterable[str]) -> list[str]:
    """The parts of a text, which ends behind the first character of each special token in it.

    >>> _broken("a </s> b", ["</s>"])
    ['a <', '/s> b']
    """
    ends = [match.start() + 1 for match in written(special).finditer(text)]
    return [part for part in (text[i:j] for i, j in pairwise([0, *ends, len(text)])) if part]


def _characters(text: str, special: Iterable[str]) -> list[str]:
    """Every character a part: for a normaliser that makes a special token of other characters."""
    head = ANCHOR + " " if text.startswith(ANCHOR + " ") else ""
    return [*([head] if head else []), *text[len(head) :]]
