"""One pass over an external file: its format, its parsed rows, and their data issues."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from apo.core.data_issues import DataIssues
from apo.core.dialogue import cut_runaway, turn_out_of_order
from apo.core.errors import RowError, UserError
from apo.core.records import Row
from apo.datasets.column_use import LOST_ADVICE, ColumnUse, lost_context, unread_part, unsupported_in
from apo.datasets.columns import key_list, map_columns, translate_columns
from apo.datasets.fields import text_in
from apo.datasets.messages import decode_containers
from apo.datasets.paired_columns import LabelError, label_meanings, label_text
from apo.datasets.parsed import ParsedRow
from apo.datasets.query_ids import id_in
from apo.datasets.recognize import Format, matching, recognize
from apo.datasets.rows import LocatedRow, file_rows
from apo.datasets.trees import comparisons_in, is_tree

MAX_TEXT_CHARACTERS = 1_000_000  # of one query or response
MAX_LABELS = 12  # values of a label that a message lists
# Marks of chat templates, in which a whole conversation looks like one prompt.
_TEMPLATE = re.compile(r"<\|im_start\|>|<\|start_header_id\|>|<extra_id_1>|\[/INST\]|<start_of_turn>")


@dataclass
class ReadOptions:
    """The user's options for a file, and the roles of its columns.

    Args:
        columns: Columns of the file by their names in the format; {} if they are the same.
        format: The name of its format, "" to recognize it.
        name: The display name of the file, "" for its path.
        labels: The meaning of each value of a label: the end of an answer's name, or `tie`.

    Attributes:
        uses: The role of each column, filled while the file is read.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    format: str = ""
    name: str = ""
    labels: Mapping[Any, Any] = field(default_factory=dict)
    uses: dict[str, str] = field(default_factory=dict)


