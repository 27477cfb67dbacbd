"""Chat templates: from a dialogue to token ids, the same in sampling, training and scoring.

A model reads what the chat template of its tokenizer writes, and nothing else. The parts of a dialogue:

    head | query | generation prompt | response | turn end

The head is the begin token, where the template writes one first. The generation prompt is what
`add_generation_prompt` adds. The turn end is what the template writes behind an answer, from the first
special token on. The text of a special token in a message stays text and never becomes the token.
"""

import contextlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jinja2

from apo.core.errors import UserError
from apo.model.hh_template import is_hh
from apo.model.special_tokens import special_tokens, text_ids, written
from apo.text.dialogue import dialogue_to_messages, merge_turns

Message = dict[str, str]

MARK = "\ue000"  # stands for an answer
ANCHOR_LENGTH = 200  # characters of a prompt of which some are encoded with its responses
REFUSED = "refused_dialogues"  # key of tokenizer_config.json: error, drop or merge
REFUSALS = (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError)


@dataclass(frozen=True)
class Rendered:
    """The ids of a query and its responses, in the parts of a chat template.

    Attributes:
        query: Without head and generation prompt.
        generation_prompt: That of the template; empty where its ids are joined with those of the query.
        responses: Without turn end.
    """

    query: list[int]
    generation_prompt: list[int]
    responses: list[list[int]]

    def only(self, indices: Sequence[int]) -> "Rendered":
        """The query with only the given responses."""
        return replace(self, responses=[self.responses[index] for index in indices])


class _Hidden(NamedTuple):
    """Texts of special tokens in messages, for which private characters stand while a template renders."""

    mark: str
    texts: list[str]

    def add(self, match: re.Match[str]) -> str:
        self.texts.append(match[0])
        return f"{self.mark}{len(self.texts) - 1}{self.mark}"


class _Row(NamedTuple):
    """A query, and the query with each of its responses, as the template writes them."""

    prompt: str
    answered: list[str]
    hidden: _Hidden


NOTHING_HIDDEN = _Hidden("", [])


