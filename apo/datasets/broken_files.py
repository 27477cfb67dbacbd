"""Says what a file is that is not valid JSON: Python, a table, several lists, a comma too many."""

import json
import re
from pathlib import Path
from typing import NamedTuple

from apo.core.errors import UserError

_MAGIC = {".gz": b"\x1f\x8b", ".xz": b"\xfd7zXZ\0", ".parquet": b"PAR1"}
_FETCH_AGAIN = "download or write the file again"


class Problem(NamedTuple):
    """What was found, and what to do about it."""

    found: str
    do: str


def line_problem(line: str, error: Exception, *, is_first: bool) -> Problem:
    """The problem of a line that is not JSON, from the error of the decoder."""
    text, reason = line.strip(), f"a line that is not JSON ({str(error)[:80]})"
    if not isinstance(error, json.JSONDecodeError):
        return Problem(reason, "fix or remove the line")
    rest = text[_end_of_value(text) :].lstrip() if error.msg == "Extra data" else ""
    if rest == ",":
        return Problem(
            f"{reason}: a comma behind an object",
            "remove the commas at the ends of lines, for instance with `sed 's/},$/}/' FILE > rows.jsonl`",
        )
    if text.startswith("{") and rest.startswith("{"):
        return Problem(
            f"{reason}: several objects on one line",
            "write one object a line, for instance with `jq -c . FILE > rows.jsonl`",
        )
    if _is_python(text):
        return Problem(f"{reason}: a dict as Python writes it", _as_json_do())
    if is_first and not text.startswith(("{", "[", '"')) and re.search(r"\S[,;\t]\S", text):
        return Problem(f"{reason}: the first line of a table", "give the file the ending .csv or .tsv")
    if error.pos >= len(line.rstrip()) or error.msg.startswith("Unterminated"):
        return Problem(
            reason, "fix or remove the line; a file cut off in the middle has to be downloaded again"
        )
    return Problem(reason, "fix or remove the line")


def list_problem(text: str, error: Exception, row: int) -> Problem:
    """The problem of a list that is not JSON, from the text where it ends to be JSON."""
    reason, rest = f"no JSON ({str(error)[:80]}) after row {row}", text.lstrip()
    if rest.startswith("]"):
        return Problem(f"{reason}: a comma behind the last element", "remove the comma before the last ]")
    if rest.startswith("["):
        return Problem(
            f"{reason}: several lists",
            "write one row a line, for instance with `jq -c '.[]' FILE > rows.jsonl`",
        )
    if _is_python(rest):
        return Problem(f"{reason}: a dict as Python writes it", _as_json_do())
    if str(error) == "no ']' but '{'":
        return Problem(f"{reason}: no comma between two objects", "write a comma between them")
    return Problem(reason, _FETCH_AGAIN)


def _end_of_value(text: str) -> int:
    return json.JSONDecoder().raw_decode(text)[1]


def _is_python(text: str) -> bool:
    return bool(re.match(r"(\[\s*)?\{\s*'", text))


def _as_json_do() -> str:
    return "write each row with `json.dumps(row)`; `ast.literal_eval(line)` reads what is there"


def check_binary(start: bytes, path: Path, name: str) -> None:
    """Checks that a file that should be compressed or parquet does not begin as a text.

    Raises:
        UserError: It does.
    """
    magic = _MAGIC.get(path.suffix)
    is_text = start[:64].strip() != b"" and start[:64].isascii() and b"\0" not in start
    if magic and is_text and not start.startswith(magic):
        raise UserError(
            name,
            found=f"text in a file named {path.suffix}",
            expected=f"the data of a {path.suffix} file",
            do="give the file the ending of what it holds, such as .jsonl or .csv",
        )


def check_no_json(start: bytes, name: str) -> None:
    """Checks that a table does not begin as JSON.

    Raises:
        UserError: It does.
    """
    beginning = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if re.match(rb"""(\[\s*)?\{\s*"[^",]*"\s*:""", beginning):
        raise UserError(
            name,
            found="JSON in a file named as a table",
            expected="a first line with the names of the columns",
            do="give the file the ending .jsonl (one object a line) or .json",
        )