class FileReader:
    """One pass over a file whose rows have one format."""

    def __init__(
        self,
        path: Path,
        formats: Sequence[Format],
        counts: Counter[str],
        issues: DataIssues,
        options: ReadOptions,
    ) -> None:
        self.counts, self.issues = counts, issues
        self._path, self._name = path, options.name or str(path)
        self._options, self._explained_label, self._is_forest = options, False, False
        self._formats, self._keep_unmapped = formats, False
        rows = self._readable(self._comparison_rows(file_rows(path, self._name)))
        located, raw, first = next(rows, (None, {}, {}))
        if located is None:  # all rows were left out
            self._rows: Iterator[tuple[LocatedRow, Row, Row]] = iter(())
            return
        self.format = recognize(first, formats, located.where, name=options.format)
        self._binding = self.format.bind(first, located.where)
        self._use = ColumnUse(self._binding.role_of, options.columns, keep_unmapped=self._keep_unmapped)
        self._use.uses = options.uses
        self._labels = self._label_meanings()
        self._keys = first.keys()
        self._rows = chain([(located, raw, first)], rows)

    def rows(self) -> Iterator[tuple[LocatedRow, Row, ParsedRow]]:
        """Every row with its parsed content; responses are stripped."""
        for located, raw, row in self._rows:
            self._use.add(raw)
            try:
                self._check_keys(row, located.where)
                labeled, names = self._labeled(row, located.where), self._binding.names
                parsed = self._binding.parse(labeled, located.where, self.counts, names)
            except RowError as error:
                self._report_error(error)
                continue
            responses = [response.strip() for response in parsed.responses]
            self.counts["stripped_responses"] += sum(map(str.__ne__, responses, parsed.responses))
            parsed = parsed._replace(responses=responses)
            if self._report_unread(located, raw, row, parsed):
                yield located, row, parsed

    def _comparison_rows(self, rows: Iterator[LocatedRow]) -> Iterator[LocatedRow]:
        """The rows; a tree of messages becomes its comparisons."""
        stream = self._counted_rows(rows)
        first = next(stream, None)
        if first is None:
            return
        stream = chain([first], stream)
        self._is_forest = (
            not isinstance(first.row, RowError) and not self._options.columns and is_tree(first.row)
        )
        yield from comparisons_in(stream, self.counts, self._options.uses) if self._is_forest else stream

    def _counted_rows(self, rows: Iterator[LocatedRow]) -> Iterator[LocatedRow]:
        for located in rows:
            self.counts["rows"] += 1
            yield located

    def _readable(self, rows: Iterator[LocatedRow]) -> Iterator[tuple[LocatedRow, Row, Row]]:
        """Yields (located row, row as it is in the file, row under the names of the format)."""
        columns, is_first = self._options.columns, True
        for located in rows:
            try:
                if isinstance(located.row, RowError):
                    raise located.row
                where, row = located.where, located.row
                if columns and is_first:
                    self._keep_unmapped = not matching(map_columns(row, columns, where), self._formats)
                if columns:
                    row = map_columns(row, columns, where, keep_unmapped=self._keep_unmapped)
                else:
                    row = translate_columns(row)
                is_first = False
                raw = {} if self._is_forest else located.row
                yield located, raw, decode_containers(row, where, self.counts)
            except RowError as error:
                self._report_error(error)

    def _check_keys(self, row: Row, where: str) -> None:
        if row.keys() == self._keys:
            return
        if self.format.kind == "golden" and "golden" not in row and "query" in row:
            raise RowError("missing_golden", where, found=f"keys {key_list(row)}", expected="a golden answer")
        is_named, needed = bool(self._options.format), set(self._binding.names.values())
        if not self.format.has_keys_of(row, is_named=is_named) or not needed <= row.keys():
            raise RowError(
                "other_keys",
                where,
                found=f"keys {key_list(row)}",
                expected=f"{self.format.described}, as in the first row",
                do="fix the row, or put rows of another format into a file of their own",
            )

    # Labels

    def _label_meanings(self) -> dict[str, str]:
        labels, where = self._options.labels, "params.yaml: data.files.labels (data.hub.labels)"
        if not labels:
            return {}
        if not self._binding.label:
            raise UserError(
                where,
                found=f"labels for a file of the format {self.format.name}",
                expected="{}, as no column of it says which of two answers is better",
                do="write {}, or the labels of each file under its name ({FILE: {1: a, 2: b}}), or name the "
                "columns of the two answers and of the label",
            )
        return label_meanings(labels, self._binding.label[1], where)

    def _labeled(self, row: Row, where: str) -> Row:
        """The row with the meaning of its label in place of the value."""
        if not self._labels or not self._binding.label:
            return row
        key, ends = self._binding.label
        meaning = self._labels.get(label_text(row[key]))
        if meaning is None:
            error = LabelError(key, row[key], ends, where)
            error.code, error.expected = "bad_score", f"one of {', '.join(self._labels)}, as the labels say"
            raise error
        return row | {key: meaning}

    def _values_of(self, key: str) -> str:
        """The values of a label in the whole file, with their numbers of rows."""
        values: Counter[str] = Counter()
        for located in file_rows(self._path, self._name):
            if not isinstance(located.row, RowError):
                try:
                    row, columns = located.row, self._options.columns
                    if columns:
                        row = map_columns(row, columns, "", keep_unmapped=self._keep_unmapped)
                except RowError:
                    continue
                value = row.get(key)
                values[label_text(value)[:40] if not isinstance(value, list | dict) else "a list"] += 1
        shown = [f"{value} ({count:,})" for value, count in values.most_common(MAX_LABELS)]
        return ", ".join(shown + (["..."] if len(values) > MAX_LABELS else []))

    # Issues

    def _report_error(self, error: RowError) -> None:
        """Counts the issue of a row that can't be used; raises if its action is `error`."""
        found = error.found
        if isinstance(error, LabelError) and not self._explained_label:
            self._explained_label = True
            found = f"{found}; the values in the file are {self._values_of(error.key)}"
        self.issues.report(error.code, where=error.where, found=found, expected=error.expected, do=error.do)
        self.counts[f"dropped_{error.code}"] += 1

    def _report_unread(self, located: LocatedRow, raw: Row, row: Row, parsed: ParsedRow) -> bool:
        """Counts what of a row is not in the record; returns whether the row is kept."""
        unread = self._use.unread(raw)
        unsupported = unsupported_in(raw, unread)
        if unsupported:
            if not self.report(located, "unsupported_column", f"{unsupported[1]}, which is not read"):
                return False
            unread.remove(unsupported[0])
        elif not self._report_lost(located, row, parsed):
            return False
        if not unread:
            return True
        part, column = unread_part(raw, unread, parsed)
        found = f"{part:.0%} of the text in columns that are not read, most of it in {column[:40]!r}"
        return not part or self.report(located, "unread_column", found)

    def _report_lost(self, located: LocatedRow, row: Row, parsed: ParsedRow) -> bool:
        """Counts a column of the prompt that is not in the record; returns whether the row is kept."""
        read = row if self._options.format else self._binding.names.values()
        found = lost_context(row, read, parsed)
        return not found or self.report(located, "unsupported_column", found, LOST_ADVICE)

    def report_all(self, located: LocatedRow, parsed: ParsedRow, issue: tuple[str, str] | None) -> bool:
        """Counts a row's issues, that of its kind first, until one drops it; returns whether it is kept."""
        issues = chain([issue] if issue else [], _suspicious(parsed))
        return all(self.report(located, code, found) for code, found in issues)

    def report(self, located: LocatedRow, code: str, found: str, do: str = "fix the row") -> bool:
        """Counts an issue; returns whether its row is kept."""
        is_kept = self.issues.report(code, where=located.where, found=found, do=do)
        self.counts[f"{'kept' if is_kept else 'dropped'}_{code}"] += 1
        return is_kept

    def cut_sample(self, sample: str) -> str:
        """A sample of a model without the turns that the model invented."""
        text, was_cut = cut_runaway(sample)
        self.counts["cut_runaway"] += was_cut
        return text

    def record(self, located: LocatedRow, row: Row, query: str, **fields: Any) -> Iterator[Row]:
        """The record, with the id of the row or one made from the query; nothing if the id is invalid."""
        try:
            query_id = id_in(row, query, located.where)
            if "type" in fields:
                fields["type"] = text_in(row.get("type", ""), "type", located.where)
        except RowError as error:
            self._report_error(error)
            return
        self.counts["kept"] += 1
        yield {"query_id": query_id, "query": query, **fields}


