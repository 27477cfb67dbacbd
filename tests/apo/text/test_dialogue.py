"""Dialogues as text: where a query ends, which queries are the same, what is an invented turn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apo.core.errors import UserError
from apo.text.dialogue import (
    cut_runaway,
    dialogue_to_messages,
    first_turn,
    has_turn_marks,
    messages_to_dialogue,
    normalise_query,
    query_id_of,
    split_dialogue,
)

TWO_TURNS = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Bye\n\nAssistant:"


def test_the_query_ends_with_the_last_assistant_mark() -> None:
    assert split_dialogue(TWO_TURNS + " See you") == (TWO_TURNS, " See you")
    assert split_dialogue(TWO_TURNS) == (TWO_TURNS, "")


@pytest.mark.parametrize(
    "text", ["", "plain", "\n\nHuman: Hi", "\n\nAssistant: Hi", "Human: a\nAssistant: b"]
)
def test_text_that_is_no_dialogue_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(UserError, match=r"^pairs\.jsonl:7: found text that is no dialogue"):
        split_dialogue(text, where="pairs.jsonl:7")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Sure.\n\nHuman: thanks", "Sure."),
        ("Sure. \n \nHuman: thanks\n\nAssistant: ok\n\nHuman: x", "Sure."),
        ("Sure.\r\nHuman: thanks", "Sure."),
        ("Sure.\r\n\r\nHuman: thanks", "Sure."),
        ("Sure.\n\nHuman :thanks", "Sure."),
        ("Sure.\n\nHuman", "Sure."),
        ("Sure.\nHuman  ", "Sure."),
        ("Sure.\nHuman\nthanks", "Sure."),
        ("\n\nHuman: me again", ""),
    ],
)
def test_an_invented_turn_is_cut(text: str, kept: str) -> None:
    assert cut_runaway(text) == (kept, True)


@pytest.mark.parametrize(
    "text",
    [
        "we are\nHumanity itself",
        "1. Rights\nHuman rights are for all",
        "low\nhuman: kept",
        "the word Human: in a line",
        "Human: at the very beginning",
        " white space stays \n",
        "",
    ],
)
def test_what_is_no_turn_stays_to_the_last_character(text: str) -> None:
    assert cut_runaway(text) == (text, False)


def test_the_first_turn_is_shared_by_dialogues_that_branch_later() -> None:
    assert first_turn(TWO_TURNS) == first_turn("\n\nHuman: Hi\n\nAssistant: Hey\n\nHuman: x\n\nAssistant:")
    assert first_turn("Be brief.\n\nHuman: Hi\n\nAssistant:") == " Hi"
    assert first_turn("no marks") == "no marks"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What's  THE time?", "whats the time"),
        ("\n\nHuman: Hi\n\nAssistant:", "\n\nHuman:  hi!\n\nAssistant:"),
        ("Straße", "STRASSE"),
        ("ﬁne", "fine"),  # a ligature
        ("\u3392 \uff21", "mhz a"),  # a square sign, a full-width letter
        ("don\u2019t", "don't"),
        ("zero\u200bwidth", "zerowidth"),
        ("e\u0301", "\u00e9"),
        ("7*3", "7 * 3"),
        ("1990\u20132000", "1990-2000"),
        ("well-known", "well known"),
    ],
)
def test_one_query_written_in_two_ways_has_one_key_and_one_id(one: str, other: str) -> None:
    assert normalise_query(one) == normalise_query(other)
    assert query_id_of(one) == query_id_of(other)


def test_arithmetic_is_no_punctuation() -> None:
    tasks = ["7 * 3", "7 - 3", "7 / 3", "7 + 3", "73", "7.3", "7 3", "7%3", "7**3", "-7 3", "7 -(3)"]
    keys = {normalise_query(f"What is {task}?") for task in tasks}
    assert len(keys) == len(tasks) - 1  # only 7 - 3 and 7 -(3) are one


def test_letters_of_other_scripts_count() -> None:
    assert normalise_query("क्या?") != normalise_query("का?")  # vowel signs are no punctuation
    assert query_id_of("ja") != query_id_of("nein")


@given(st.text())
def test_a_key_is_its_own_key(text: str) -> None:
    key = normalise_query(text)
    assert normalise_query(f"  {key}\n") == key


def test_ids_never_change() -> None:
    assert query_id_of("\n\nHuman: Hi\n\nAssistant:") == "q-b51ca451619b"  # sha256 of 'human hi assistant'


def test_turn_marks_are_seen_in_any_spelling() -> None:
    assert all(map(has_turn_marks, ["Human: a", "a\nAssistant: b", TWO_TURNS, "\n  Human: a"]))
    assert not any(map(has_turn_marks, ["a human: b", "The Assistant: a film", "Humans"]))


MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi "},
    {"role": "assistant", "content": "Hello\n"},
    {"role": "user", "content": ""},
    {"role": "assistant", "content": " See you\n"},
]


@pytest.mark.parametrize("start", [0, 1])
def test_messages_survive_the_way_to_text_and_back(start: int) -> None:
    query, response = messages_to_dialogue(MESSAGES[start:])
    assert response == " See you\n"
    assert dialogue_to_messages(query) == MESSAGES[start:-1]
    assert dialogue_to_messages(f"{query} {response}") == MESSAGES[start:]


def test_a_query_survives_the_way_to_messages_and_back() -> None:
    answer = {"role": "assistant", "content": "See you"}
    assert messages_to_dialogue([*dialogue_to_messages(TWO_TURNS), answer]) == (TWO_TURNS, "See you")


USER, ANSWER = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        ([], "0 messages"),
        ([USER], "do not end with an answer"),
        ([ANSWER], "message 1: found role 'assistant'"),
        ([USER, USER, ANSWER], "message 2: found role 'user'"),
        ([USER, MESSAGES[0], ANSWER], "message 2: found role 'system'"),
        ([MESSAGES[0]], "do not end with an answer"),
        ([MESSAGES[0], MESSAGES[0], USER, ANSWER], "message 2: found role 'system'"),
        ([USER, {"role": "tool", "content": "b"}], "message 2: found {'role': 'tool'"),
        ([USER, {"role": "assistant", "content": None}], "message 2: found {'role'"),
        ([USER, {"role": "assistant"}], "message 2: found {'role'"),
        ([USER, "b"], "message 2: found 'b'"),
        (
            [{"role": "user", "content": "a\n\nAssistant: b"}, ANSWER],
            "message 1: found a content that holds a",
        ),
    ],
)
def test_messages_out_of_order_or_malformed_are_refused(messages: list, found: str) -> None:
    with pytest.raises(UserError) as error:
        messages_to_dialogue(messages, where="chat.jsonl:3")
    assert str(error.value).startswith("chat.jsonl:3")
    assert found in str(error.value)


PIECES = st.sampled_from([*"7a)(*-./% \n\t'`\"", "**", "\u2019", "\u201c", "\xa0", "\u2013", "\u00b2"])


@given(st.one_of(st.text(), st.lists(PIECES, max_size=9).map("".join)))
def test_the_short_way_for_ascii_gives_the_key_of_the_long_one(text: str) -> None:
    assert normalise_query(text) == normalise_query(f"{text}\n\u200b")  # a character that counts for nothing
