"""Recognizes the format of an external file by the keys of its first row."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from apo.core.errors import UserError
from apo.core.records import Row
from apo.datasets.column_use import FLAG, NOT_READ
from apo.datasets.columns import PROMPTS, key_list
from apo.datasets.context import HISTORY, SYSTEM
from apo.datasets.flags import is_flag
from apo.datasets.paired_columns import (
    VERDICTS,
    PairedColumns,
    answers_in,
    chosen_names_in,
    paired_columns_in,
)
from apo.datasets.parsed import ByFirstRow, Names, Parse, Parser
from apo.datasets.prompts import join_advice, prompts_of
from apo.datasets.unsupported_rows import explain_columns, explain_unsupported

_ANY = re.compile(r".*", re.DOTALL)


class Binding(NamedTuple):
    """How the rows of one file are read.

    Attributes:
        parse: Reads a row.
        names: The column of each part, which every row must have.
        role_of: The role of a column, or `NOT_READ`.
        label: The column with the label of two answers, and the ends of their names.
    """

    parse: Parse
    names: Names
    role_of: Callable[[str], str]
    label: tuple[str, tuple[str, str]] | None


@dataclass(frozen=True)
class Format:
    """One way to write a row.

    Args:
        kind: comparison, golden, samples or demonstration.
        name: Its name in `data.format`.
        keys: Required keys.
        parse: Reads a row; `ByFirstRow` where the values of the first row tell texts from lists.
        part_keys: The possible keys of each part of a row.
        without: Keys that belong to another format.
        key_pattern: A pattern that at least one key matches.
        extra_keys: Further keys, for messages.
        other_roles: The roles of other keys, by pattern.
        has_context: Whether columns with a system text and earlier turns are read.
        label: The part, or the key, with the label of two answers, and the ends of their names.
    """

    kind: str
    name: str
    keys: frozenset[str]
    parse: Parser
    part_keys: Mapping[str, tuple[str, ...]]
    without: frozenset[str] = frozenset()
    key_pattern: re.Pattern[str] = _ANY
    extra_keys: str = ""
    other_roles: Mapping[str, str] = field(default_factory=dict)
    has_context: bool = True
    label: tuple[str, str, str] | None = None

    def has_keys_of(self, row: Row, *, is_named: bool = False) -> bool:
        """Whether the row has the keys of this format; other keys are not read.

        If `is_named`, the user chose this format, and the keys in `without` are ignored. A mark such as
        `rejected: true` is no answer.
        """
        present = row.keys() - {
            key for key in ("chosen", "rejected") if isinstance(row.get(key), int | float)
        }
        return (
            self.keys <= row.keys()
            and (is_named or not self.without & present)
            and all(any(key in present for key in keys) for keys in self.part_keys.values())
            and any(map(self.key_pattern.fullmatch, row))
        )

    def keys_shared_with(self, row: Row) -> int:
        """The number of parts and keys of this format that a row has."""
        parts = sum(any(key in row for key in keys) for keys in self.part_keys.values())
        return parts + len(self.keys & row.keys())

    def bind(self, row: Row, where: str) -> Binding:
        """The binding for a file, from its first row.

        Raises:
            UserError: A part has several possible keys.
        """
        names = self.names_in(row, where)
        label = None
        if self.label:
            part, *ends = self.label
            label = (names.get(part, part), (ends[0], ends[1]))
        return self._binding(row, names, label)

    def _binding(self, row: Row, names: Names, label: tuple[str, tuple[str, str]] | None) -> Binding:
        parse = self.parse.choose(row, names) if isinstance(self.parse, ByFirstRow) else self.parse
        return Binding(parse, names, self._roles(row, names), label)

    def _roles(self, first: Row, names: Names) -> Callable[[str], str]:
        roles = {key: key for key in (*self.keys, "query_id")}
        if self.kind in ("comparison", "golden"):
            roles["type"] = "type"
        if self.has_context:
            roles |= dict.fromkeys(SYSTEM, "system text") | dict.fromkeys(HISTORY, "earlier turns")
        if names.get("prompt") == "instruction":
            roles["input"] = "input of the instruction"
        if isinstance(self.parse, ByFirstRow):
            roles |= self.parse.roles(first, names)
        roles |= {key: part for part, key in names.items()}
        has_flags = self.kind != "comparison"

        def role_of(key: str) -> str:
            if key in roles:
                return roles[key]
            if has_flags and is_flag(key):
                return FLAG
            return next(
                (role for name, role in self.other_roles.items() if re.fullmatch(name, key)), NOT_READ
            )

        return role_of

    def names_in(self, row: Row, where: str) -> dict[str, str]:
        """The key of each part.

        Raises:
            UserError: A part has several possible keys.
        """
        names = {}
        for part, keys in self.part_keys.items():
            present = [key for key in keys if key in row]
            if part == "prompt":
                present = prompts_of(present, row)
            if len(present) > 1:
                raise self._ambiguous_part(part, present, row, where)
            if present:
                names[part] = present[0]
        return names

    def _ambiguous_part(self, part: str, present: list[str], row: Row, where: str) -> UserError:
        return UserError(
            where,
            found=f"keys {key_list(row)}, of which {' and '.join(present)} could each be the {part}",
            expected=f"one of: {', '.join(present)}",
            do=f"{join_advice(present, row)}say which under {self.columns} (data.hub.columns), such as "
            f"`{part}: {present[0]}`, with the other columns of {self.described}",
        )

    @property
    def columns(self) -> str:
        """The parameter that maps the columns of files of this kind."""
        return "data.files.columns." + {"golden": "golden", "samples": "samples"}.get(
            self.kind, f"{self.kind}s"
        )

    @property
    def described(self) -> str:
        """Its name and keys, with the usual key of each part."""
        usual = (keys[0] for keys in self.part_keys.values())
        return f"{self.name} ({', '.join([*usual, *sorted(self.keys), *filter(None, [self.extra_keys])])})"


@dataclass(frozen=True)
class PairedColumnsFormat(Format):
    """Answers under two names that differ in their end (`paired_columns`); other formats come first."""

    def has_keys_of(self, row: Row, *, is_named: bool = False) -> bool:
        """Whether there are two answers, a prompt or conversations, and a verdict."""
        has_prompt = any(key in row for key in PROMPTS)
        return any(
            has_prompt or isinstance(row[columns.first], list | dict) or _TALK.match(columns.first)
            for columns in chosen_names_in(row) or paired_columns_in(row)
        )

    def keys_shared_with(self, row: Row) -> int:
        """As for any format: a prompt, two answers, a verdict."""
        parts = (any(key in row for key in PROMPTS), any(key in row for key in VERDICTS))
        return sum(parts) + 2 * bool(answers_in(row.keys()))

    def bind(self, row: Row, where: str) -> Binding:
        """As for any format; all the keys of the two answers are needed."""
        readings = chosen_names_in(row) or paired_columns_in(row)
        if len(readings) > 1:
            raise self._ambiguous_columns(readings, row, where)
        (columns,) = readings
        present = prompts_of([key for key in PROMPTS if key in row], row | {"chosen": row[columns.first]})
        if len(present) > 1:
            raise self._ambiguous_part("prompt", present, row, where)
        names = {"prompt": present[0]} if present else {}
        names |= {"response": columns.first, "other response": columns.second}
        names |= {
            "label" if len(columns.verdict) == 1 else f"label of {n}": key
            for n, key in enumerate(columns.verdict)
        }
        label = None
        if len(columns.verdict) == 1:
            label = (columns.verdict[0], (columns.first[-1], columns.second[-1]))
        return self._binding(row, names, label)

    def _ambiguous_columns(self, readings: Sequence[PairedColumns], row: Row, where: str) -> UserError:
        shown = (f"{pair.first}, {pair.second} by {' and '.join(pair.verdict)}" for pair in readings[:6])
        first = readings[0]
        return UserError(
            where,
            found=f"keys {key_list(row)}, which can be read in several ways: {'; '.join(shown)}",
            expected="one of them",
            do="say which under data.files.columns.comparisons (data.hub.columns), such as `response_a: "
            f"{first.first}`, `response_b: {first.second}`, `winner: {first.verdict[0]}`, and the prompt",
        )


_TALK = re.compile(r"conv|messages")


def matching(row: Row, formats: Sequence[Format], *, is_named: bool = False) -> list[Format]:
    """The formats that fit a row. `PairedColumnsFormat` counts only if no other one of its kind fits."""
    fits = [format for format in formats if format.has_keys_of(row, is_named=is_named)]
    if not is_named and chosen_names_in(row):
        fits = [format for format in fits if format.name not in ("pairs", "dialogues")]
    kinds = {format.kind for format in fits if not isinstance(format, PairedColumnsFormat)}
    return [
        format for format in fits if not isinstance(format, PairedColumnsFormat) or format.kind not in kinds
    ]


def recognize(row: Row, formats: Sequence[Format], where: str, *, name: str = "") -> Format:
    """The format of a file, by its first row; `name` is the format that the user chose, "" for none.

    Raises:
        UserError: No format fits, several fit, or the chosen one does not.
    """
    allowed = [format for format in formats if name in ("", format.name)]
    if not allowed:
        raise UserError(
            "params.yaml: data.format",
            found=f"{name!r:.60}",
            expected="'' or one of: " + "; ".join(format.described for format in formats),
            do="write the name of one of them, or '' and it is recognized",
        )
    if by_columns := explain_columns(row, where):
        raise by_columns
    matches = matching(row, allowed, is_named=bool(name))
    if len(matches) == 1:
        return matches[0]
    explained = explain_unsupported(row, where, is_known=lambda candidate: bool(matching(candidate, formats)))
    if not matches and explained:
        raise explained
    if matches:
        raise UserError(
            where,
            found=f"keys {key_list(row)} that are of several formats at once",
            expected=f"one of: {'; '.join(format.described for format in matches)}",
            do="name the format of comparisons under data.format",
        )
    kinds = {format.columns for format in allowed}
    parameters = kinds.pop() if len(kinds) == 1 else "data.files.columns.KIND"
    raise UserError(
        where,
        found=f"keys {key_list(row)} of no known format",
        expected=_closest(row, allowed),
        do=f"rename keys, or map columns under {parameters} (data.hub.columns)",
    )


def _closest(row: Row, formats: Sequence[Format]) -> str:
    """The formats that have the most keys in common with a row, or the names of many that have none."""
    most = max(format.keys_shared_with(row) for format in formats)
    if not most and len(formats) > 2:
        return f"one of the formats {', '.join(format.name for format in formats)}, see docs/data.md"
    closest = (format.described for format in formats if format.keys_shared_with(row) == most)
    return f"one of: {'; '.join(closest)}"
