"""Tokenization of a query with all its responses; the query is truncated once for all of them.

The ids of a response are `[bos] query [separator] response [eos]`. There is no `[eos]` with pooling `last`,
which reads the token before it (a causal model does not attend to later tokens). A response is encoded with
one leading space and no other surrounding white space, as in the HH format.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from apo.core.errors import UserError
from apo.model.special_tokens import ANCHOR, special_tokens, text_ids

CHUNK = 512  # items per call of the tokenizer


@dataclass(frozen=True)
class ResponseSet:
    """Token ids of a query and its responses. Sequence k is `prefix + responses[k]`."""

    prefix: list[int]
    responses: list[list[int]]

    def only(self, indices: Sequence[int]) -> "ResponseSet":
        """The item with only the given responses."""
        return ResponseSet(self.prefix, [self.responses[index] for index in indices])

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
    """How a reward model encodes text. The settings are saved in its checkpoint.

    Args:
        tokenizer: A fast Hugging Face tokenizer.
        max_length: Maximum length of `[bos] query [separator] response [eos]` in tokens.
        pooling: last, eos, average or max.
        separator: Token between query and response; "" for none.
        truncation_side: The side on which a long query, or a response longer than max_length, is truncated.
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
        """Encodes (query, responses) pairs in order and counts truncations.

        A warning on stderr gives the number of truncated responses.

        Args:
            texts: (query, responses) pairs.
            counts: Updated in place: `items`, `tokens`, `queries_cut`, and `responses_cut` for responses that
                exceed max_length without their query.
            where: The file of the texts, for messages.
            allow_blank: Whether a response may be blank; it then has no tokens.

        Raises:
            UserError: A response has no tokens and `allow_blank` is False, or the tokenizer merges query and
                response.
        """
        cut_before = counts["responses_cut"]
        for item in self.tokenize(texts, where=where, allow_blank=allow_blank):
            yield self.cut(item, counts)
        self.log_truncation(counts["responses_cut"] - cut_before, where=where)

    def log_truncation(self, cut: int, *, where: str) -> None:
        """Logs the number of truncated responses of a file to stderr."""
        if cut:
            print(
                f"{where}: {cut} responses are longer than {self.max_length} tokens alone and were "
                "cut; raise `model.max_length` to keep them whole",
                file=sys.stderr,
            )

    def tokenize(
        self, texts: Iterable[tuple[str, Sequence[str]]], *, where: str, allow_blank: bool = False
    ) -> Iterator[ResponseSet]:
        """Tokenizes (query, responses) pairs without truncation and special tokens; the query is the prefix.

        Raises:
            UserError: See `items`.
        """
        stream, special = iter(texts), special_tokens(self.tokenizer, self.separator)
        [anchor] = text_ids(self.tokenizer, [ANCHOR], special)
        while chunk := list(islice(stream, CHUNK)):
            queries = text_ids(self.tokenizer, [query for query, _ in chunk], special)
            anchored = [ANCHOR + " " + response.strip() for _, responses in chunk for response in responses]
            anchored_ids = iter(text_ids(self.tokenizer, anchored, special))
            for query_ids, (query, responses) in zip(queries, chunk, strict=True):
                response_ids = [
                    self._remove_anchor(anchor, ids, where) if response.strip() else []
                    for response, ids in zip(responses, islice(anchored_ids, len(responses)), strict=True)
                ]
                if not allow_blank and not all(response_ids):
                    raise UserError(
                        where,
                        found=f"a response without tokens to the query {query[-60:]!r}",
                        expected="a response with text",
                        do="remove it from the comparison",
                    )
                yield ResponseSet(query_ids, response_ids)

    def _remove_anchor(self, anchor: list[int], ids: list[int], where: str) -> list[int]:
        """The ids of a response: those after the anchor."""
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
        """Maximum number of tokens of query and response together, without bos, separator and eos."""
        return self.max_length - sum(map(len, self._special_ids()))

    def _special_ids(self) -> tuple[list[int], list[int], list[int]]:
        """bos, separator and eos, each as a list of zero or one id."""
        bos = [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
        separator = [self.tokenizer.convert_tokens_to_ids(self.separator)] if self.separator else []
        return bos, separator, [] if self.pooling == "last" else [self.tokenizer.eos_token_id]

    def cut(self, tokenized: ResponseSet, counts: Counter[str]) -> ResponseSet:
        """Truncates an item to max_length and adds the special tokens.

        The query is truncated once for all responses. A response is truncated only if it exceeds max_length
        without its query. See `items` for `counts`.
        """
        bos, separator, eos = self._special_ids()
        max_content_tokens = self.max_content_tokens
        responses = [self.truncate_ids(response, max_content_tokens) for response in tokenized.responses]
        query = self.truncate_ids(tokenized.prefix, max_content_tokens - max(map(len, responses)))
        counts["items"] += 1
        counts["queries_cut"] += len(query) < len(tokenized.prefix)
        counts["responses_cut"] += sum(
            len(truncated) < len(full) for truncated, full in zip(responses, tokenized.responses, strict=True)
        )
        item = ResponseSet(bos + query + separator, [response + eos for response in responses])
        counts["tokens"] += item.unpacked_tokens
        return item

    def truncate_ids(self, ids: list[int], length: int) -> list[int]:
        """The last `length` ids, or the first with `truncation_side: right`."""
        if len(ids) <= length:
            return ids
        return ids[len(ids) - length :] if self.truncation_side == "left" else ids[:length]
