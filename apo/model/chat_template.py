"""Chat templates: from a dialogue to token ids, the same in sampling, training and scoring.

A model reads exactly what the chat template of its tokenizer writes. The parts of a dialogue:

    head | query | generation prompt | response | turn end

The head is the begin token, if the template writes one first. The generation prompt is what it writes
between the user's text and the answer: the end of the turn, and what `add_generation_prompt` adds. The turn
end is what it writes after an answer, from the first special token on. The text of a special token in a
message stays text and never becomes the token.
"""

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, NamedTuple

import jinja2

from apo.core.dialogue import dialogue_to_messages, merge_turns
from apo.core.errors import UserError
from apo.model.hh_template import is_hh
from apo.model.special_tokens import special_token_pattern
from apo.model.template_text import check_texts
from apo.model.template_tokens import NOTHING_ESCAPED, EscapedTexts, Message, TemplateTokens

MARK = "\ue000"  # replaces an answer while the parts of the template are found
ANCHOR_LENGTH = 200  # maximum characters of a prompt's end that are encoded with each response
ANCHORS = 1000  # maximum number of such ends whose ids are cached
REFUSED = "refused_dialogues"  # key of tokenizer_config.json: error, drop or merge
REFUSED_KEY = (  # for messages
    "refused_dialogues (in the sections backbone and actor of params.yaml; for a folder of rm.start or "
    "test_rm.start in its tokenizer_config.json)"
)
REFUSALS = (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError)


@dataclass(frozen=True)
class Rendered:
    """The ids of a query and its responses, in the parts of a chat template.

    Attributes:
        query: Without head and generation prompt.
        generation_prompt: That of the template, without tokens that the tokenizer joins with the query.
        responses: Without turn end.
    """

    query: list[int]
    generation_prompt: list[int]
    responses: list[list[int]]

    def only(self, indices: Sequence[int]) -> "Rendered":
        """The query with only the given responses."""
        return replace(self, responses=[self.responses[index] for index in indices])


