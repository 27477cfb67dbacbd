"""A report of `apo.inspection` for a reader, in color on a terminal."""

import os
from typing import Any

COLORS = {"error": "31", "drop": "33", "keep": "36", "good": "32", "title": "1", "faint": "2"}
EXAMPLES = 2  # of an issue that are printed; --json has ten
WIDTH = 150  # characters of a line at most


def shown(report: dict[str, Any], *, is_terminal: bool) -> str:
    """The lines of a report, colored on a terminal unless NO_COLOR is set (https://no-color.org)."""
    color = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def paint(text: str, kind: str) -> str:
        return f"\x1b[{COLORS[kind]}m{text}\x1b[0m" if color else text

    lines = [paint(report["file"], "title")]
    lines += [f"  {name:<12}{_one_line(text)}" for name, text in _facts(report)]
    if report["issues"]:
        lines.append(paint("issues", "title"))
    for issue in report["issues"]:
        action = paint(f"{issue['action']:<6}", issue["action"])
        lines.append(f"  {action}{issue['count']:>9,}  {issue['code']}")
        for example in issue["examples"][:EXAMPLES]:
            where = example["where"].removeprefix(report["file"]).lstrip(": ")
            text = ": ".join(filter(None, [where, example["found"]]))
            lines.append(paint(f"                   {_one_line(text)}", "faint"))
    stopped = sorted({one["code"] for one in report["issues"] if one["action"] == "error"})
    if report["usable"]:
        lines.append(paint("usable", "good"))
    else:
        lines.append(paint(f"not usable as it is: {', '.join(stopped) or 'no row is kept'}", "error"))
    return "\n".join(lines)


def _facts(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and what is known under them."""
    facts = [("format", format) for format in report["candidates"]]
    if report["kind"]:
        facts.append(("rows", f"{report['rows']:,}, {report['kept']:,} {report['kind']} records kept"))
    if report["changed"]:
        facts.append(("changed", _counts(report["changed"])))
    contents, tokens = report["contents"], report["tokens"]
    if contents:
        queries = contents["queries"]
        again = f"; {queries['repeated']:,} rows repeat one" if queries["repeated"] else ""
        again += f", such as {queries['example']!r}" if queries["repeated"] else ""
        kinds = {name or "(none)": count for name, count in contents["kinds"].items()}
        facts += [
            ("kinds", _counts(kinds)),
            ("queries", f"{queries['distinct']:,} different{again}"),
            ("responses", ", ".join(f"{n}: {count:,} rows" for n, count in contents["responses"].items())),
            ("turns", _counts(contents["turns"])),
            ("words", ""),
            *((f"  {name}", _counts(spread)) for name, spread in contents["words"].items()),
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
            *((f"  {name}", _counts(tokens[name])) for name in ("query", "response", "sequence")),
            ("  longer", f"{tokens['longer']:,} sequences than model.max_length {tokens['max_length']}"),
        ]
    return facts


def _counts(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in numbers.items())


def _one_line(text: str) -> str:
    """Without line breaks or control characters that would reach the terminal, and not too long."""
    clean = "".join(char if char.isprintable() else " " for char in text)
    return clean if len(clean) <= WIDTH else clean[: WIDTH - 3] + "..."
