"""The chat template of a language model that a stage takes over: its own, the HH form, or that of a file."""

from pathlib import Path
from typing import Any

from apo.core.errors import UserError
from apo.language.settings import ChatModel
from apo.model.chat_template import REFUSED
from apo.model.hh_template import hh_template
from apo.model.template_text import default_template, fix_dates


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
        text = default_template(tokenizer.chat_template) or hh_template()
    else:
        text = _read(settings.chat_template, templates, section)
    tokenizer.chat_template, dates = fix_dates(text)
    tokenizer.init_kwargs[REFUSED] = settings.refused_dialogues
    return {"chat_template_dates": dates} if dates else {}


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