def common_suffix(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """The longest common end of two sequences.

    >>> common_suffix([1, 2, 3], [9, 2, 3])
    [2, 3]
    """
    equal = takewhile(lambda pair: pair[0] == pair[1], zip(reversed(first), reversed(second), strict=False))
    return [token for token, _ in equal][::-1]


class _RenderedRow(NamedTuple):
    """The text of a query and the texts of the query with each response, as the template writes them."""

    prompt: str
    texts: list[str]
    escaped: EscapedTexts


class ChatTemplate:
    """The chat template of a tokenizer.

    Args:
        tokenizer: A fast Hugging Face tokenizer.
        text: The template, which replaces the tokenizer's own.
        where: The checkpoint, for messages.
        separator: A token that the template writes between query and response; "" for none.

    Attributes:
        head: The id of the begin token, if the template writes one first; else empty.
        generation_prompt: The ids behind the text of a query.
        turn_end: The ids after an answer, from the first special token on.
        is_hh: Whether it writes the HH form.

    Raises:
        UserError: The template does not render, its text of a query is no prefix of the text with the
            answer, or the tokenizer joins query and answer in one token.
    """

    def __init__(self, tokenizer: Any, text: str, *, where: str, separator: str = "") -> None:
        self.tokenizer, self.text, self._where = tokenizer, text, where
        self.is_hh = is_hh(text, tokenizer)
        self._tokens = TemplateTokens(tokenizer, separator=separator)
        added_tokens = [token.content for token in tokenizer.added_tokens_decoder.values()]
        self._added_tokens = special_token_pattern(added_tokens)
        self._anchors: dict[str, list[int]] = {}
        messages = [{"role": "user", "content": "Hi"}]
        try:
            prompt = self._render(messages, prompt=True)
            other = self._render([{"role": "user", "content": "Go on"}], prompt=True)
            question = self._render(messages)
            answered = self._render([*messages, {"role": "assistant", "content": MARK}])
        except REFUSALS as error:
            raise self._template_error(
                f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
            ) from None
        if not answered.startswith(prompt) or MARK not in answered:
            raise self._template_error(f"a question {prompt[-80:]!r}, and with its answer {answered[-80:]!r}")
        self._prompt_text = prompt[len(question) :] if prompt.startswith(question) else ""
        self._set_parts(prompt, other, answered)
        counts: Counter[str] = Counter()
        self.encode([("\n\nHuman: Hi\n\nAssistant:", ["Yes."])], counts, where=where)
        if counts["boundaries_joined"]:
            raise UserError(
                where,
                found="a tokenizer that joins the end of a query with its response",
                expected="a token boundary between them",
                do="name a chat template with a token or a line break between them, or set `model.separator`",
            )

    def _set_parts(self, prompt: str, other: str, answered: str) -> None:
        bos, bos_id = self.tokenizer.bos_token, self.tokenizer.bos_token_id
        prompt_ids, other_ids = self._tokens.encode([prompt, other], [NOTHING_ESCAPED] * 2)
        self.head = [bos_id] if bos and prompt.startswith(bos) and prompt_ids[:1] == [bos_id] else []
        self.generation_prompt = common_suffix(prompt_ids, other_ids)
        suffix = answered.partition(MARK)[2]
        special = self._tokens.find(suffix)
        self.turn_end = (
            self._tokens.encode([suffix[special.start() :]], [NOTHING_ESCAPED])[0] if special else []
        )

    def _template_error(self, found: str) -> UserError:
        return UserError(
            f"{self._where}: chat template",
            found=found,
            expected="a template that writes a question, and behind it the answer",
            do="set backbone.chat_template and actor.chat_template to hh or to a file of data/chat_templates",
        )

    def learned_end(self, ends: Iterable[int]) -> list[int]:
        """The ids that a language model learns to write after a response.

        They are the turn end up to the first token of `ends`, or else up to its first special token. If the
        template writes neither, they are the end token of the tokenizer.

        Args:
            ends: The tokens that end a generated response.

        Raises:
            UserError: There is no such token.
        """
        for stop_ids in (set(ends), set(self._tokens.special.values())):
            for index, token in enumerate(self.turn_end):
                if token in stop_ids:
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
            texts: Queries in the HH form with their responses; white space around a response is stripped.
            counts: Updated in place: `dialogues_merged` and `dialogues_dropped` for dialogues that the
                template refuses, `boundaries_joined` for responses whose beginning the tokenizer would join
                with the query.

        Returns:
            The parts in the order of the texts; None for a dialogue that is refused and dropped.

        Raises:
            UserError: The template refuses a dialogue that is neither merged nor dropped.
        """
        all_rows = [self._render_row(query, responses, counts, where) for query, responses in texts]
        rows = [row for row in all_rows if row]
        prompts = iter(self._tokens.encode([row.prompt for row in rows], [row.escaped for row in rows]))
        anchored = [
            (self._anchor(row.prompt) + text[len(row.prompt) :], row.escaped)
            for row in rows
            for text in row.texts
        ]
        anchored_ids = iter(
            self._tokens.encode([text for text, _ in anchored], [escaped for _, escaped in anchored])
        )
        rendered: list[Rendered | None] = []
        for row in all_rows:
            if row is None:
                rendered.append(None)
                continue
            prompt = next(prompts)
            answers = [
                self._response_ids(row, prompt, text, next(anchored_ids), counts) for text in row.texts
            ]
            suffix = common_suffix(prompt, self.generation_prompt)
            query = prompt[len(self.head) : len(prompt) - len(suffix)]
            responses = [self._strip_turn_end(answer, where) for answer in answers]
            rendered.append(Rendered(query, suffix, responses))
        return rendered

    def write(self, query: str, responses: Sequence[str], *, where: str) -> tuple[str, list[str]] | None:
        """The text of the prompt and the text of each response with its turn end; None if it is dropped.

        Raises:
            UserError: See `encode`.
        """
        row = self._render_row(query, responses, Counter(), where)
        if row is None:
            return None
        texts = [row.escaped.unescape(text[len(row.prompt) :]) for text in row.texts]
        return row.escaped.unescape(row.prompt), texts

    def _render_row(
        self, query: str, responses: Sequence[str], counts: Counter[str], where: str
    ) -> _RenderedRow | None:
        messages, texts, escaped = self._tokens.escape(
            dialogue_to_messages(query), [response.strip() for response in responses]
        )
        try:
            return self._render_texts(messages, texts, escaped)
        except REFUSALS as error:
            reason = " ".join(str(error).split())[:120] or type(error).__name__
        action = self.tokenizer.init_kwargs.get(REFUSED, "error")
        if action == "drop":
            counts["dialogues_dropped"] += 1
            return None
        with contextlib.suppress(*REFUSALS):
            if action == "merge":
                row = self._render_texts(merge_turns(messages), texts, escaped)
                counts["dialogues_merged"] += 1
                return row
        raise UserError(
            where,
            found=f"a dialogue that the chat template of {self._where} refuses ({reason}): {query[:80]!r}",
            expected="turns that the template can write",
            do=f"set {REFUSED_KEY} to merge or drop, or name another chat template",
        )

    def _render_texts(self, messages: list[Message], texts: list[str], escaped: EscapedTexts) -> _RenderedRow:
        prompt = self._render(messages, prompt=True)
        check_texts(messages, prompt)
        answered = [self._render([*messages, {"role": "assistant", "content": text}]) for text in texts]
        if not all(text.startswith(prompt) for text in answered):
            raise ValueError("the query is no beginning of the query with its answer")
        return _RenderedRow(prompt, answered, escaped)

    def _render(self, messages: list[Message], *, prompt: bool = False) -> str:
        rendered: str = self.tokenizer.apply_chat_template(
            messages, chat_template=self.text, tokenize=False, add_generation_prompt=prompt
        )
        return rendered

    def _anchor(self, prompt: str) -> str:
        """The end of a prompt that is encoded with each response: from its last added token on."""
        end = prompt[-ANCHOR_LENGTH:]
        starts = [match.start() for match in self._added_tokens.finditer(end)]
        if starts:
            return end[starts[-1] :]
        return self._prompt_text or end[len(end.rstrip().rpartition(" ")[0]) :]

    def _response_ids(
        self, row: _RenderedRow, prompt: list[int], text: str, anchored_ids: list[int], counts: Counter[str]
    ) -> list[int]:
        """The ids after the prompt, as in the whole text if its tokens have a boundary there."""
        anchor = self._anchor(row.prompt)
        if anchor not in self._anchors:
            if len(self._anchors) == ANCHORS:  # some contain words of the texts, so there may be many
                self._anchors.clear()
            self._anchors[anchor] = self._tokens.encode([anchor], [row.escaped])[0]
        anchor_ids = self._anchors[anchor]
        if prompt[-len(anchor_ids) :] == anchor_ids == anchored_ids[: len(anchor_ids)]:
            return anchored_ids[len(anchor_ids) :]
        text_ids = self._tokens.encode([text], [row.escaped])[0]
        if text_ids[: len(prompt)] == prompt:
            return text_ids[len(prompt) :]
        counts["boundaries_joined"] += 1
        return self._tokens.encode([text[len(row.prompt) :]], [row.escaped])[0]

    def _strip_turn_end(self, ids: list[int], where: str) -> list[int]:
        turn_end = self.turn_end
        if turn_end and ids[-len(turn_end) :] != turn_end:
            raise self._template_error(f"another end behind an answer of {where} than behind a short one")
        return ids[: len(ids) - len(turn_end)]
