"""Data issues of tokenized comparisons, which are checked before training.

A good text can become useless after tokenization and truncation to `model.max_length`: responses that differ
only in the truncated part, a query of which no token remains, words that the tokenizer does not know.
`apo.reward.token_issues` lists the codes. `drop` leaves out the response; for an issue of the query it leaves
out the item.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from apo.core.data_issues import DataIssues
from apo.core.dialogue import ASSISTANT
from apo.model.chat_template import Rendered
from apo.model.encoding import Encoder
from apo.model.special_tokens import special_token_pattern, special_tokens, text_ids
from apo.reward.length_histogram import LengthHistogram

EXCERPT = 60  # characters of a text in an example


@dataclass(frozen=True)
class Comparison:
    """A query with its responses, as texts and as untruncated ids, and the labels that order them.

    Args:
        where: The row, such as `data/split/rm_train.jsonl:17`.
        is_adversarial: Whether the first response is golden and the others are samples.
    """

    query: str
    responses: Sequence[str]
    labels: Sequence[float]
    tokenized: Rendered
    where: str
    is_adversarial: bool = False


class TokenCheck:
    """Checks comparisons one by one.

    Args:
        issues: Counts the issues; its actions are those of `rm.on_issue`.
        unknown_rate: Maximum fraction of a text's tokens that may be unknown, 0 to 1.

    Attributes:
        lengths: Lengths in tokens of all checked comparisons, without truncation.
    """

    def __init__(self, encoder: Encoder, issues: DataIssues, *, unknown_rate: float) -> None:
        tokenizer = encoder.tokenizer
        special = special_tokens(tokenizer, encoder.separator)
        self.issues = issues
        self.lengths = LengthHistogram(overhead=encoder.max_length - encoder.max_content_tokens)
        self._encoder, self._max_tokens, self._unknown_rate = (
            encoder,
            encoder.max_content_tokens,
            unknown_rate,
        )
        self._special_tokens, self._special_ids = special, set(special.values())
        self._unknown_id = tokenizer.unk_token_id
        self._special_pattern = special_token_pattern([*special, *filter(None, [tokenizer.unk_token])])

    def check_tokenizer(self, where: str) -> None:
        """Checks the tokenizer itself.

        Raises:
            UserError: An issue whose action is `error`.
        """
        encoder, tokenizer = self._encoder, self._encoder.tokenizer
        if encoder.separator:
            separator_id = tokenizer.convert_tokens_to_ids(encoder.separator)
            ids = tokenizer(f"{ASSISTANT}{encoder.separator} a", add_special_tokens=False)["input_ids"]
            if separator_id in (None, self._unknown_id) or ids.count(separator_id) != 1:
                found = f"a tokenizer that does not read model.separator {encoder.separator!r} as one token"
                self.issues.report("lost_separator", where=where, found=found)
        if tokenizer.pad_token_id is not None and tokenizer.pad_token_id == tokenizer.eos_token_id:
            self.issues.report("pad_is_end_token", where=where, found=repr(tokenizer.pad_token))

    def kept_responses(self, comparison: Comparison) -> list[int]:
        """Indices of the responses to keep, in order; empty if the whole item is dropped.

        Raises:
            UserError: An issue whose action is `error`.
        """
        query, responses = comparison.tokenized.query, comparison.tokenized.responses
        self.lengths.add(len(query), [len(response) for response in responses])
        keeps_query = self._keeps_text(comparison.query, query, comparison.where, "the query")
        truncated = [tuple(self._encoder.truncate_ids(response, self._max_tokens)) for response in responses]
        kept = [index for index in range(len(responses)) if self._keeps_response(comparison, index)]
        if len({truncated[index] for index in kept}) < len(kept):
            dropped = set(self._duplicates(comparison, kept, truncated))
            kept = [index for index in kept if index not in dropped]
        if not (keeps_query and kept):
            return []
        if query and max(len(truncated[index]) for index in kept) >= self._max_tokens:
            longest = max(kept, key=lambda index: len(truncated[index]))
            found = f"no room for the query beside the {len(responses[longest])} tokens of a response"
            if not self.issues.report("query_cut_away", where=comparison.where, found=found):
                return []
        return kept

    def _keeps_response(self, comparison: Comparison, index: int) -> bool:
        text, ids = comparison.responses[index], comparison.tokenized.responses[index]
        if not ids:
            return self.issues.report("empty_response", where=comparison.where, found=_excerpt(text))
        keeps = self._keeps_text(text, ids, comparison.where, f"response {index + 1}")
        if len(ids) > self._max_tokens:
            found = (
                f"{len(ids)} tokens of response {index + 1} in room for {self._max_tokens}: {_excerpt(text)}"
            )
            keeps &= self.issues.report("response_cut", where=comparison.where, found=found)
        return keeps

    def _keeps_text(self, text: str, ids: list[int], where: str, desc: str) -> bool:
        keeps = True
        if match := self._special_pattern.search(text):
            found = f"{match.group()!r} in {desc}: {_excerpt(text[max(match.start() - EXCERPT // 2, 0) :])}"
            keeps &= self.issues.report("special_token_text", where=where, found=found)
        if not self._special_ids.isdisjoint(ids) and (special_ids := self._special_ids_of(text)):
            token = self._encoder.tokenizer.convert_ids_to_tokens(special_ids[0])
            found = f"the token {token!r} out of the text of {desc}: {_excerpt(text)}"
            keeps &= self.issues.report("special_token_id", where=where, found=found)
        unknown_count = 0 if self._unknown_id is None else ids.count(self._unknown_id)
        if unknown_count > self._unknown_rate * len(ids):
            found = f"{unknown_count} of {len(ids)} tokens of {desc} unknown: {_excerpt(text)}"
            keeps &= self.issues.report("unknown_tokens", where=where, found=found)
        return keeps

    def _special_ids_of(self, text: str) -> list[int]:
        """The special ids of the text itself, without those that a chat template adds."""
        [ids] = text_ids(self._encoder.tokenizer, [text], self._special_tokens)
        return [token_id for token_id in ids if token_id in self._special_ids]

    def _duplicates(
        self, comparison: Comparison, kept: list[int], truncated: list[tuple[int, ...]]
    ) -> Iterator[int]:
        """Indices of responses to drop because another response has the same truncated ids."""
        copies: dict[tuple[int, ...], list[int]] = {}
        for index in kept:
            copies.setdefault(truncated[index], []).append(index)
        for duplicates in copies.values():
            if len(duplicates) == 1:
                continue
            first, rest = duplicates[0], duplicates[1:]
            numbers = ", ".join(str(index + 1) for index in duplicates)
            found = f"responses {numbers}: {_excerpt(comparison.responses[first])}"
            if comparison.is_adversarial and first == 0:  # the golden answer is first
                code, dropped = "golden_equals_sample", rest
            elif len({comparison.labels[index] for index in duplicates}) > 1:
                code, dropped = "equal_responses", duplicates
            else:
                code, dropped = "repeated_responses", rest
            if not self.issues.report(code, where=comparison.where, found=found):
                yield from dropped


def _excerpt(text: str) -> str:
    return repr(text[:EXCERPT])
