"""apo/sampling/responses.py: the texts of drawn ids, what is cut off them, and which ids are kept."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apo.model.encoding import Encoder
from apo.model.hh_template import hh_template
from apo.sampling.prompts import encode_prompts
from apo.sampling.responses import COUNTS, HALF, Response, read_responses
from tests.helpers import tiny_models as tiny

BOS, EOS, OTHER_END = 1, 2, 100
ROWS = [
    {"query_id": "a", "query": tiny.query("What is 1 plus 2?")},
    {"query_id": "b", "query": tiny.query("Where?")},
]
OWN = (
    "{% for m in messages %}{{ bos_token + m['role'] + ': ' + m['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ bos_token + 'assistant: ' }}{% endif %}"
)
EAST = ["<0xE6>", "<0x9D>", "<0xB1>"]  # the bytes of a character that is no piece


def ids_of(*pieces: str) -> list[int]:
    """Of pieces as the vocabulary writes them."""
    token_ids = tiny.shared_tokenizer().convert_tokens_to_ids(list(pieces))
    assert 0 not in token_ids
    return list(token_ids)


def said(text: str) -> list[int]:
    """The ids of a response behind its query, as the tokenizer cuts a text."""
    tokenizer = tiny.shared_tokenizer()
    query = ROWS[0]["query"]
    before, whole = (
        tokenizer(one, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        for one in (query, query + text)
    )
    assert whole[: len(before)] == before
    return list(whole[len(before) :])


def encoder(template: str | None = None, ends: tuple[int, ...] = (EOS, OTHER_END)) -> Encoder:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = template
    return Encoder(tokenizer, 64, "last", "", "left", ends=ends)


READING = encoder()


def read(*drawn: list[int], template: str | None = None) -> tuple[list[Response], Counter[str]]:
    reading, counts = encoder(template), Counter[str]()
    prompts = encode_prompts(reading, ROWS[:1], Counter(), where="rows")
    [responses] = read_responses(reading, prompts, [drawn], counts)
    assert set(counts) == set(COUNTS)
    assert counts["samples_ids_kept"] == sum(one.ids is not None for one in responses)
    return responses, +counts


def test_read_responses_keeps_no_ids_that_the_text_gives_again() -> None:
    drawn = [[*said(" 3, my friend."), EOS], [*said(" At the caf\u00e9."), EOS], [EOS]]
    responses, counts = read(*drawn)
    assert responses == [
        Response("3, my friend.", None),
        Response("At the caf\u00e9.", None),
        Response("", None),
    ]
    assert counts == {}


def test_read_responses_keeps_the_order_of_prompts_and_samples() -> None:
    reading, counts = encoder(), Counter[str]()
    prompts = encode_prompts(reading, ROWS, Counter(), where="rows")
    drawn = [[[*said(f" {n}"), EOS] for n in row] for row in ((1, 2), (3, 4))]
    responses = read_responses(reading, prompts, drawn, counts)
    assert [[one.text for one in row] for row in responses] == [["1", "2"], ["3", "4"]]
    assert read_responses(reading, [], [], counts) == []


# Ids that are kept


@pytest.mark.parametrize("text", ["\n3", "  3", " 3 ", " 3\n\n", "3"])
def test_read_responses_strips_white_space_and_keeps_its_ids(text: str) -> None:
    drawn = [*said(text), EOS]
    [one], counts = read(drawn)
    assert one == Response("3", drawn) and counts == {"samples_ids_kept": 1}


def test_read_responses_keeps_ids_that_the_tokenizer_would_not_give() -> None:
    letters = ids_of("\u2581", "d", "o", "g")
    assert said(" dog") != letters
    [one, usual], _ = read([*letters, EOS], [*said(" dog"), EOS])
    assert one == Response("dog", [*letters, EOS]) and usual == Response("dog", None)


def test_read_responses_keeps_the_drawn_end_token() -> None:
    ids = said(" 3, my friend.")
    responses, counts = read([*ids, OTHER_END], ids, [*ids, EOS])
    assert responses == [
        Response("3, my friend.", [*ids, OTHER_END]),
        Response("3, my friend.", ids),
        Response("3, my friend.", None),
    ]
    assert counts == {"unfinished": 1, "samples_ids_kept": 2}


def test_read_responses_keeps_special_tokens_among_the_ids() -> None:
    drawn = [*said(" 3"), BOS, *said(", my friend."), EOS]
    [one], _ = read(drawn)
    assert one.text.split() == ["3,", "my", "friend."] and one.ids == drawn


def test_read_responses_takes_the_text_of_an_end_token_for_text() -> None:
    drawn = [*said(" a </s> b"), EOS]
    assert drawn.count(EOS) == 1
    [one], counts = read(drawn)
    assert one == Response("a </s> b", None) and counts == {}


@settings(max_examples=150)
@given(
    body=st.lists(st.integers(0, 379).filter(lambda token: token not in (EOS, OTHER_END)), max_size=12),
    end=st.sampled_from([[], [EOS], [OTHER_END]]),
)
def test_read_responses_gives_the_ids_that_training_learns(body: list[int], end: list[int]) -> None:
    """The ids that are kept, or those that the text gives again, are the drawn ones unless they were cut."""
    reading = READING
    prompts = encode_prompts(reading, ROWS[:1], Counter(), where="rows")
    counts: Counter[str] = Counter()
    drawn = [*body, *end] or [EOS]
    [[one]] = read_responses(reading, prompts, [[drawn]], counts)
    texts = [(ROWS[0]["query"], [one.text])]
    [item] = reading.tokenize(texts, Counter(), where="rows", allow_blank=True)
    assert item
    ids = item.responses[0] + reading.turn_end if one.ids is None else one.ids
    assert (
        reading.tokenizer.decode([t for t in ids if t != OTHER_END], skip_special_tokens=True).strip()
        == one.text
    )
    if not counts["samples_cut"] and not counts["samples_half_character"]:
        assert ids == drawn
    length = len(ids) - (ids[-1:] == [EOS])
    assert ids[:length] == drawn[:length]
    if counts["samples_half_character"] and not counts["samples_cut"]:
        assert not one.text.endswith(HALF)


# Characters that were cut in two


@pytest.mark.parametrize("length", [1, 2])
def test_read_responses_drops_and_counts_half_a_character_at_the_cut(length: int) -> None:
    before = said(" It was")
    drawn = [*before, *ids_of(*EAST[:length])]
    [one], counts = read(drawn)
    assert one == Response("It was", before)
    assert counts == {"samples_half_character": 1, "unfinished": 1, "samples_ids_kept": 1}
    [whole], counts = read([*before, *ids_of(*EAST)])
    assert whole.text == "It was\u6771" and "samples_half_character" not in counts


def test_read_responses_of_half_a_character_is_blank() -> None:
    [one], counts = read(ids_of(*EAST[:2]))
    assert one == Response("", []) and counts["samples_half_character"] == 1


def test_read_responses_keeps_and_counts_invalid_bytes_inside() -> None:
    """Before an end too: the model said so, nothing cut it."""
    inside = [*ids_of(*EAST[:2]), *said(" It was"), EOS]
    last = [*said(" It was"), *ids_of(*EAST[:2]), EOS]
    responses, counts = read(inside, last)
    assert all(HALF in one.text for one in responses)
    assert [one.ids for one in responses] == [inside, last]
    assert counts == {"samples_replacement_character": 2, "samples_ids_kept": 2}


# Turns that a model invents


def test_read_responses_cuts_an_invented_turn_with_its_ids() -> None:
    """The rest is what the model could have said: its text gives its ids."""
    before = said(" yes sir")
    drawn = [[*before, *ids_of("\n\nHuman:"), *said(" more"), *end] for end in ([EOS], [OTHER_END], [])]
    responses, counts = read(*drawn, template=hh_template())
    assert responses == [Response("yes sir", None)] * 3
    assert counts == {"samples_cut": 3, "unfinished": 1}


def test_read_responses_keeps_ids_up_to_an_invented_turn() -> None:
    letters = ids_of("\u2581", "d", "o", "g")
    [one], counts = read([*letters, *ids_of("\n\nHuman:"), *said(" more"), EOS])
    assert one == Response("dog", [*letters, EOS])
    assert counts == {"samples_cut": 1, "samples_ids_kept": 1}


def test_read_responses_of_an_invented_turn_is_blank() -> None:
    [one], counts = read([*ids_of("\n\nHuman:"), *said(" hi"), EOS])
    assert one == Response("", None) and counts == {"samples_cut": 1}


def test_read_responses_cuts_no_turn_of_another_template() -> None:
    """There the words are words, as in every other stage that uses the model."""
    [one], counts = read([*said(" yes sir"), *ids_of("\n\nHuman:"), *said(" more"), EOS], template=OWN)
    assert one.text == "yes sir\n\nHuman: more" and "samples_cut" not in counts
