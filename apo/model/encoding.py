"""Text to token ids: a query with all its responses, cut the same way for all of them.

The ids of a response are `[bos] query [separator] response [eos]`; `[eos]` is there for every pooling
but `last`, which reads the token before it anyway (a causal model does not see it). A response is
encoded with one leading space and no white space at its ends, as the HH form writes it.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from apo.core.errors import UserError
from apo.model.special_tokens import ANCHOR, special_tokens, text_ids

CHUNK = 512  # items whose texts are given to the tokenizer at once


@dataclass(frozen=True)
class ResponseSet:
    """A query and its responses as ids; sequence k of the item is `prefix + responses[k]`."""

    prefix: list[int]
    responses: list[list[int]]

    def only(self, indices: Sequence[int]) -> "ResponseSet":
        """The item with these of its responses."""
        return ResponseSet(self.prefix, [self.responses[index] for index in indices])

    @property
    def unpacked_tokens(self) -> int:
        """Tokens of the separate sequences together."""
        return sum(len(self.prefix) + len(response) for response in self.responses)

    @property
    def longest(self) -> int:
        """Tokens of the longest separate sequence."""
        return len(self.prefix) + max(map(len, self.responses))


@dataclass(frozen=True)
class Encoder:
    """How a reward model reads text; the settings are saved with its checkpoint.

    Args:
        tokenizer: A fast Hugging Face tokenizer.
        max_length: Longest `[bos] query [separator] response [eos]` in tokens.
        pooling: last, eos, average or max.
        separator: Token between query and response, "" for none.
        truncation_side: The side on which a long query (or a response longer than max_length) is cut.
    """

    tokenizer: Any
    max_length: int
    pooling: str
    separator: str
    truncation_side: str

    def items(
        self,
        texts: Iterable[tuple[str, Sequence[str]]],
        counts: Counter[str],
        *,
        where: str,
        allow_blank: bool = False,
    ) -> Iterator[ResponseSet]:
        """Encodes (query, responses) pairs in order, and counts what was cut.

        Counts `queries_cut`, `responses_cut` (longer than max_length alone), `items`, `tokens`. A line on the
        terminal says how many responses were cut.

        Args:
            where: The file of the texts, for error messages.
            allow_blank: Whether a response may be blank; it then has no tokens of its own.

        Raises:
            UserError: A response has no tokens and `blanks` is off.
        """
        cut_before = counts["responses_cut"]
        for item in self.tokenize(texts, where=where, allow_blank=allow_blank):
            yield self.cut(item, counts)
        self.log_truncation(counts["responses_cut"] - cut_before, where=where)

    def log_truncation(self, cut: int, *, where: str) -> None:
        """Says on the terminal how many responses of a file were cut."""
        if cut:
            print(
                f"{where}: {cut} responses are longer than {self.max_length} tokens alone and were "
                "cut; raise `model.max_length` to keep them whole",
                file=sys.stderr,
            )

    def tokenize(
        self, texts: Iterable[tuple[str, Sequence[str]]], *, where: str, allow_blank: bool = False
    ) -> Iterator[ResponseSet]:
        """The ids of (query, responses) and nothing else: the query is the prefix, however long.

        Raises:
            UserError: As `items`.
        """
        stream, special = iter(texts), special_tokens(self.tokenizer, self.separator)
        [anchor] = text_ids(self.tokenizer, [ANCHOR], special)
        while part := list(islice(stream, CHUNK)):
            queries = text_ids(self.tokenizer, [query for query, _ in part], special)
            flat = [ANCHOR + " " + response.strip() for _, responses in part for response in responses]
            endings = iter(text_ids(self.tokenizer, flat, special))
            for query_ids, (query, responses) in zip(queries, part, strict=True):
                response_ids = [
                    self._after(anchor, ids, where) if response.strip() else []
                    for response, ids in zip(responses, islice(endings, len(responses)), strict=True)
                ]
                if not allow_blank and not all(response_ids):
                    raise UserError(
                        where,
                        found=f"a response without tokens to the query {query[-60:]!r}",
                        expected="a response with text",
                        do="remove it from the comparison",
                    )
                yield ResponseSet(query_ids, response_ids)

    def _after(self, anchor: list[int], ids: list[int], where: str) -> list[int]:
        """The ids of a response, those behind the anchor."""
        if ids[: len(anchor)] != anchor:
            raise UserError(
                where,
                found="a tokenizer that joins the end of a query with its response",
                expected="a token boundary between them",
                do="set `model.separator` in params.yaml",
            )
        return ids[len(anchor) :]

    @property
    def max_content_tokens(self) -> int:
        """Tokens that are left for a query and a response beside bos, separator and eos."""
        return self.max_length - sum(map(len, self._around()))

    def _around(self) -> tuple[list[int], list[int], list[int]]:
        """bos, separator and eos, each as a list of one id or none."""
        bos = [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
        separator = [self.tokenizer.convert_tokens_to_ids(self.separator)] if self.separator else []
        return bos, separator, [] if self.pooling == "last" else [self.tokenizer.eos_token_id]

    def cut(self, tokenized: ResponseSet, counts: Counter[str]) -> ResponseSet:
        """An item that fits: the query cut once for all responses, a response when none of it is left."""
        bos, separator, eos = self._around()
        max_content_tokens, query, responses = self.max_content_tokens, tokenized.prefix, tokenized.responses
        cut_responses = [self.truncate_ids(response, max_content_tokens) for response in responses]
        kept = self.truncate_ids(query, max_content_tokens - max(map(len, cut_responses)))
        counts["items"] += 1
        counts["queries_cut"] += len(kept) < len(query)
        counts["responses_cut"] += sum(len(c) < len(r) for c, r in zip(cut_responses, responses, strict=True))
        item = ResponseSet(bos + kept + separator, [response + eos for response in cut_responses])
        counts["tokens"] += item.unpacked_tokens
        return item

    def truncate_ids(self, ids: list[int], length: int) -> list[int]:
        """At most so many ids, those at the end or, with `truncation_side: right`, at the beginning."""
        if len(ids) <= length:
            return ids
        return ids[len(ids) - length :] if self.truncation_side == "left" else ids[:length]
