"""apo/model/template_text.py: one template of several, dates that stand still, texts that are left out."""

import pytest

from apo.model.template_text import check_texts, default_template, fix_dates
from tests.helpers import tiny_models as tiny

DATED = """{{ strftime_now('%d %b %Y') + strftime_now( "%Y" ) }}"""
MESSAGES = [
    {"role": "system", "content": " Be brief.\n"},
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nSo."},
    {"role": "user", "content": ""},
]


def test_default_template_is_the_default_or_else_the_first() -> None:
    assert default_template({"tool_use": "a", "default": "b"}) == "b"
    assert default_template({"chat": "a", "rag": "b"}) == "a"
    assert default_template("a") == "a"
    assert default_template({}) is default_template(None) is None


def test_fix_dates_replaces_today_once() -> None:
    fixed, count = fix_dates(DATED)
    text = tiny.shared_tokenizer().apply_chat_template(MESSAGES, chat_template=fixed, tokenize=False)
    assert (text, count) == ("26 Jul 20242024", 2)
    assert fix_dates(fixed) == (fixed, 0)
    assert fix_dates("{{ eos_token }}") == ("{{ eos_token }}", 0)


@pytest.mark.parametrize(
    "prompt",
    [
        "Be brief.|Why?|So.",
        "Be brief.Why?<think>\nHm.\n</think>\n\nSo.|",
        "Why?|So.|Be brief.",  # system text in the last turn, as Mistral writes it
    ],
)
def test_check_texts_takes_trimmed_texts_in_order(prompt: str) -> None:
    check_texts(MESSAGES, prompt)


@pytest.mark.parametrize(
    ("prompt", "role"),
    [
        ("Why?So.", "system"),
        ("Be brief.So.", "user"),
        ("Be brief.Why?", "assistant"),
        ("So.Be brief.Why?", "assistant"),
        ("Be briefWhy?So.", "system"),
    ],
)
def test_check_texts_refuses_a_text_that_is_left_out_or_moved(prompt: str, role: str) -> None:
    with pytest.raises(ValueError, match=f"text of role {role}"):
        check_texts(MESSAGES, prompt)


def test_check_texts_takes_no_text_for_two() -> None:
    """The system text is left out, and the question contains it."""
    with pytest.raises(ValueError, match="text of role user"):
        check_texts([{"role": "system", "content": "Why"}, {"role": "user", "content": "Why?"}], "Why?")
