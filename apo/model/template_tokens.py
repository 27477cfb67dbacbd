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
        """Encodes a text part by part: the tokenizer alone would find more special tokens in it."""
        mark_pattern = f"{escaped.mark}[0-9]+{escaped.mark}" if escaped.mark else r"(?!)"
        ids: list[int] = []
        for part in re.split(f"({self._pattern.pattern}|{mark_pattern})", text):
            if part in self.special:
                ids.append(self.special[part])
                continue
            if escaped.mark and re.fullmatch(mark_pattern, part):
                part = escaped.texts[int(part.strip(escaped.mark))]
            ids += text_ids(self._tokenizer, [part], self.special)[0] if part else []
        return ids
