"""What is wrong with comparisons once they are tokens: found before training, dealt with by action.

A text that is fine may train nothing or do harm once a tokenizer and `model.max_length` were at it: responses
that differ in what was cut, a question of which nothing is left, words that the tokenizer does not know.
Codes of a response (`drop` leaves out the response): `empty_response`, `special_token_text`,
`special_token_id`, `unknown_tokens`, `response_cut`, `golden_equals_sample`, `repeated_responses`;
`equal_responses` leaves out every copy. Codes of a query (`drop` leaves out the item): `query_cut_away`, and
`special_token_text`, `special_token_id` and `unknown_tokens` in it. Codes of the tokenizer:
`lost_separator`, `pad_is_end_token`. An item keeps what it has; with a single response it trains nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from apo.core.data_issues import DataIssues
from apo.core.dialogue import ASSISTANT
from apo.model.chat_template import Rendered
from apo.model.encoding import Encoder
from apo.model.special_tokens import special_tokens, text_ids, written
from apo.reward.length_histogram import LengthHistogram

SHOWN = 60  # characters of a text in an example


@dataclass(frozen=True)
class Comparison:
    """A query with its responses, as texts and as uncut ids, and the scores that order them.

    Args:
        where: The row: `data/split/rm_train.jsonl:17`.
        is_apo: The first response is golden, the others are samples.
    """

    query: str
    responses: Sequence[str]
    scores: Sequence[float]
    tokenized: Rendered
    where: str
    is_apo: bool = False


class TokenCheck:
    """Looks at one comparison after the other.

    Args:
        encoder: How texts are read and cut.
        issues: Counts and decides; its actions are those of `rm.on_issue`.
        unknown_rate: Fraction of a text's tokens that may be unknown.

    Attributes:
        lengths: Of everything that was looked at, before any cut.
    """

    def __init__(self, encoder: Encoder, issues: DataIssues, *, unknown_rate: float) -> None:
        tokenizer = encoder.tokenizer
        special = special_tokens(tokenizer, encoder.separator)
        self.issues = issues
        self.lengths = LengthHistogram(overhead=encoder.max_length - encoder.max_content_tokens)
        self._encoder, self._room, self._unknown_rate = encoder, encoder.max_content_tokens, unknown_rate
        self._special, self._ids = special, set(special.values())
        self._unknown = tokenizer.unk_token_id
        self._written = written([*special, *filter(None, [tokenizer.unk_token])])

    def check_tokenizer(self, where: str) -> None:
        """Counts what is wrong with the tokenizer itself.

        Raises:
            UserError: An issue whose action is `error`.
        """
        encoder, tokenizer = self._encoder, self._encoder.tokenizer
        if encoder.separator:
            number = tokenizer.convert_tokens_to_ids(encoder.separator)
            ids = tokenizer(f"{ASSISTANT}{encoder.separator} a", add_special_tokens=False)["input_ids"]
            if number in (None, self._unknown) or ids.count(number) != 1:
                found = f"a tokenizer that does not read model.separator {encoder.separator!r} as one token"
                self.issues.keeps("lost_separator", where=where, found=found)
        if tokenizer.pad_token_id is not None and tokenizer.pad_token_id == tokenizer.eos_token_id:
            self.issues.keeps("pad_is_end_token", where=where, found=repr(tokenizer.pad_token))

    def kept_responses(self, one: Comparison) -> list[int]:
        """Indices of the responses that stay, in order; none where the item goes.

        Raises:
            UserError: An issue whose action is `error`.
        """
        query, responses = one.tokenized.query, one.tokenized.responses
        self.lengths.add(len(query), [len(response) for response in responses])
        query_stays = self._text_stays(one.query, query, one.where, "the query")
        cut = [tuple(self._encoder.truncate_ids(response, self._room)) for response in responses]
        stays = [index for index in range(len(responses)) if self._response_stays(one, index)]
        if len({cut[index] for index in stays}) < len(stays):
            gone = set(self._equal(one, stays, cut))
            stays = [index for index in stays if index not in gone]
        if not (query_stays and stays):
            return []
        if query and max(len(cut[index]) for index in stays) >= self._room:
            longest = max(stays, key=lambda index: len(cut[index]))
            found = f"no room for the query beside the {len(responses[longest])} tokens of a response"
            if not self.issues.keeps("query_cut_away", where=one.where, found=found):
                return []
        return stays

    def _response_stays(self, one: Comparison, index: int) -> bool:
        text, ids = one.responses[index], one.tokenized.responses[index]
        if not ids:
            return self.issues.keeps("empty_response", where=one.where, found=_shown(text))
        stays = self._text_stays(text, ids, one.where, f"response {index + 1}")
        if len(ids) > self._room:
            found = f"{len(ids)} tokens of response {index + 1} in room for {self._room}: {_shown(text)}"
            stays &= self.issues.keeps("response_cut", where=one.where, found=found)
        return stays

    def _text_stays(self, text: str, ids: list[int], where: str, desc: str) -> bool:
        stays = True
        if match := self._written.search(text):
            found = f"{match.group()!r} in {desc}: {_shown(text[max(match.start() - SHOWN // 2, 0) :])}"
            stays &= self.issues.keeps("special_token_text", where=where, found=found)
        if not self._ids.isdisjoint(ids) and (own := self._special_ids(text)):
            token = self._encoder.tokenizer.convert_ids_to_tokens(own[0])
            found = f"the token {token!r} out of the text of {desc}: {_shown(text)}"
            stays &= self.issues.keeps("special_token_id", where=where, found=found)
        unknown = 0 if self._unknown is None else ids.count(self._unknown)
        if unknown > self._unknown_rate * len(ids):
            found = f"{unknown} of {len(ids)} tokens of {desc} unknown: {_shown(text)}"
            stays &= self.issues.keeps("unknown_tokens", where=where, found=found)
        return stays

    def _special_ids(self, text: str) -> list[int]:
        """Those that the text itself becomes, without what a chat template writes around its turns."""
        [ids] = text_ids(self._encoder.tokenizer, [text], self._special)
        return [number for number in ids if number in self._ids]

    def _equal(self, one: Comparison, stays: list[int], cut: list[tuple[int, ...]]) -> Iterator[int]:
        """Indices that go because another response has the same tokens."""
        copies: dict[tuple[int, ...], list[int]] = {}
        for index in stays:
            copies.setdefault(cut[index], []).append(index)
        for same in (same for same in copies.values() if len(same) > 1):
            found = f"responses {', '.join(str(i + 1) for i in same)}: {_shown(one.responses[same[0]])}"
            first, rest = same[0], same[1:]
            if one.is_apo and first == 0:  # the golden answer stands first
                code, going = "golden_equals_sample", rest
            elif len({one.scores[index] for index in same}) > 1:
                code, going = "equal_responses", same
            else:
                code, going = "repeated_responses", rest
            if not self.issues.keeps(code, where=one.where, found=found):
                yield from going


def _shown(text: str) -> str:
    return repr(text[:SHOWN])