def _suspicious(parsed: ParsedRow) -> Iterator[tuple[str, str]]:
    """Codes and descriptions of suspicious texts in a row of any kind."""
    texts = [*dict.fromkeys(parsed.queries), *parsed.responses, *parsed.extra.values()]
    longest = max(map(len, texts))
    if longest > MAX_TEXT_CHARACTERS:
        yield "too_long", f"a text of {longest} characters, more than {MAX_TEXT_CHARACTERS}"
    if any("\ufffd" in text for text in texts):
        yield "replacement_character", "U+FFFD, which replaces bytes that could not be decoded"
    json_response = next((text for text in parsed.responses if _is_json(text)), None)
    if json_response is not None:
        yield "json_text", f"a response that is JSON as a whole ({json_response[:60]!r})"
    for query in dict.fromkeys(parsed.queries):
        if number := turn_out_of_order(query):
            yield "turn_order", f"turns that do not alternate, from turn {number} on"
            break
        if _TEMPLATE.search(query):
            yield "chat_template", f"marks of a chat template in a query ({query[:60]!r})"
            break


def _is_json(text: str) -> bool:
    """Whether a whole text is a JSON object, or a list of texts or objects."""
    if not text.startswith(('{"', '["', "[{")) or not text.endswith(("]", "}")):
        return False
    try:
        return bool(json.loads(text))
    except (ValueError, RecursionError):
        return False
