"""The chat template of a language model that a stage takes over: its own, the HH form, or that of a file."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from apo.core.errors import UserError
from apo.language.settings import ChatModel
from apo.model.chat_template import REFUSED
from apo.model.hh_template import hh_template

FIXED_DATE = datetime(2024, 7, 26)  # the default date of Llama 3's template
MACRO = "{%- macro strftime_now(format)"
_DATE_FORMAT = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")


def choose_template(tokenizer: Any, settings: ChatModel, templates: Path, *, section: str) -> dict[str, int]:
    """Sets the chat template of a tokenizer, and the action for dialogues that it refuses.

    Args:
        tokenizer: Changed in place.
        settings: `chat_template` is own, hh or the name of a file.
        templates: The folder of the files, a dependency of the stage in DVC.

    Returns:
        Metrics: `chat_template_dates`, how often the template asks for today's date. It gets a fixed date, so
        that the ids are the same every day.

    Raises:
        UserError: There is no such file.
    """
    if settings.chat_template == "hh":
        text = hh_template()
    elif settings.chat_template == "own":
        text = tokenizer.chat_template or hh_template()
        if isinstance(text, dict):  # several templates by name
            text = text.get("default", next(iter(text.values())))
    else:
        text = _read(settings.chat_template, templates, section)
    has_macro = text.startswith(MACRO)  # an earlier stage added it
    dates = [] if has_macro else _DATE_FORMAT.findall(text)
    tokenizer.chat_template = _fixed_dates({date_format for _, date_format in dates}) + text
    tokenizer.init_kwargs[REFUSED] = settings.refused_dialogues
    return {"chat_template_dates": len(dates)} if dates else {}


def _read(name: str, templates: Path, section: str) -> str:
    path = templates / Path(name).name
    if Path(name) not in (path, Path(path.name)) or not path.is_file():
        files = sorted(file.name for file in templates.glob("*.jinja"))
        raise UserError(
            f"params.yaml: {section}.chat_template",
            found=repr(name),
            expected=f"own, hh, or a file of {templates}: {', '.join(files) or 'there is none'}",
            do=f"put the Jinja file into {templates}, which DVC watches, and write its name",
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            str(path), found=f"{error.reason} at byte {error.start}", expected="UTF-8", do="save it as UTF-8"
        ) from None


def _fixed_dates(formats: set[str]) -> str:
    """A Jinja macro that replaces `strftime_now`; "" if the template calls it with no format."""
    if not formats:
        return ""
    cases = "".join(
        f"{{%- if format == {date_format!r} %}}{FIXED_DATE.strftime(date_format)}{{%- endif %}}"
        for date_format in sorted(formats)
    )
    return f"{MACRO} %}}{cases}{{%- endmacro %}}"
