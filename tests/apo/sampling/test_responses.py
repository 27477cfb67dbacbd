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
    found = tiny.shared_tokenizer().convert_tokens_to_ids(list(pieces))
    assert 0 not in found
    return list(found)


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
    [found] = read_responses(reading, prompts, [drawn], counts)
    assert set(counts) == set(COUNTS)
    assert counts["samples_ids_kept"] == sum(one.ids is not None for one in found)
    return found, +counts


def test_the_ids_of_a_text_are_not_kept_where_the_text_gives_them_again() -> None:
    drawn = [[*said(" 3, my friend."), EOS], [*said(" At the caf\u00e9."), EOS], [EOS]]
    found, counts = read(*drawn)
    assert found == [Response("3, my friend.", None), Response("At the caf\u00e9.", None), Response("", None)]
    assert counts == {}


def test_texts_stand_in_the_order_of_prompts_and_samples() -> None:
    reading, counts = encoder(), Counter[str]()
    prompts = encode_prompts(reading, ROWS, Counter(), where="rows")
    drawn = [[[*said(f" {n}"), EOS] for n in row] for row in ((1, 2), (3, 4))]
    found = read_responses(reading, prompts, drawn, counts)
    assert [[one.text for one in row] for row in found] == [["1", "2"], ["3", "4"]]
    assert read_responses(reading, [], [], counts) == []


# Ids that are kept


@pytest.mark.parametrize("text", ["\n3", "  3", " 3 ", " 3\n\n", "3"])
def test_white_space_around_a_text_is_no_part_of_it_but_of_its_ids(text: str) -> None:
    drawn = [*said(text), EOS]
    [one], counts = read(drawn)
    assert one == Response("3", drawn) and counts == {"samples_ids_kept": 1}


def test_a_text_that_the_tokenizer_cuts_otherwise_keeps_its_ids() -> None:
    letters = ids_of("\u2581", "d", "o", "g")
    assert said(" dog") != letters
    [one, usual], _ = read([*letters, EOS], [*said(" dog"), EOS])
    assert one == Response("dog", [*letters, EOS]) and usual == Response("dog", None)


def test_the_end_that_was_drawn_is_kept_and_none_where_there_was_none() -> None:
    ids = said(" 3, my friend.")
    found, counts = read([*ids, OTHER_END], ids, [*ids, EOS])
    assert found == [
        Response("3, my friend.", [*ids, OTHER_END]),
        Response("3, my friend.", ids),
        Response("3, my friend.", None),
    ]
    assert counts == {"unfinished": 1, "samples_ids_kept": 2}


def test_a_special_token_inside_is_no_text_and_stays_among_the_ids() -> None:
    drawn = [*said(" 3"), BOS, *said(", my friend."), EOS]
    [one], _ = read(drawn)
    assert one.text.split() == ["3,", "my", "friend."] and one.ids == drawn


def test_the_text_of_an_end_token_is_text() -> None:
    drawn = [*said(" a </s> b"), EOS]
    assert drawn.count(EOS) == 1
    [one], counts = read(drawn)
    assert one == Response("a </s> b", None) and counts == {}


@settings(max_examples=150)
@given(
    body=st.lists(st.integers(0, 379).filter(lambda token: token not in (EOS, OTHER_END)), max_size=12),
    end=st.sampled_from([[], [EOS], [OTHER_END]]),
)
def test_what_was_drawn_is_what_is_learned(body: list[int], end: list[int]) -> None:
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
def test_half_a_character_at_the_cut_is_left_out_and_counted(length: int) -> None:
    before = said(" It was")
    drawn = [*before, *ids_of(*EAST[:length])]
    [one], counts = read(drawn)
    assert one == Response("It was", before)
    assert counts == {"samples_half_character": 1, "unfinished": 1, "samples_ids_kept": 1}
    [whole], counts = read([*before, *ids_of(*EAST)])
    assert whole.text == "It was\u6771" and "samples_half_character" not in counts


def test_a_sample_that_is_half_a_character_is_blank() -> None:
    [one], counts = read(ids_of(*EAST[:2]))
    assert one == Response("", []) and counts["samples_half_character"] == 1


def test_bytes_that_are_no_character_inside_of_a_text_stay_and_are_counted() -> None:
    """Before an end too: the model said so, nothing cut it."""
    inside = [*ids_of(*EAST[:2]), *said(" It was"), EOS]
    last = [*said(" It was"), *ids_of(*EAST[:2]), EOS]
    found, counts = read(inside, last)
    assert all(HALF in one.text for one in found)
    assert [one.ids for one in found] == [inside, last]
    assert counts == {"samples_replacement_character": 2, "samples_ids_kept": 2}


# Turns that a model invents


def test_an_invented_turn_is_cut_off_with_its_ids_and_the_rest_has_an_end() -> None:
    """The rest is what the model could have said: its text gives its ids."""
    before = said(" yes sir")
    drawn = [[*before, *ids_of("\n\nHuman:"), *said(" more"), *end] for end in ([EOS], [OTHER_END], [])]
    found, counts = read(*drawn, template=hh_template())
    assert found == [Response("yes sir", None)] * 3
    assert counts == {"samples_cut": 3, "unfinished": 1}


def test_ids_up_to_an_invented_turn_are_kept_where_they_are_not_those_of_the_text() -> None:
    letters = ids_of("\u2581", "d", "o", "g")
    [one], counts = read([*letters, *ids_of("\n\nHuman:"), *said(" more"), EOS])
    assert one == Response("dog", [*letters, EOS])
    assert counts == {"samples_cut": 1, "samples_ids_kept": 1}


def test_a_sample_that_is_an_invented_turn_is_blank() -> None:
    [one], counts = read([*ids_of("\n\nHuman:"), *said(" hi"), EOS])
    assert one == Response("", None) and counts == {"samples_cut": 1}


def test_another_template_has_no_such_turns() -> None:
    """There the words are words, as in every other stage that uses the model."""
    [one], counts = read([*said(" yes sir"), *ids_of("\n\nHuman:"), *said(" more"), EOS], template=OWN)
    assert one.text == "yes sir\n\nHuman: more" and "samples_cut" not in counts
