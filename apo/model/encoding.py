"""Token ids of a query with all its responses; the query is truncated once for all of them.

The chat template determines the ids (`apo.model.chat_template`). A reward model reads all that the template
writes. A language model learns a response with its turn end up to the end token. If a sequence is too long,
the query is truncated first. A response is truncated only when no query tokens remain.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from apo.core.errors import UserError
from apo.core.records import Row, read_rows
from apo.model.chat_template import REFUSED_KEY, ChatTemplate, Rendered
from apo.model.hh_template import hh_template, is_hh
from apo.model.template_text import default_template, fix_dates

CHUNK = 512  # items per call of the tokenizer


@dataclass(frozen=True)
class ResponseSet:
    """Token ids of a query and its responses. Sequence k is `prefix + responses[k]`."""

    prefix: list[int]
    responses: list[list[int]]

    def only(self, indices: Sequence[int]) -> "ResponseSet":
        """The item with only the given responses."""
        return ResponseSet(self.prefix, [self.responses[index] for index in indices])

    def sequence(self, index: int) -> list[int]:
        """The separate sequence of a response."""
        return self.prefix + self.responses[index]

    @property
    def unpacked_tokens(self) -> int:
        """Total number of tokens of the separate sequences."""
        return sum(len(self.prefix) + len(response) for response in self.responses)

    @property
    def longest(self) -> int:
        """Number of tokens of the longest separate sequence."""
        return len(self.prefix) + max(map(len, self.responses))


@dataclass(frozen=True)
class Encoder:
    """How a model encodes text. The settings of a reward model are saved in its checkpoint.

    Args:
        tokenizer: A fast Hugging Face tokenizer.
        max_length: Maximum length of a sequence in tokens.
        pooling: last, eos, average or max, of a reward model in the HH form: all but last have an end token.
        separator: Token between query and response in the HH form; "" for none.
        truncation_side: The side on which a long query, or a response longer than max_length, is truncated.
        ends: The tokens that end a response of a language model; () for a reward model.
        parameter: The parameter that sets max_length, for messages.
    """

    tokenizer: Any
    max_length: int
    pooling: str
    separator: str
    truncation_side: str
    ends: tuple[int, ...] = ()
    parameter: str = "model.max_length"

    @cached_property
    def template(self) -> ChatTemplate:
        """The chat template of the tokenizer with fixed dates, or the HH form if it has none.

        Raises:
            UserError: It can't be used, or not with this pooling or separator.
        """
        text = default_template(self.tokenizer.chat_template)
        where = self.tokenizer.name_or_path or "the tokenizer"
        if text is None or is_hh(text, self.tokenizer):
            end = "" if self.pooling == "last" else "{{ eos_token }}"
            text = hh_template(separator=self.separator, end=end)
        elif self.separator:
            raise UserError(
                "params.yaml: model.separator",
                found=f"{self.separator!r} with the chat template of {where}",
                expected="'': a chat template says itself what stands between query and response",
                do="write '', or set backbone.chat_template: hh",
            )
        template = ChatTemplate(self.tokenizer, fix_dates(text)[0], where=where, separator=self.separator)
        if (
            self.pooling == "eos"
            and not self.ends
            and template.turn_end[-1:] != [self.tokenizer.eos_token_id]
        ):
            raise UserError(
                "params.yaml: model.pooling",
                found=f"eos with the chat template of {where}, which ends an answer otherwise",
                expected="a template that ends an answer with the end token of the tokenizer",
                do="write last, which pools at the last token that the template writes",
            )
        return template

    @cached_property
    def turn_end(self) -> list[int]:
        """The ids after a response: all that the template writes, or those that a language model learns."""
        if self.ends:
            return self.template.learned_end(self.ends)
        end = self.template.turn_end
        while end[-1:] == [self.tokenizer.pad_token_id]:
            end = end[:-1]  # `AutoModelForSequenceClassification` reads the last token that is not padding
        return end

    @property
    def max_content_tokens(self) -> int:
        """Maximum number of tokens of query and response, without those that the template adds.

        Raises:
            UserError: The template alone takes max_length tokens or more.
        """
        template = self.template
        overhead = len(template.head) + len(template.generation_prompt) + len(self.turn_end)
        if overhead >= self.max_length:
            raise self._too_short(overhead)
        return self.max_length - overhead

    def _too_short(self, overhead: int) -> UserError:
        return UserError(
            f"params.yaml: {self.parameter}",
            found=f"{self.max_length}, of which the chat template takes {overhead}",
            expected="room for a query and a response",
            do="raise it",
        )

    def items(
        self,
        texts: Iterable[tuple[str, Sequence[str]]],
        counts: Counter[str],
        *,
        where: str,
        allow_blank: bool = False,
    ) -> Iterator[ResponseSet]:
        """Encodes (query, responses) pairs in order, truncates them to max_length and counts truncations.

        A warning on stderr gives the number of truncated responses.

        Args:
            counts: Updated in place: `items`, `tokens`, `queries_cut`, and `responses_cut` for responses that
                exceed max_length without their query; and the counts of `ChatTemplate.encode`.
            allow_blank: Whether a response may be blank, and so have no tokens.

        Raises:
            UserError: A response has no tokens and `allow_blank` is False, or the chat template refuses a
                dialogue.
        """
        truncated_before = counts["responses_cut"]
        for rendered in self.tokenize(texts, counts, where=where, allow_blank=allow_blank):
            if rendered is None:
                raise UserError(
                    where,
                    found="a dialogue that the chat template refuses",
                    expected="one that it can write: no row can be left out here",
                    do=f"set {REFUSED_KEY} to merge",
                )
            yield self.truncate(rendered, counts)
        self.log_truncation(counts["responses_cut"] - truncated_before, where=where)

    def log_truncation(self, count: int, *, where: str) -> None:
        """Logs the number of truncated responses of a file to stderr."""
        if count:
            print(
                f"{where}: {count} responses are longer than {self.max_length} tokens alone and were "
                f"cut; raise `{self.parameter}` to keep them whole",
                file=sys.stderr,
            )

    def tokenize(
        self,
        texts: Iterable[tuple[str, Sequence[str]]],
        counts: Counter[str],
        *,
        where: str,
        allow_blank: bool = False,
    ) -> Iterator[Rendered | None]:
        """The untruncated ids of (query, responses) pairs; None for a dialogue that is refused and dropped.

        Raises:
            UserError: See `items`.
        """
        pairs = iter(texts)
        while chunk := list(islice(pairs, CHUNK)):
            for (query, _), rendered in zip(
                chunk, self.template.encode(chunk, counts, where=where), strict=True
            ):
                if rendered and not allow_blank and not all(rendered.responses):
                    raise UserError(
                        where,
                        found=f"a response without tokens to the query {query[-60:]!r}",
                        expected="a response with text",
                        do="remove it from the comparison",
                    )
                yield rendered

    def read_comparisons(self, path: Path, counts: Counter[str]) -> tuple[list[Row], list[ResponseSet]]:
        """The comparisons of a file and their items, without those that the chat template drops.

        Args:
            path: Rows `{query, responses}`.
            counts: Updated in place, see `items`.

        Raises:
            UserError: A response has no tokens, or the chat template refuses a dialogue.
        """
        all_rows = list(read_rows(path))
        texts = ((row["query"], row["responses"]) for row in all_rows)
        tokenized = list(self.tokenize(texts, counts, where=str(path)))
        rows = [row for row, rendered in zip(all_rows, tokenized, strict=True) if rendered]
        return rows, [self.truncate(rendered, counts) for rendered in tokenized if rendered]

    def truncate(self, rendered: Rendered, counts: Counter[str]) -> ResponseSet:
        """Truncates an item to max_length and adds the ids that the template writes around it.

        The query is truncated once for all responses. A response is truncated only if it exceeds max_length
        without its query. See `items` for `counts`.
        """
        max_tokens = self.max_content_tokens
        responses = [self.truncate_ids(response, max_tokens) for response in rendered.responses]
        query = self.truncate_ids(rendered.query, max_tokens - max(map(len, responses), default=0))
        counts["items"] += 1
        counts["queries_cut"] += len(query) < len(rendered.query)
        counts["responses_cut"] += sum(
            len(truncated) < len(full) for truncated, full in zip(responses, rendered.responses, strict=True)
        )
        prefix = self.template.head + query + rendered.generation_prompt
        item = ResponseSet(prefix, [response + self.turn_end for response in responses])
        counts["tokens"] += item.unpacked_tokens
        return item

    def truncate_query(
        self, rendered: Rendered, counts: Counter[str], responses: Sequence[Sequence[int]] | None = None
    ) -> ResponseSet | None:
        """A training item: only the query is truncated, never a response.

        Args:
            rendered: The untruncated ids.
            counts: Updated in place: `items`, `tokens`, `queries_cut`, `queries_dropped_cut_away`.
            responses: Ids with their end tokens that replace the rendered responses.

        Returns:
            None if the longest response leaves no token of the query.
        """
        if not responses:
            responses = [response + self.turn_end for response in rendered.responses]
        prefix, suffix = self.template.head, rendered.generation_prompt
        max_tokens = self.max_length - len(prefix) - len(suffix) - max(map(len, responses))
        query = self.truncate_ids(rendered.query, max(0, max_tokens))
        if max_tokens < 0 or (rendered.query and not query):
            counts["queries_dropped_cut_away"] += 1
            return None
        counts["items"] += 1
        counts["queries_cut"] += len(query) < len(rendered.query)
        item = ResponseSet(prefix + query + suffix, [list(response) for response in responses])
        counts["tokens"] += item.unpacked_tokens
        return item

    def response_ids(self, rendered: Rendered, sample_ids: Sequence[list[int] | None]) -> list[list[int]]:
        """The ids of the responses with their end tokens.

        Args:
            rendered: The ids of the texts.
            sample_ids: For each response the ids that were drawn, or None if they are those of its text.
        """
        responses = zip(rendered.responses, sample_ids, strict=True)
        return [text_ids + self.turn_end if drawn is None else drawn for text_ids, drawn in responses]

    def prompt(self, rendered: Rendered, counts: Counter[str]) -> list[int]:
        """The ids of a query for generation; `prompts_cut` counts truncated queries.

        Raises:
            UserError: The template alone takes max_length tokens or more.
        """
        prefix, suffix = self.template.head, rendered.generation_prompt
        max_tokens = self.max_length - len(prefix) - len(suffix)
        if max_tokens < 1:
            raise self._too_short(len(prefix) + len(suffix))
        query = self.truncate_ids(rendered.query, max_tokens)
        counts["prompts_cut"] += len(query) < len(rendered.query)
        return prefix + query + suffix

    def truncate_ids(self, ids: list[int], length: int) -> list[int]:
        """The last `length` ids, or the first with `truncation_side: right`."""
        if len(ids) <= length:
            return ids
        return ids[len(ids) - length :] if self.truncation_side == "left" else ids[:length]
