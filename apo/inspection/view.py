"""Renders a report of `apo.inspection` as text, wrapped to the width of the terminal and in color there."""

import os
import shutil
import textwrap
from typing import Any

from apo.core.data_issues import NO_ADVICE

COLORS = {"error": "31", "drop": "33", "keep": "36", "cut": "36", "good": "32", "title": "1", "faint": "2"}
EXAMPLES = 2  # printed for each issue; --json has ten
TEXT = 400  # characters printed of a turn or response; --json has all
NAMES = {"user": "Human", "assistant": "Assistant", "system": "system"}


class Page:
    """Lines of a report, wrapped to a width and colored on request.

    Args:
        width: Characters of a line.
        has_color: Whether titles and actions are colored.
    """

    def __init__(self, *, width: int, has_color: bool) -> None:
        self.lines: list[str] = []
        self._width, self._has_color = max(width, 60), has_color

    def paint(self, text: str, kind: str) -> str:
        """A text in the color of its kind."""
        return f"\x1b[{COLORS[kind]}m{text}\x1b[0m" if self._has_color else text

    def title(self, text: str, kind: str = "title") -> None:
        """A heading on a separate line."""
        self.lines += [self.paint(line, kind) for line in self._wrapped(text, "", "")]

    def fact(self, name: str, text: str, *, indent: int = 2, column: int = 14, kind: str = "") -> None:
        """A name and its value; further lines of the value begin in the same column."""
        head = " " * indent + name
        head += " " * max(column - len(head), 1)
        lines = self._wrapped(text, head, " " * len(head)) or [head.rstrip()]
        self.lines += [self.paint(line, kind) if kind else line for line in lines]

    def _wrapped(self, text: str, first: str, following: str) -> list[str]:
        return textwrap.wrap(
            _clean(text),
            self._width,
            initial_indent=first,
            subsequent_indent=following,
            break_on_hyphens=False,
        )


def shown(report: dict[str, Any], *, is_terminal: bool) -> str:
    """The lines of a report, colored on a terminal unless NO_COLOR is set (https://no-color.org)."""
    has_color = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    page = Page(width=shutil.get_terminal_size((110, 24)).columns, has_color=has_color)
    page.title(report["file"])
    for name, text in _facts(report):
        page.fact(name, text)
    if report["columns"]:
        page.title("columns")
        width = min(max(map(len, report["columns"])), 30) + 4
        for column, use in report["columns"].items():
            page.fact(_clean(column)[:60], use, column=width, kind="faint" if use == "not read" else "")
    if report["records"]:
        count = len(report["records"])
        page.title(f"{count} record{'s as they are' if count > 1 else ' as it is'} learned")
        for record in report["records"]:
            _record(page, record, report["file"])
    _issues(page, report)
    errors = sorted({issue["code"] for issue in report["issues"] if issue["action"] == "error"})
    if report["usable"]:
        page.title("usable", "good")
    else:
        page.title(f"not usable as it is: {', '.join(errors) or 'no row is kept'}", "error")
    return "\n".join(page.lines)


def _record(page: Page, record: dict[str, Any], file: str) -> None:
    page.fact(record["where"].removeprefix(file).lstrip(": "), "", kind="faint")
    for role, text in record["turns"]:
        page.fact(NAMES[role], _truncated(text), indent=4, column=18)
    for name, text in record["answers"]:
        page.fact(name, _truncated(text), indent=4, column=18, kind="good" if "best" in name else "")


def _truncated(text: str) -> str:
    omitted = len(text) - TEXT
    return text if omitted <= 0 else f"{text[:TEXT]} [... {omitted:,} characters more]"


def _issues(page: Page, report: dict[str, Any]) -> None:
    if report["issues"]:
        page.title("issues")
    for issue in report["issues"]:
        action = page.paint(f"{issue['action']:<6}", issue["action"])
        page.lines.append(f"  {action}{issue['count']:>9,}  {issue['code']}")
        for example in issue["examples"][:EXAMPLES]:
            where = example["where"].removeprefix(report["file"]).lstrip(": ")
            text = ": ".join(filter(None, [where, example["found"]]))
            page.fact("", text, column=19, kind="faint")
        if issue["advice"] not in ("", NO_ADVICE):
            page.fact("", issue["advice"], column=19)


def _clean(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def _facts(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The names and values of the first part of the report."""
    facts = [("format", format) for format in report["candidates"]]
    if report["kind"]:
        facts.append(("rows", f"{report['rows']:,}, {report['kept']:,} {report['kind']} records kept"))
    if report["changed"]:
        facts.append(("changed", _counts(report["changed"])))
    contents, tokens = report["contents"], report["tokens"]
    if contents:
        queries = contents["queries"]
        repeated = f"; {queries['repeated']:,} rows repeat one" if queries["repeated"] else ""
        repeated += f", such as {queries['example']!r}" if queries["repeated"] else ""
        kinds = {name or "(none)": count for name, count in contents["kinds"].items()}
        facts += [
            ("kinds", _counts(kinds)),
            ("queries", f"{queries['distinct']:,} different{repeated}"),
            ("responses", ", ".join(f"{n}: {count:,} rows" for n, count in contents["responses"].items())),
            ("turns", _counts(contents["turns"])),
            ("words", ""),
            *((f"  {name}", _counts(values)) for name, values in contents["words"].items()),
        ]
    if "scores" in contents:
        scores = contents["scores"]
        facts.append(
            (
                "scores",
                f"{scores['lowest']:g} to {scores['highest']:g}, ties in {scores['rows_with_ties']:,} rows",
            )
        )
    if tokens:
        facts += [
            (
                "tokens",
                f"of {tokens['rows']:,} of the rows, {tokens['rows_left']:,} of which are left to train on",
            ),
            *(
                (f"  {name}", _counts(tokens[name]))
                for name in ("query", "response", "sequence")
                if name in tokens
            ),
            ("  longer", f"{tokens['longer']:,} sequences than model.max_length {tokens['max_length']}"),
            (
                "  template",
                f"refuses {tokens['refused_by_chat_template']:,} dialogues, and reads "
                f"{tokens['merged_for_chat_template']:,} with turns merged",
            ),
        ]
    return facts


def _counts(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in numbers.items())
