"""The ids of rendered chat templates: special tokens of the template are tokens, those of messages text."""

import re
from typing import Any, NamedTuple

from apo.model.special_tokens import special_token_pattern, special_tokens, text_ids

Message = dict[str, str]


class EscapedTexts(NamedTuple):
    """Texts of special tokens in messages, replaced by private characters while a template renders.

    Attributes:
        mark: The private character.
        texts: The replaced texts; text k is written as mark, k, mark.
    """

    mark: str
    texts: list[str]

    def escape(self, match: re.Match[str]) -> str:
        """The replacement of a matched text."""
        self.texts.append(match[0])
        return f"{self.mark}{len(self.texts) - 1}{self.mark}"

    def unescape(self, text: str) -> str:
        """A rendered text with the texts that were replaced."""
        if not self.texts:
            return text
        return re.sub(f"{self.mark}([0-9]+){self.mark}", lambda match: self.texts[int(match[1])], text)


class Swallows(NamedTuple):
    """Whether a special token takes the white space before and after it."""

    before: bool
    after: bool


LINE = "\n"
"""Begins no word, so that a text behind it has no space of a beginning."""
NOTHING_ESCAPED = EscapedTexts("", [])


class TemplateTokens:
    """Encodes the text that the chat template of a tokenizer has rendered.

    Args:
        tokenizer: A fast Hugging Face tokenizer.
        separator: An additional special token; "" for none.

    Attributes:
        special: Id of each special token by its text.
    """

    def __init__(self, tokenizer: Any, *, separator: str) -> None:
        self._tokenizer = tokenizer
        self.special = special_tokens(tokenizer, separator)
        self._pattern = special_token_pattern([*self.special, *filter(None, [tokenizer.unk_token])])
        added = {token.content: token for token in tokenizer.added_tokens_decoder.values()}
        self._swallows = {
            text: Swallows(added[text].lstrip, added[text].rstrip)
            if text in added
            else Swallows(False, False)
            for text in self.special
        }
        self._begins_with_space = self._adds_a_space_at_the_beginning()

    def find(self, text: str) -> re.Match[str] | None:
        """The first special token in a text."""
        return self._pattern.search(text)

    def escape(
        self, messages: list[Message], texts: list[str]
    ) -> tuple[list[Message], list[str], EscapedTexts]:
        """Replaces the texts of special tokens in messages and texts by private characters."""
        all_texts = [*(message["content"] for message in messages), *texts]
        if not any(map(self._pattern.search, all_texts)):
            return messages, texts, NOTHING_ESCAPED
        private = map(chr, range(0xE000, 0xF8FF))
        escaped = EscapedTexts(
            next(char for char in private if not any(char in text for text in all_texts)), []
        )
        clean = [
            {**message, "content": self._pattern.sub(escaped.escape, message["content"])}
            for message in messages
        ]
        return clean, [self._pattern.sub(escaped.escape, text) for text in texts], escaped

    def encode(self, texts: list[str], escaped: list[EscapedTexts]) -> list[list[int]]:
        """The ids of rendered texts: special tokens of the template are tokens, escaped texts are not."""
        unescaped = [index for index, replaced in enumerate(escaped) if not replaced.texts]
        encoded: list[list[int]] = [[] for _ in texts]
        if unescaped:
            batch = [texts[index] for index in unescaped]
            input_ids = self._tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"]
            for index, ids in zip(unescaped, input_ids, strict=True):
                encoded[index] = ids
        special_ids = set(self.special.values())
        for index, (text, replaced) in enumerate(zip(texts, escaped, strict=True)):
            count = sum(token in self.special for token in self._pattern.findall(text))
            if replaced.texts or sum(map(special_ids.__contains__, encoded[index])) != count:
                encoded[index] = self._encode_parts(text, replaced)
        return encoded

    def _encode_parts(self, text: str, escaped: EscapedTexts) -> list[int]:
        """Encodes a text part by part: the tokenizer alone would find more special tokens in it.

        As in one text, a special token may swallow the white space beside it.
        """
        ids: list[int] = []
        parts = re.split(f"({special_token_pattern(self.special).pattern})", text)
        for index, part in enumerate(parts):
            if index % 2:
                ids.append(self.special[part])
                continue
            if index and self._swallows[parts[index - 1]].after:
                part = part.lstrip()
            if index + 1 < len(parts) and self._swallows[parts[index + 1]].before:
                part = part.rstrip()
            ids += self._text_ids(escaped.unescape(part), is_first=not index) if part else []
        return ids

    def _text_ids(self, text: str, *, is_first: bool) -> list[int]:
        """The ids of a text behind a special token, or at the beginning (`is_first`)."""
        ids = text_ids(self._tokenizer, [text], self.special)[0]
        if is_first or not self._begins_with_space:
            return ids
        behind = text_ids(self._tokenizer, [LINE + text], self.special)[0]
        line_ids = text_ids(self._tokenizer, [LINE], self.special)[0]
        return behind[len(line_ids) :] if behind[: len(line_ids)] == line_ids else ids

    def _adds_a_space_at_the_beginning(self) -> bool:
        """Whether a space is written before the first word of a text, and none behind a special token."""
        for text, token in self.special.items():
            behind = self._tokenizer(f"{text}a", add_special_tokens=False, verbose=False)["input_ids"]
            if behind[:1] == [token]:
                return bool(behind[1:] != text_ids(self._tokenizer, ["a"], self.special)[0])
        return False
