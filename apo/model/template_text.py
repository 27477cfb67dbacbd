"""Chat templates as text: the default one of several, fixed dates, and a check of what one has written."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

FIXED_DATE = datetime(2024, 7, 26)  # the default date of Llama 3's template
MACRO = "{%- macro strftime_now(format)"
_DATE_FORMAT = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")


def default_template(template: str | Mapping[str, str] | None) -> str | None:
    """The template of a tokenizer; the default one, or else the first, of several by name."""
    if isinstance(template, Mapping):
        return template.get("default", next(iter(template.values()), None))
    return template


def fix_dates(text: str) -> tuple[str, int]:
    """A template with a fixed date in the place of today's, so that its ids are the same every day.

    Returns:
        The template, and how often it asks for the date; 0 for a template with fixed dates.
    """
    formats = [] if text.startswith(MACRO) else [found[1] for found in _DATE_FORMAT.findall(text)]
    if not formats:
        return text, 0
    cases = "".join(
        f"{{%- if format == {date_format!r} %}}{FIXED_DATE.strftime(date_format)}{{%- endif %}}"
        for date_format in sorted(set(formats))
    )
    return f"{MACRO} %}}{cases}{{%- endmacro %}}{text}", len(formats)


def check_texts(messages: Sequence[Mapping[str, str]], prompt: str) -> None:
    """Checks that a template writes the texts of all messages, the turns in order.

    Templates may leave out the thoughts of earlier answers (`<think>...</think>`), and may write system text
    elsewhere, as into the last turn.

    Raises:
        ValueError: It leaves out another text, or moves a turn.
    """
    end = 0
    for message in sorted(messages, key=lambda one: one["role"] != "system"):
        role, text = message["role"], message["content"].strip()
        if role == "assistant":
            text = text.rpartition("</think>")[2].lstrip()
        start = prompt.find(text, end)
        if start < 0:
            raise ValueError(f"it leaves out or moves the text of role {role}")
        if role == "system":
            prompt = prompt[:start] + prompt[start + len(text) :]  # it is no part of a turn
        else:
            end = start + len(text)
