"""apo/reward/token_issues.py: what each action does with each issue."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apo.core.errors import UserError
from apo.model.encoding import Encoder
from tests.helpers import odd_tokenizers as odd
from tests.helpers import tiny_models as tiny
from tests.helpers.token_checks import CODES, SHORT, check_of, check_one, checked


def provoked(code: str) -> tuple[Encoder, dict[str, Any]]:
    """An encoder and a comparison with this issue and, for the codes of rows, no other."""
    words = Encoder(odd.word_level(), 64, "last", "", "left")
    cases: dict[str, tuple[Encoder, dict[str, Any]]] = {
        "equal_responses": (tiny.encoder(), {"responses": ["3", "3", "no", "4"]}),
        "repeated_responses": (
            tiny.encoder(),
            {"responses": ["3", "no", "no"], "scores": [1.0, 0.0, 0.0]},
        ),
        "golden_equals_sample": (tiny.encoder(), {"responses": ["3", "3", "no"], "is_apo": True}),
        "empty_response": (tiny.encoder(), {"responses": ["3", "", "no"]}),
        "response_cut": (tiny.encoder(max_length=10), {"responses": ["3", "1 2 3 4 5 6 7 8 9", "no"]}),
        "query_cut_away": (tiny.encoder(max_length=11), {"responses": ["3", "1 2 3 4 5"]}),
        "special_token_text": (tiny.encoder(), {"responses": ["3", "</s>", "no"]}),
        "special_token_id": (bell(), {"responses": ["3", "\x07", "no"]}),
        "unknown_tokens": (words, {"responses": ["a", "strange", "b"], "query": SHORT}),
    }
    return cases[code]


def bell() -> Encoder:
    tokenizer = tiny.tokenizer()
    tokenizer.pad_token = "<0x07>"
    return Encoder(tokenizer, 64, "last", "", "left")


ROW_CODES = [code for code in CODES if code not in ("lost_separator", "pad_is_end_token")]


@pytest.mark.parametrize("code", ROW_CODES)
def test_token_issues_apply_each_action(code: str) -> None:
    encoder, case = provoked(code)
    everything = list(range(len(case["responses"])))
    left = {"equal_responses": [2, 3], "repeated_responses": [0, 1], "query_cut_away": []}
    kept, counts = check_one(check_of(encoder, "keep"), encoder, **case)
    assert kept == everything and counts[code] == 1
    dropped, counts = check_one(check_of(encoder, "keep", **{code: "drop"}), encoder, **case)
    assert dropped == left.get(code, [0, 2]) and counts[code] == 1
    with pytest.raises(UserError, match=rf"a\.jsonl:1: found .*rm\.on_issue\.{code} to drop"):
        check_one(check_of(encoder, "keep", **{code: "error"}), encoder, **case)


@settings(max_examples=100, deadline=None)
@given(
    responses=st.lists(
        st.sampled_from(["3", "4", "no", "", "</s>", "1 2 3 4 5 6 7 8 9"]), min_size=1, max_size=6
    ),
    scores=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=6, max_size=6),
    max_length=st.sampled_from([10, 64]),
    is_apo=st.booleans(),
)
def test_token_issues_leave_nothing_to_find_in_what_is_left(
    responses: list[str], scores: list[float], max_length: int, is_apo: bool
) -> None:
    """Looked at again, nothing more is found; with `keep` everything stays and as much is counted."""
    encoder = tiny.encoder(max_length=max_length)
    scores = scores[: len(responses)]
    if is_apo:
        scores = [1.0] + [0.0] * (len(responses) - 1)
    stays, _ = checked(encoder, responses, scores, is_apo=is_apo)
    kept, _ = checked(encoder, responses, scores, is_apo=is_apo, action="keep")
    assert kept == list(range(len(responses)))
    if stays and (0 in stays or not is_apo):
        left = [responses[i] for i in stays], [scores[i] for i in stays]
        assert checked(encoder, *left, is_apo=is_apo) == (list(range(len(stays))), {})
