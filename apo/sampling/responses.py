"""Sampled ids as texts: what is removed from them, and whether the ids are those of the text."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from apo.core.dialogue import cut_runaway
from apo.model.encoding import Encoder
from apo.sampling.prompts import Prompt

HALF = "\ufffd"  # the replacement character, which a decoder writes for bytes that are no character
COUNTS = (
    "samples_cut",  # truncated at a human turn that the model invented; only in the HH form
    "samples_half_character",  # `max_new_tokens` ended inside a character, whose bytes are removed
    "samples_replacement_character",  # the text contains bytes that are no character
    "unfinished",  # no end token within `max_new_tokens`
    "samples_ids_kept",  # the drawn ids differ from those of the text with its end, so they are stored too
)


class Response(NamedTuple):
    """A sampled response.

    Attributes:
        text: The text without white space around it.
        ids: The ids that were drawn, with the end token, if any; None if they are those of the text.
    """

    text: str
    ids: list[int] | None


def read_responses(
    encoder: Encoder,
    prompts: Sequence[Prompt],
    drawn: Sequence[Sequence[list[int]]],
    counts: Counter[str],
) -> list[list[Response]]:
    """The responses to each prompt as texts.

    Args:
        drawn: The ids of the responses to each prompt, with the end token if one was drawn.
        counts: Updated in place: `COUNTS`.
    """
    counts.update(dict.fromkeys(COUNTS, 0))
    decoded = [[_decode_response(encoder, ids, counts) for ids in samples] for samples in drawn]
    texts = [
        (prompt.row["query"], [response.text for response in responses])
        for prompt, responses in zip(prompts, decoded, strict=True)
    ]
    all_responses = []
    tokenized = encoder.tokenize(texts, Counter(), where="samples", allow_blank=True)
    for responses, rendered in zip(decoded, tokenized, strict=True):
        text_ids = (
            [ids + encoder.turn_end for ids in rendered.responses] if rendered else [[]] * len(responses)
        )
        responses = [
            response._replace(ids=None) if response.ids == ids else response
            for response, ids in zip(responses, text_ids, strict=True)
        ]
        counts["samples_ids_kept"] += sum(response.ids is not None for response in responses)
        all_responses.append(responses)
    return all_responses


def _decode_response(encoder: Encoder, drawn: list[int], counts: Counter[str]) -> Response:
    """The text of drawn ids, and the drawn ids that the text consists of."""
    ended = drawn[-1:] != [] and drawn[-1] in encoder.ends
    ids = drawn[:-1] if ended else drawn
    end = drawn[-1:] if ended else []
    counts["unfinished"] += not ended
    text = _decode(encoder, ids)
    if not ended and text.endswith(HALF):
        counts["samples_half_character"] += 1
        text = text.rstrip(HALF)
        ids = _ids_up_to(encoder, ids, text)
    counts["samples_replacement_character"] += HALF in text
    if encoder.template.is_hh:
        text, was_cut = cut_runaway(text)
        if was_cut:
            counts["samples_cut"] += 1
            ids, end = _ids_up_to(encoder, ids, text), encoder.turn_end
    return Response(text.strip(), ids + end)


def _decode(encoder: Encoder, ids: list[int]) -> str:
    text: str = encoder.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text


def _ids_up_to(encoder: Encoder, ids: list[int], text: str) -> list[int]:
    """The shortest prefix of ids whose text starts with the given text."""
    length = bisect_left(
        range(len(ids)), True, key=lambda length: _decode(encoder, ids[:length]).startswith(text)
    )
    return ids[:length]