class ChatTemplate:
    """The chat template of a tokenizer.

    Args:
        tokenizer: A fast Hugging Face tokenizer.
        text: The template, in the place of the tokenizer's own.
        where: The checkpoint, for messages.

    Attributes:
        text: The template.
        head: The ids of the begin token that the template writes first, or nothing.
        generation_prompt: The ids that `add_generation_prompt` adds to a query.
        turn_end: The ids behind an answer, from the first special token on.
        is_hh: Whether it writes the HH form.

    Raises:
        UserError: The template has a mistake, a query is no beginning of the query with its answer, or the
            tokenizer joins the two.
    """

    def __init__(self, tokenizer: Any, text: str, *, where: str) -> None:
        self.tokenizer, self.text, self._where = tokenizer, text, where
        self.is_hh = is_hh(text)
        self._special = special_tokens(tokenizer)
        self._texts = written([*self._special, *filter(None, [tokenizer.unk_token])])
        self._added = written([token.content for token in tokenizer.added_tokens_decoder.values()])
        self._anchors: dict[str, list[int]] = {}
        question = [{"role": "user", "content": "Hi"}]
        try:
            prompt = self._render(question, prompt=True)
            asked = self._render(question)
            answered = self._render([*question, {"role": "assistant", "content": MARK}])
        except REFUSALS as error:
            raise self._unusable(f"{type(error).__name__}: {' '.join(str(error).split())[:120]}") from None
        if not answered.startswith(prompt) or MARK not in answered:
            raise self._unusable(f"a question {prompt[-80:]!r}, and with its answer {answered[-80:]!r}")
        self._set_parts(prompt, asked, answered)
        counts: Counter[str] = Counter()
        self.encode([("\n\nHuman: Hi\n\nAssistant:", ["Yes."])], counts, where=where)
        if counts["boundaries_joined"]:
            raise UserError(
                where,
                found="a tokenizer that joins the end of a query with its response",
                expected="a token boundary between them",
                do="name a chat template with a token or a line break between them, or set `model.separator`",
            )

    def _set_parts(self, prompt: str, asked: str, answered: str) -> None:
        bos, bos_id = self.tokenizer.bos_token, self.tokenizer.bos_token_id
        ids, before = self._encode([prompt, asked], [NOTHING_HIDDEN] * 2)
        self.head = [bos_id] if bos and prompt.startswith(bos) and ids[:1] == [bos_id] else []
        self._prompt_text = prompt[len(asked) :] if prompt.startswith(asked) else ""
        is_apart = bool(self._prompt_text) and ids[: len(before)] == before
        self.generation_prompt = ids[len(before) :] if is_apart else []
        suffix = answered.partition(MARK)[2]
        special = self._texts.search(suffix)
        self.turn_end = self._encode([suffix[special.start() :]], [NOTHING_HIDDEN])[0] if special else []

    def _unusable(self, found: str) -> UserError:
        return UserError(
            f"{self._where}: chat template",
            found=found,
            expected="a template that writes a question, and behind it the answer",
            do="set backbone.chat_template and actor.chat_template to hh or to a file of data/chat_templates",
        )

    def learned_end(self, ends: Iterable[int]) -> list[int]:
        """What a language model learns to write behind a response.

        It is the turn end up to the first token of `ends`, or else up to its first special token. Where the
        template writes none, it is the end token of the tokenizer.

        Args:
            ends: The tokens that end a generated response.

        Raises:
            UserError: There is no such token.
        """
        for stop in (set(ends), set(self._special.values())):
            for index, token in enumerate(self.turn_end):
                if token in stop:
                    return self.turn_end[: index + 1]
        if self.tokenizer.eos_token_id is None:
            raise UserError(
                self._where,
                found="no end token: neither the chat template nor the tokenizer has one",
                expected="a token with which a response ends",
                do="set `eos_token` in its tokenizer_config.json",
            )
        return [self.tokenizer.eos_token_id]

    def encode(
        self, texts: Sequence[tuple[str, Sequence[str]]], counts: Counter[str], *, where: str
    ) -> list[Rendered | None]:
        """The ids of (query, responses) pairs, as the template writes them.

        Args:
            texts: Queries in the HH form, and responses, whose white space at both ends is not read.
            counts: Updated: `dialogues_merged` and `dialogues_dropped`, those that the template refuses, and
                `boundaries_joined`, responses whose beginning a tokenizer would join with the query.
            where: The file of the texts, for messages.

        Returns:
            The parts in the order of the texts; None for a dialogue that is refused and dropped.

        Raises:
            UserError: The template refuses a dialogue that is neither merged nor dropped.
        """
        rows = [self._rendered(query, responses, counts, where) for query, responses in texts]
        kept = [row for row in rows if row]
        queries = iter(self._encode([row.prompt for row in kept], [row.hidden for row in kept]))
        anchored = [
            (self._anchor(row.prompt) + text[len(row.prompt) :], row.hidden)
            for row in kept
            for text in row.answered
        ]
        responses = iter(self._encode([text for text, _ in anchored], [hidden for _, hidden in anchored]))
        found: list[Rendered | None] = []
        for row in rows:
            if row is None:
                found.append(None)
                continue
            query = next(queries)
            ids = [self._after(row, query, text, next(responses), counts) for text in row.answered]
            foot = self.generation_prompt
            foot = foot if foot and query[-len(foot) :] == foot else []
            body = query[len(self.head) : len(query) - len(foot)]
            found.append(Rendered(body, foot, [self._without_end(one, where) for one in ids]))
        return found

    def _rendered(
        self, query: str, responses: Sequence[str], counts: Counter[str], where: str
    ) -> _Row | None:
        messages, texts, hidden = self._hide(dialogue_to_messages(query), [one.strip() for one in responses])
        try:
            return self._row(messages, texts, hidden)
        except REFUSALS as error:
            reason = " ".join(str(error).split())[:120] or type(error).__name__
        action = self.tokenizer.init_kwargs.get(REFUSED, "error")
        if action == "drop":
            counts["dialogues_dropped"] += 1
            return None
        with contextlib.suppress(*REFUSALS):
            if action == "merge":
                row = self._row(merge_turns(messages), texts, hidden)
                counts["dialogues_merged"] += 1
                return row
        raise UserError(
            where,
            found=f"a dialogue that the chat template of {self._where} refuses ({reason}): {query[:80]!r}",
            expected="turns that the template can write",
            do="set backbone.refused_dialogues and actor.refused_dialogues to merge or drop, or name another "
            "chat template",
        )

    def _row(self, messages: list[Message], texts: list[str], hidden: _Hidden) -> _Row:
        prompt = self._render(messages, prompt=True)
        answered = [self._render([*messages, {"role": "assistant", "content": text}]) for text in texts]
        if not all(text.startswith(prompt) for text in answered):
            raise ValueError("the query is no beginning of the query with its answer")
        return _Row(prompt, answered, hidden)

    def _render(self, messages: list[Message], *, prompt: bool = False) -> str:
        rendered: str = self.tokenizer.apply_chat_template(
            messages, chat_template=self.text, tokenize=False, add_generation_prompt=prompt
        )
        return rendered

    def _hide(self, messages: list[Message], texts: list[str]) -> tuple[list[Message], list[str], _Hidden]:
        """The same with private characters for the texts of special tokens."""
        all_texts = [*(message["content"] for message in messages), *texts]
        if not any(map(self._texts.search, all_texts)):
            return messages, texts, NOTHING_HIDDEN
        private = map(chr, range(0xE000, 0xF8FF))
        hidden = _Hidden(next(char for char in private if not any(char in text for text in all_texts)), [])
        clean = [{**one, "content": self._texts.sub(hidden.add, one["content"])} for one in messages]
        return clean, [self._texts.sub(hidden.add, text) for text in texts], hidden

    def _anchor(self, prompt: str) -> str:
        """The end of a prompt that is encoded together with its responses: from its last added token on."""
        end = prompt[-ANCHOR_LENGTH:]
        starts = [match.start() for match in self._added.finditer(end)]
        if starts:
            return end[starts[-1] :]
        return self._prompt_text or end[len(end.rstrip().rpartition(" ")[0]) :]

    def _after(
        self, row: _Row, query: list[int], text: str, anchored: list[int], counts: Counter[str]
    ) -> list[int]:
        """The ids behind the query, in the tokens of the whole text where those have a boundary there."""
        anchor = self._anchor(row.prompt)
        if anchor not in self._anchors:
            self._anchors[anchor] = self._encode([anchor], [row.hidden])[0]
        before = self._anchors[anchor]
        if query[-len(before) :] == before == anchored[: len(before)]:
            return anchored[len(before) :]
        whole = self._encode([text], [row.hidden])[0]
        if whole[: len(query)] == query:
            return whole[len(query) :]
        counts["boundaries_joined"] += 1
        return self._encode([text[len(row.prompt) :]], [row.hidden])[0]

    def _without_end(self, response: list[int], where: str) -> list[int]:
        end = self.turn_end
        if end and response[-len(end) :] != end:
            raise self._unusable(f"another end behind an answer of {where} than behind a short one")
        return response[: len(response) - len(end)]

    def _encode(self, texts: list[str], hidden: list[_Hidden]) -> list[list[int]]:
        """The ids of rendered texts: special tokens of the template are tokens, hidden texts are not."""
        plain = [index for index, one in enumerate(hidden) if not one.texts]
        found: list[list[int]] = [[] for _ in texts]
        if plain:
            batch = [texts[index] for index in plain]
            encoded = self.tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"]
            for index, ids in zip(plain, encoded, strict=True):
                found[index] = ids
        numbers = set(self._special.values())
        for index, (text, one) in enumerate(zip(texts, hidden, strict=True)):
            tokens = sum(token in self._special for token in self._texts.findall(text))
            if one.texts or sum(map(numbers.__contains__, found[index])) != tokens:
                found[index] = self._encode_parts(text, one)
        return found

    def _encode_parts(self, text: str, hidden: _Hidden) -> list[int]:
        """The slow way, for a text in which a tokenizer alone would find further special tokens."""
        marked = f"{hidden.mark}[0-9]+{hidden.mark}" if hidden.mark else r"(?!)"
        ids: list[int] = []
        for part in re.split(f"({self._texts.pattern}|{marked})", text):
            if part in self._special:
                ids.append(self._special[part])
                continue
            if hidden.mark and re.fullmatch(marked, part):
                part = hidden.texts[int(part.strip(hidden.mark))]
            ids += text_ids(self.tokenizer, [part], self._special)[0] if part else []
        return ids
