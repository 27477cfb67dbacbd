"""Environment variables that hold a whole number."""

import os

from apo.core.errors import UserError


def environment_int(name: str, default: int, *, least: int = 1, expected: str = "") -> int:
    """The number in an environment variable.

    Args:
        expected: What to write, for the message; by default a whole number of at least `least`.

    Raises:
        UserError: It is no whole number, or too small.
    """
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or int(text) < least:
        expected = expected or f"a whole number of at least {least}"
        raise UserError(name, found=repr(text), expected=expected, do="unset it")
    return int(text)
