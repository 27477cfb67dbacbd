"""Chat templates: from a dialogue to token ids, the same in sampling, training and scoring.

A model reads what the chat template of its tokenizer writes, and nothing else. The parts of a dialogue:

    head | query | generation prompt | response | turn end

The head is the begin token, where the template writes one first. The generation prompt is what
`add_generation_prompt` adds. The turn end is what the template writes behind an answer, from the first
special token on. The text of a special token in a message stays text and never becomes the token.
"""

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jinja2

from apo.core.dialogue import dialogue_to_messages, merge_turns
from apo.core.errors import UserError
from apo.model.hh_template import is_hh
from apo.model.special_tokens import written
from apo.model.template_tokens import NOTHING_HIDDEN, Hidden, Message, TemplateTokens

MARK = "\ue000"  # stands for an answer
ANCHOR_LENGTH = 200  # characters of a prompt of which some are encoded with its responses
ANCHORS = 1000  # whose ids are kept
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


class _Row(NamedTuple):
    """A query, and the query with each of its responses, as the template writes them."""

    prompt: str
    answered: list[str]
    hidden: Hidden


class ChatTemplate:
    """The chat template of a tokenizer.

    Args:
        tokenizer: A fast Hugging Face tokenizer.
        text: The template, in the place of the tokenizer's own.
        where: The checkpoint, for messages.
        separator: A token that the template writes between query and response, "" for none.

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

    def __init__(self, tokenizer: Any, text: str, *, where: str, separator: str = "") -> None:
        self.tokenizer, self.text, self._where = tokenizer, text, where
        self.is_hh = is_hh(text)
        self._tokens = TemplateTokens(tokenizer, separator=separator)
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
        ids, before = self._tokens.encode([prompt, asked], [NOTHING_HIDDEN] * 2)
        self.head = [bos_id] if bos and prompt.startswith(bos) and ids[:1] == [bos_id] else []
        self._prompt_text = prompt[len(asked) :] if prompt.startswith(asked) else ""
        is_apart = bool(self._prompt_text) and ids[: len(before)] == before
        self.generation_prompt = ids[len(before) :] if is_apart else []
        suffix = answered.partition(MARK)[2]
        special = self._tokens.find(suffix)
        self.turn_end = (
            self._tokens.encode([suffix[special.start() :]], [NOTHING_HIDDEN])[0] if special else []
        )

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
        for stop in (set(ends), set(self._tokens.special.values())):
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
        queries = iter(self._tokens.encode([row.prompt for row in kept], [row.hidden for row in kept]))
        anchored = [
            (self._anchor(row.prompt) + text[len(row.prompt) :], row.hidden)
            for row in kept
            for text in row.answered
        ]
        responses = iter(
            self._tokens.encode([text for text, _ in anchored], [hidden for _, hidden in anchored])
        )
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

    def write(self, query: str, responses: Sequence[str], *, where: str) -> tuple[str, list[str]] | None:
        """The texts of a prompt and of what follows it with each response; None where it is left out.

        Raises:
            UserError: See `encode`.
        """
        row = self._rendered(query, responses, Counter(), where)
        if row is None:
            return None
        texts = [row.hidden.show(text[len(row.prompt) :]) for text in row.answered]
        return row.hidden.show(row.prompt), texts

    def _rendered(
        self, query: str, responses: Sequence[str], counts: Counter[str], where: str
    ) -> _Row | None:
        messages, texts, hidden = self._tokens.hide(
            dialogue_to_messages(query), [one.strip() for one in responses]
        )
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

    def _row(self, messages: list[Message], texts: list[str], hidden: Hidden) -> _Row:
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
            if len(self._anchors) == ANCHORS:  # they hold words of the texts
                self._anchors.clear()
            self._anchors[anchor] = self._tokens.encode([anchor], [row.hidden])[0]
        before = self._anchors[anchor]
        if query[-len(before) :] == before == anchored[: len(before)]:
            return anchored[len(before) :]
        whole = self._tokens.encode([text], [row.hidden])[0]
        if whole[: len(query)] == query:
            return whole[len(query) :]
        counts["boundaries_joined"] += 1
        return self._tokens.encode([text[len(row.prompt) :]], [row.hidden])[0]

    def _without_end(self, response: list[int], where: str) -> list[int]:
        end = self.turn_end
        if end and response[-len(end) :] != end:
            raise self._unusable(f"another end behind an answer of {where} than behind a short one")
        return response[: len(response) - len(end)]
