"""Tokenization of untrusted text: the text of a special token never becomes the special token.

`split_special_tokens` ensures this, unless the vocabulary of a Unigram or word-level tokenizer itself
contains the text of the special token. Then the text is split after the first character of the special token
and its parts are encoded separately.
"""

import re
from collections.abc import Iterable, Mapping
from itertools import chain, pairwise
from typing import Any


def special_tokens(tokenizer: Any, separator: str = "") -> dict[str, int]:
    """Text -> id of the tokens that no text may become: all special ones but `unk`, and the separator."""
    ids = {
        token.content: token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    role_tokens = [
        getattr(tokenizer, f"{role}_token") for role in ("bos", "eos", "pad", "cls", "sep", "mask")
    ]
    for text in filter(None, [*role_tokens, separator]):
        ids[text] = tokenizer.convert_tokens_to_ids(text)
    return {text: token_id for text, token_id in ids.items() if token_id != tokenizer.unk_token_id}


def text_ids(tokenizer: Any, texts: list[str], special: Mapping[str, int]) -> list[list[int]]:
    """The ids of texts, without added special tokens.

    The text of a special token never becomes its id. The exception is a special token of a single character,
    such as a byte that serves as pad token, which has no other id. `special` is the result of
    `special_tokens`.
    """
    special_ids = set(special.values())
    encoded = _encode(tokenizer, texts)
    for index, text in enumerate(texts):
        for split in (_split_special, _split_characters):
            if not special_ids.isdisjoint(encoded[index]):
                encoded[index] = list(chain.from_iterable(_encode(tokenizer, split(text, special))))
    return encoded


def _encode(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    ids: list[list[int]] = tokenizer(
        texts, add_special_tokens=False, split_special_tokens=True, verbose=False
    )["input_ids"]
    return ids


def special_token_pattern(special: Iterable[str]) -> re.Pattern[str]:
    """A pattern that matches the texts of special tokens, the longest first. It may match nothing."""
    longest_first = sorted(special, key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _split_special(text: str, special: Iterable[str]) -> list[str]:
    """Splits a text after the first character of each special token in it.

    >>> _split_special("a </s> b", ["</s>"])
    ['a <', '/s> b']
    """
    ends = [match.start() + 1 for match in special_token_pattern(special).finditer(text)]
    return [part for part in (text[i:j] for i, j in pairwise([0, *ends, len(text)])) if part]


def _split_characters(text: str, special: Iterable[str]) -> list[str]:
    """Splits a text into characters: for a normalizer that turns other characters into a special token."""
    return list(text)
