"""The Helpful&Harmless (HH) form as a chat template: `\\n\\nHuman: ...\\n\\nAssistant: ...`."""

import re
from typing import Any

_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '\\n\\nHuman: ' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ '\\n\\nAssistant:' }}{% if loop.last %}SEPARATOR"
    "{% if message['content'] | trim %}{{ ' ' + message['content'] | trim }}{% endif %}END"
    "{% else %}{{ ' ' + message['content'] }}{% endif %}"
    "{% else %}{{ message['content'] }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '\\n\\nAssistant:' }}SEPARATOR{% endif %}"
)
_PATTERN = re.compile(
    re.escape(_TEMPLATE)
    .replace("SEPARATOR", "(?P<separator>.*)", 1)
    .replace("SEPARATOR", "(?P=separator)")
    .replace("END", r"(\{\{ eos_token \}\})?")
)


def hh_template(*, separator: str = "", end: str = "{{ eos_token }}") -> str:
    """The chat template of the HH form, with a single space before the last response.

    Args:
        separator: A token between query and response; "" for none.
        end: What follows the last response; "" for nothing.
    """
    return _TEMPLATE.replace("SEPARATOR", separator).replace("END", end)


def is_hh(template: str, tokenizer: Any) -> bool:
    """Whether a chat template is that of the HH form, with any token of a tokenizer as separator, or none."""
    match = _PATTERN.fullmatch(template)
    return match is not None and (not match["separator"] or match["separator"] in tokenizer.get_vocab())
