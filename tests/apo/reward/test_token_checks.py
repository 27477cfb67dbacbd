"""apo/reward/token_checks.py: the issues of comparisons that are tokens, by hand."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import normalizers

from apo.core.dialogue import ASSISTANT
from apo.core.errors import UserError
from apo.model.batching import collate
from apo.model.checkpoint import load_tokenizer
from apo.model.encoders import reward_encoder
from apo.model.encoding import Encoder
from apo.model.settings import Model
from tests.helpers import odd_tokenizers as odd
from tests.helpers import tiny_models as tiny
from tests.helpers.token_checks import QUERY, SHORT, check_of, check_one, checked

# Responses that are equal


def test_token_check_finds_nothing_in_valid_rows() -> None:
    assert checked(tiny.encoder(), ["3", "4", "no"]) == ([0, 1, 2], {})


def test_equal_responses_are_those_that_differ_in_what_was_cut() -> None:
    """Room for 9 tokens beside BOS: of both only ' 1 2 3 ...' at the end is left."""
    ending = " 1 2 3 4 5 6 7 8 9"
    encoder = tiny.encoder(max_length=10)
    pair = ["Yes." + ending, "No, my friend." + ending]
    whole = tiny.encoder(max_length=100)
    assert checked(whole, pair) == ([0, 1], {})
    stays, counts = check_one(check_of(encoder, "keep", equal_responses="drop"), encoder, pair)
    assert stays == [] and counts == {"response_cut": 2, "equal_responses": 1}
    stays, counts = check_one(check_of(encoder, "keep"), encoder, pair)
    assert stays == [0, 1] and counts == {"response_cut": 2, "equal_responses": 1, "query_cut_away": 1}


def test_equal_responses_with_two_scores_are_all_dropped() -> None:
    assert checked(tiny.encoder(), ["3", "no", "3", "4"], [2.0, 1.0, 0.0, 0.5]) == (
        [1, 3],
        {"equal_responses": 1},
    )


def test_repeated_responses_keep_the_first() -> None:
    responses, scores = ["3", "no", "no", " no ", "4", "4"], [1.0, 0.0, 0.0, 0.0, 0.5, 0.5]
    assert checked(tiny.encoder(), responses, scores) == ([0, 1, 4], {"repeated_responses": 2})
    assert checked(tiny.encoder(), responses, scores, action="keep")[0] == [0, 1, 2, 3, 4, 5]


def test_golden_equals_sample_drops_the_sample() -> None:
    responses, scores = ["3", "no", "3", "no"], [1.0, 0.0, 0.0, 0.0]
    check = check_of(tiny.encoder(), "keep", golden_equals_sample="drop")
    assert check_one(check, tiny.encoder(), responses, scores, is_apo=True) == (
        [0, 1, 3],
        {"golden_equals_sample": 1, "repeated_responses": 1},
    )
    assert check.issues.examples[0]["found"] == "responses 1, 3: '3'"


# Single texts


@pytest.mark.parametrize("blank", ["", " \n"])
def test_empty_response_of_a_blank_text(blank: str) -> None:
    assert checked(tiny.encoder(), ["3", blank, "no"]) == ([0, 2], {"empty_response": 1})


def test_empty_response_of_a_text_without_tokens() -> None:
    """Where the space before a response is no token either."""
    tokenizer = odd.word_level()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("\u200b", "")
    encoder = Encoder(tokenizer, 64, "last", "", "left")
    assert checked(encoder, ["a", "\u200b", "b"], query=SHORT) == ([0, 2], {"empty_response": 1})


def test_response_cut_is_found_where_a_response_is_too_long() -> None:
    """'1 2 3 4 5' is ten tokens; BOS, the turn mark and ten of them are twelve."""
    long = "1 2 3 4 5"
    [item] = tiny.encoder().items([(QUERY, [long])], Counter(), where="")
    length = len(item.responses[0])
    fits, one_less = tiny.encoder(max_length=length + 3), tiny.encoder(max_length=length + 1)
    assert checked(fits, [long, "no"]) == ([0, 1], {})
    stays, counts = checked(one_less, [long, "no"])
    assert stays == [1] and counts == {"response_cut": 1}


def test_query_cut_away_only_when_no_token_of_it_is_left() -> None:
    [item] = tiny.encoder().items([(QUERY, ["1 2 3 4 5"])], Counter(), where="")
    length = len(item.responses[0])
    assert checked(tiny.encoder(max_length=length + 3), ["1 2 3 4 5", "no"]) == ([0, 1], {})
    assert checked(tiny.encoder(max_length=length + 2), ["1 2 3 4 5", "no"]) == (
        [],
        {"query_cut_away": 1},
    )
    assert checked(tiny.encoder(max_length=length + 3, pooling="eos"), ["1 2 3 4 5", "no"])[0] == []


def test_query_cut_away_is_undone_when_the_long_response_is_dropped() -> None:
    encoder = tiny.encoder(max_length=10)
    check = check_of(encoder, "drop")
    assert check_one(check, encoder, ["no", "1 2 3 4 5 6 7 8 9", "3"]) == ([0, 2], {"response_cut": 1})


@pytest.mark.parametrize("text", ["</s>", "a <pad> b", "so <unk> it is"])
def test_special_token_text_is_counted(text: str) -> None:
    assert checked(tiny.encoder(), ["3", text, "no"]) == ([0, 2], {"special_token_text": 1})
    assert checked(tiny.encoder(), ["3", "no"], query=tiny.query(text)) == (
        [],
        {"special_token_text": 1},
    )


def test_special_token_text_counts_the_separator() -> None:
    tokenizer = tiny.tokenizer()
    encoder = reward_encoder(tokenizer, Model(**(tiny.READING | {"separator": "<sep>"})), where="")
    assert checked(encoder, ["3 <sep> 4", "no", "3"]) == ([1, 2], {"special_token_text": 1})


def test_special_token_id_of_one_character_is_found() -> None:
    """As in the authors' LLaMA, whose pad token is the byte 0x00: the character has no other id."""
    tokenizer = tiny.tokenizer()
    tokenizer.pad_token = "<0x07>"
    encoder = Encoder(tokenizer, 64, "last", "", "left")
    assert checked(encoder, ["3", "bell \x07", "no"]) == ([0, 2], {"special_token_id": 1})
    assert checked(encoder, ["3", "bell <0x07>", "no"]) == ([0, 2], {"special_token_text": 1})
    assert checked(encoder, ["3", "no"], query=tiny.query("\x07")) == ([], {"special_token_id": 1})


