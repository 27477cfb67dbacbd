"""Dialogues as text: where a query ends, which queries are the same, what is an invented turn."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apo.core import dialogue
from apo.core.dialogue import (
    ASSISTANT,
    HUMAN,
    cut_runaway,
    dialogue_to_messages,
    first_turn,
    has_turn_marks,
    messages_to_dialogue,
    normalize_query,
    query_id_of,
    query_keys,
    split_dialogue,
)
from apo.core.errors import UserError

TWO_TURNS = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Bye\n\nAssistant:"


def test_the_docstring_examples() -> None:
    assert doctest.testmod(dialogue) == (0, 9)


def test_split_dialogue_ends_the_query_with_the_last_assistant_mark() -> None:
    assert split_dialogue(TWO_TURNS + " See you") == (TWO_TURNS, " See you")
    assert split_dialogue(TWO_TURNS) == (TWO_TURNS, "")


@pytest.mark.parametrize(
    "text", ["", "plain", "\n\nHuman: Hi", "\n\nAssistant: Hi", "Human: a\nAssistant: b"]
)
def test_split_dialogue_refuses_other_text_and_names_its_row(text: str) -> None:
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
def test_cut_runaway_cuts_an_invented_turn(text: str, kept: str) -> None:
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
def test_cut_runaway_keeps_everything_else(text: str) -> None:
    assert cut_runaway(text) == (text, False)


def test_first_turn_is_shared_by_dialogues_that_branch_later() -> None:
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
def test_normalize_query_ignores_case_punctuation_and_white_space(one: str, other: str) -> None:
    assert normalize_query(one) == normalize_query(other)
    assert query_id_of(one) == query_id_of(other)


def test_normalize_query_keeps_arithmetic() -> None:
    tasks = ["7 * 3", "7 - 3", "7 / 3", "7 + 3", "73", "7.3", "7 3", "7%3", "7**3", "-7 3", "7 -(3)"]
    keys = {normalize_query(f"What is {task}?") for task in tasks}
    assert len(keys) == len(tasks) - 1  # only 7 - 3 and 7 -(3) are one


def test_normalize_query_keeps_letters_of_other_scripts() -> None:
    assert normalize_query("क्या?") != normalize_query("का?")  # vowel signs are no punctuation
    assert query_id_of("ja") != query_id_of("nein")


@given(st.text())
def test_normalize_query_is_idempotent(text: str) -> None:
    key = normalize_query(text)
    assert normalize_query(f"  {key}\n") == key


def test_query_id_of_never_changes() -> None:
    assert query_id_of("\n\nHuman: Hi\n\nAssistant:") == "q-b51ca451619b"  # sha256 of 'human hi assistant'


def test_has_turn_marks_in_any_spelling() -> None:
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
def test_messages_to_dialogue_and_back_is_the_identity(start: int) -> None:
    query, response = messages_to_dialogue(MESSAGES[start:])
    assert response == " See you\n"
    assert dialogue_to_messages(query) == MESSAGES[start:-1]
    assert dialogue_to_messages(f"{query} {response}") == MESSAGES[start:]


def test_dialogue_to_messages_and_back_is_the_identity() -> None:
    answer = {"role": "assistant", "content": "See you"}
    assert messages_to_dialogue([*dialogue_to_messages(TWO_TURNS), answer]) == (TWO_TURNS, "See you")


USER, ANSWER = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}


@pytest.mark.parametrize(
    ("messages", "message"),
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
def test_messages_to_dialogue_refuses_malformed_messages(messages: list, message: str) -> None:
    with pytest.raises(UserError) as error:
        messages_to_dialogue(messages, where="chat.jsonl:3")
    assert str(error.value).startswith("chat.jsonl:3")
    assert message in str(error.value)


PIECES = st.sampled_from([*"7a)(*-./% \n\t'`\"", "**", "\u2019", "\u201c", "\xa0", "\u2013", "\u00b2"])


@given(st.one_of(st.text(), st.lists(PIECES, max_size=9).map("".join)))
def test_normalize_query_of_ascii_equals_the_general_path(text: str) -> None:
    assert normalize_query(text) == normalize_query(f"{text}\n\u200b")  # a character that counts for nothing


TEXT = st.lists(
    st.one_of(st.sampled_from([HUMAN, ASSISTANT, "-", "7", " ", "*", ")", "\u2019"]), st.text(max_size=3))
).map("".join)


@given(TEXT)
def test_query_keys_are_the_normalized_queries_of_all_turns(text: str) -> None:
    ends = [end + len(ASSISTANT) for end in range(len(text)) if text.startswith(ASSISTANT, end)]
    words: list[str] = []
    keys = []
    for added in query_keys(text):
        words += added
        keys.append(" ".join(words))
    assert keys == [normalize_query(text[:end]) for end in ends]
