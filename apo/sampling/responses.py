"""From the ids that were drawn to texts: what is cut off, and whether the ids are those of the text."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from apo.core.dialogue import cut_runaway
from apo.model.encoding import Encoder
from apo.sampling.prompts import Prompt

HALF = "\ufffd"  # what a decoder writes for bytes that are no character
COUNTS = (
    "samples_cut",  # at a human turn that the model invented; only in the HH form
    "samples_half_character",  # the bytes of a character that `max_new_tokens` cut in two are left out
    "samples_replacement_character",  # bytes that are no character inside the text
    "unfinished",  # no end within `max_new_tokens`
    "samples_ids_kept",  # other ids were drawn than those of the text with its end; they are kept beside it
)


class Response(NamedTuple):
    """A text without white space around it.

    Attributes:
        text: The text.
        ids: The ids that were drawn, with the end if there was one; None where they are those of the text.
    """

    text: str
    ids: list[int] | None


def read_responses(
    encoder: Encoder,
    prompts: Sequence[Prompt],
    drawn: Sequence[Sequence[list[int]]],
    counts: Counter[str],
) -> list[list[Response]]:
    """The responses to each prompt as texts; `COUNTS` are counted.

    Args:
        encoder: How the language model reads.
        prompts: What was asked.
        drawn: The ids of the responses of each prompt, with an end token unless there was no end.
    """
    counts.update(dict.fromkeys(COUNTS, 0))
    read = [[_text(encoder, ids, counts) for ids in rows] for rows in drawn]
    texts = [
        (prompt.row["query"], [one.text for one in rows]) for prompt, rows in zip(prompts, read, strict=True)
    ]
    rendered = encoder.tokenize(texts, Counter(), where="samples", allow_blank=True)
    found = []
    for rows, one in zip(read, rendered, strict=True):
        of_texts = [ids + encoder.turn_end for ids in one.responses] if one else [[] for _ in rows]
        found.append(
            [
                row._replace(ids=None if row.ids == ids else row.ids)
                for row, ids in zip(rows, of_texts, strict=True)
            ]
        )
    counts["samples_ids_kept"] += sum(row.ids is not None for rows in found for row in rows)
    return found


def _text(encoder: Encoder, drawn: list[int], counts: Counter[str]) -> Response:
    """The text of the ids that were drawn, and those of the ids that it is made of."""
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
    """The fewest of the first ids that a text is decoded from."""
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high) // 2
        if _decode(encoder, ids[:middle]).startswith(text):
            high = middle
        else:
            low = middle + 1
    return ids[:low]
