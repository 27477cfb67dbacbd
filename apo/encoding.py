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

from apo.errors import UserError

ANCHOR = "\n\nAssistant:"  # every query ends with it; encoding it alone shows where a response begins
CHUNK = 512  # items whose texts are given to the tokenizer at once


@dataclass(frozen=True)
class Item:
    """A query and its responses as ids; sequence k of the item is `prefix + responses[k]`."""

    prefix: list[int]
    responses: list[list[int]]

    @property
    def plain_tokens(self) -> int:
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
        blanks: bool = False,
    ) -> Iterator[Item]:
        """Encodes (query, responses) pairs in order, and counts what was cut.

        Counts `queries_cut`, `responses_cut` (longer than max_length alone), `items`, `tokens`. A line on the
        terminal says how many responses were cut.

        Args:
            where: The file of the texts, for error messages.
            blanks: Whether a response may be blank; it then has no tokens of its own.

        Raises:
            UserError: A response has no tokens and `blanks` is off.
        """
        stream, cut_before = iter(texts), counts["responses_cut"]
        while chunk := list(islice(stream, CHUNK)):
            queries = self._ids([query for query, _ in chunk])
            flat = [ANCHOR + " " + response.strip() for _, responses in chunk for response in responses]
            endings = iter(self._ids(flat))
            anchor = self._ids([ANCHOR])[0]
            for query_ids, (query, responses) in zip(queries, chunk, strict=True):
                response_ids = [
                    []
                    if blanks and not response.strip()
                    else self._after(anchor, ids, response, query, where)
                    for response, ids in zip(responses, islice(endings, len(responses)), strict=True)
                ]
                yield self._cut(query_ids, response_ids, counts)
        if cut := counts["responses_cut"] - cut_before:
            print(
                f"{where}: {cut} responses are longer than {self.max_length} tokens alone and were "
                "cut; raise `model.max_length` to keep them whole",
                file=sys.stderr,
            )

    def _ids(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        ids: list[list[int]] = self.tokenizer(
            texts, add_special_tokens=False, split_special_tokens=True, verbose=False
        )["input_ids"]
        return ids

    def _after(self, anchor: list[int], ids: list[int], response: str, query: str, where: str) -> list[int]:
        """The ids of a response, those behind the anchor."""
        if ids[: len(anchor)] != anchor:
            raise UserError(
                where,
                found="a tokenizer that joins the end of a query with its response",
                expected="a token boundary between them",
                do="set `model.separator` in params.yaml",
            )
        if not response.strip() or len(ids) == len(anchor):
            raise UserError(
                where,
                found=f"a response without tokens to the query {query[-60:]!r}",
                expected="a response with text",
                do="remove it from the comparison",
            )
        return ids[len(anchor) :]

    def _cut(self, query: list[int], responses: list[list[int]], counts: Counter[str]) -> Item:
        """Cuts the query once for all responses; a response only when no query token remains."""
        bos = [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
        separator = [self.tokenizer.convert_tokens_to_ids(self.separator)] if self.separator else []
        eos = [] if self.pooling == "last" else [self.tokenizer.eos_token_id]
        room = self.max_length - len(bos) - len(separator) - len(eos)
        cut_responses = [self._shorten(response, room) for response in responses]
        kept = self._shorten(query, room - max(map(len, cut_responses)))
        counts["items"] += 1
        counts["queries_cut"] += len(kept) < len(query)
        counts["responses_cut"] += sum(len(c) < len(r) for c, r in zip(cut_responses, responses, strict=True))
        item = Item(bos + kept + separator, [response + eos for response in cut_responses])
        counts["tokens"] += item.plain_tokens
        return item

    def _shorten(self, ids: list[int], length: int) -> list[int]:
        if len(ids) <= length:
            return ids
        return ids[len(ids) - length :] if self.truncation_side == "left" else ids[:length]