def test_special_token_text_ignores_tokens_of_the_chat_template() -> None:
    """Each turn begins and ends with one; a byte in the text that is one is found beside them."""
    tokenizer = tiny.tokenizer()
    tokenizer.pad_token = "<0x07>"
    tokenizer.chat_template = (
        "{% for m in messages %}{{ bos_token + m['role'] + ': ' + m['content'] + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ bos_token + 'assistant: ' }}{% endif %}"
    )
    encoder = Encoder(tokenizer, 64, "last", "", "left")
    assert checked(encoder, ["3", "no"]) == ([0, 1], {})
    assert checked(encoder, ["3", "bell \x07", "no"]) == ([0, 2], {"special_token_id": 1})
    assert checked(encoder, ["3", "no"], query=tiny.query("bell \x07")) == ([], {"special_token_id": 1})


def test_unknown_tokens_are_found_above_the_rate() -> None:
    """One of ten letters unknown is a tenth, which may be; the space before the response is a token too."""
    encoder = Encoder(odd.unigram(), 64, "last", "", "left")
    assert checked(encoder, ["abcdefgh\u00e9", "no"], query=SHORT) == ([0, 1], {})  # 1 of 10
    assert checked(encoder, ["abcdefg\u00e9", "no", "a"], query=SHORT) == (
        [1, 2],
        {"unknown_tokens": 1},
    )  # 1 of 9
    strange = "\n\nHuman: " + "a".join("\u00e9" * 9) + ASSISTANT
    assert checked(encoder, ["a", "b"], query=strange) == ([], {"unknown_tokens": 1})


def test_unknown_tokens_never_of_a_tokenizer_with_bytes() -> None:
    assert checked(tiny.encoder(), ["\u00e9\u4e2d\U0001f600", "no"]) == ([0, 1], {})


# The tokenizer


def look_at(tokenizer: Any, *, separator: str = "", action: str = "keep") -> dict[str, int]:
    check = check_of(Encoder(tokenizer, 64, "last", separator, "left"), action)
    check.check_tokenizer("models/backbone")
    return dict(+check.issues.counts)


def test_lost_separator_that_is_no_token() -> None:
    tokenizer = tiny.tokenizer()
    assert look_at(tokenizer, separator="<sep>") == {"lost_separator": 1}
    with pytest.raises(UserError, match=r"models/backbone: found .*'<sep>' as one token"):
        look_at(tokenizer, separator="<sep>", action="error")
    reward_encoder(tokenizer, Model(**(tiny.READING | {"separator": "<sep>"})), where="")
    assert look_at(tokenizer, separator="<sep>") == {}


def test_lost_separator_that_text_around_it_splits() -> None:
    """It is in the vocabulary, and yet no text is read as it: white space before it is needed."""
    assert odd.WORDS.index("pad>") == 13
    assert look_at(odd.word_level(), separator="pad>") == {"lost_separator": 1}


def test_pad_is_end_token_is_noted_and_changes_no_reward(tmp_path: Path) -> None:
    model = tiny.reward_model(tmp_path / "backbone")
    tokenizer = load_tokenizer(tmp_path / "backbone")
    assert look_at(tokenizer) == {}
    texts = [(QUERY, ["3, my friend.", "no"]), (tiny.query("And?"), ["yes", "1 2 3 4"])]
    rewards = []
    for pad in ("<pad>", "</s>"):
        tokenizer.pad_token = pad
        items = list(Encoder(tokenizer, 64, "last", "", "left").items(texts, Counter(), where=""))
        with torch.inference_mode():
            rewards.append(model(collate(items, pad_id=tokenizer.pad_token_id)).tolist())
    assert look_at(tokenizer) == {"pad_is_end_token": 1}
    assert rewards[0] == rewards[1]
