"""The ids of rendered chat templates: special tokens of the template are tokens, those of messages text."""

import re
from typing import Any, NamedTuple

from apo.model.special_tokens import special_tokens, text_ids, written

Message = dict[str, str]


class Hidden(NamedTuple):
    """Texts of special tokens in messages, for which private characters stand while a template renders."""

    mark: str
    texts: list[str]

    def add(self, match: re.Match[str]) -> str:
        self.texts.append(match[0])
        return f"{self.mark}{len(self.texts) - 1}{self.mark}"

    def show(self, text: str) -> str:
        """A rendered text with what was hidden in it."""
        if not self.texts:
            return text
        return re.sub(f"{self.mark}([0-9]+){self.mark}", lambda found: self.texts[int(found[1])], text)


NOTHING_HIDDEN = Hidden("", [])


class TemplateTokens:
    """Encodes what the chat template of a tokenizer has rendered.

    Args:
        tokenizer: A fast Hugging Face tokenizer.
        separator: A further special token, "" for none.

    Attributes:
        special: Id of each special token by its text.
    """

    def __init__(self, tokenizer: Any, *, separator: str) -> None:
        self._tokenizer = tokenizer
        self.special = special_tokens(tokenizer, separator)
        self._texts = written([*self.special, *filter(None, [tokenizer.unk_token])])

    def find(self, text: str) -> re.Match[str] | None:
        """The first special token in a text."""
        return self._texts.search(text)

    def hide(self, messages: list[Message], texts: list[str]) -> tuple[list[Message], list[str], Hidden]:
        """The same with private characters for the texts of special tokens."""
        all_texts = [*(message["content"] for message in messages), *texts]
        if not any(map(self._texts.search, all_texts)):
            return messages, texts, NOTHING_HIDDEN
        private = map(chr, range(0xE000, 0xF8FF))
        hidden = Hidden(next(char for char in private if not any(char in text for text in all_texts)), [])
        clean = [{**one, "content": self._texts.sub(hidden.add, one["content"])} for one in messages]
        return clean, [self._texts.sub(hidden.add, text) for text in texts], hidden

    def encode(self, texts: list[str], hidden: list[Hidden]) -> list[list[int]]:
        """The ids of rendered texts: special tokens of the template are tokens, hidden texts are not."""
        plain = [index for index, one in enumerate(hidden) if not one.texts]
        found: list[list[int]] = [[] for _ in texts]
        if plain:
            batch = [texts[index] for index in plain]
            encoded = self._tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"]
            for index, ids in zip(plain, encoded, strict=True):
                found[index] = ids
        numbers = set(self.special.values())
        for index, (text, one) in enumerate(zip(texts, hidden, strict=True)):
            tokens = sum(token in self.special for token in self._texts.findall(text))
            if one.texts or sum(map(numbers.__contains__, found[index])) != tokens:
                found[index] = self._encode_parts(text, one)
        return found

    def _encode_parts(self, text: str, hidden: Hidden) -> list[int]:
        """The slow way, for a text in which a tokenizer alone would find further special tokens."""
        marked = f"{hidden.mark}[0-9]+{hidden.mark}" if hidden.mark else r"(?!)"
        ids: list[int] = []
        for part in re.split(f"({self._texts.pattern}|{marked})", text):
            if part in self.special:
                ids.append(self.special[part])
                continue
            if hidden.mark and re.fullmatch(marked, part):
                part = hidden.texts[int(part.strip(hidden.mark))]
            ids += text_ids(self._tokenizer, [part], self.special)[0] if part else []
        return ids
