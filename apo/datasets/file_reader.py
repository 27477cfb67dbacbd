"""One pass over an external file: its format, its parsed rows, and their data issues."""

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from apo.core.data_issues import DataIssues
from apo.core.errors import RowError, UserError
from apo.core.records import Row
from apo.datasets.column_use import LOST_ADVICE, ColumnUse, lost_context, unread_part, unsupported_in
from apo.datasets.columns import (
    PROMPTS,
    check_no_rank_is_a_score,
    column_of,
    context_in_prompts,
    key_list,
    with_context_beside,
)
from apo.datasets.containers import decode_containers
from apo.datasets.fields import check_queries, type_in
from apo.datasets.flags import flag_issue
from apo.datasets.labels import Labels
from apo.datasets.nulls import needed_nulls, without_nulls
from apo.datasets.parsed import ParsedRow
from apo.datasets.prompt_templates import PromptTemplates
from apo.datasets.query_ids import id_in
from apo.datasets.recognize import Format, PairedColumnsFormat, recognize
from apo.datasets.renaming import Renaming
from apo.datasets.rows import LocatedRow, file_rows
from apo.datasets.runaway import cut_invented_turn
from apo.datasets.strengths import StrengthParser
from apo.datasets.suspicious import suspicious_texts
from apo.datasets.trees import comparisons_in, is_tree
from apo.datasets.verdicts import LabelError, label_text
from apo.datasets.written_texts import answer_keys, decoded, is_json, written

MAX_LABELS = 12  # values of a label that a message lists


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
        self._formats, self._renamed = formats, Renaming(options.columns, formats)
        self._needed: set[str] | None = None  # columns of a parquet file that may be null
        self._strengths: StrengthParser | None = None
        self._templates = PromptTemplates(self._parsed_again, counts)
        self._rows: Iterator[tuple[LocatedRow, Row, Row]] = iter(())
        check_no_rank_is_a_score(options.columns)
        rows = self._readable(self._comparison_rows(file_rows(path, self._name)))
        try:
            self._begin(rows)
        except UserError:
            rows.close()
            raise

    def _begin(self, rows: Iterator[tuple[LocatedRow, Row, Row]]) -> None:
        """Recognizes the format of the file by its first row."""
        options = self._options
        located, raw, first = next(rows, (None, {}, {}))
        if located is None:  # all rows were left out
            return
        self.format = recognize(first, self._formats, located.where, name=options.format)
        self._binding = self.format.bind(first, located.where)
        if self._needed is not None:
            self._needed |= {*self._binding.names.values(), *self.format.keys}
        self._use = ColumnUse(
            self._binding.role_of, options.columns, keep_unmapped=self._renamed.keep_unmapped
        )
        self._use.uses = options.uses
        self._labels = Labels(options.labels, self._binding.label, format=self.format.name)
        if isinstance(self._binding.parse, StrengthParser):
            self._strengths = self._binding.parse
        self._keys = first.keys()
        self._json_texts = self._texts_in_json(first)
        self._rows = chain([(located, raw, first)], rows)

    def _texts_in_json(self, first: Row) -> list[str]:
        """The keys of the answers and of the prompt, if all texts of the file under them are JSON."""
        keys = answer_keys(first, self._binding.names)
        prompt = self._binding.names.get("prompt", "query" if "query" in self.format.keys else "")
        is_written = bool(keys) and all(written(first[key]).language for key in keys)
        language = written(first.get(prompt)).language
        if is_written and language == "JSON" and isinstance(self.format, PairedColumnsFormat):
            return []  # its turns may be lists in JSON
        if is_written and is_json(self._mapped_rows(), keys, prompt, self._name):
            return [prompt, *keys]
        return [prompt] if language and is_json(self._mapped_rows(), [prompt], "", self._name) else []

    def rows(self) -> Iterator[tuple[LocatedRow, Row, ParsedRow]]:
        """Every row with its parsed content; responses are stripped."""
        for located, raw, row in self._rows:
            self._use.add(raw)
            try:
                self._check_keys(row, located.where)
                parsed = self._parsed(row, located.where, self.counts)
            except RowError as error:
                self._report_error(error)
                continue
            responses = [response.strip() for response in parsed.responses]
            self.counts["stripped_responses"] += sum(map(str.__ne__, responses, parsed.responses))
            parsed = parsed._replace(responses=responses)
            if self._report_unread(located, raw, row, parsed):
                yield located, row, parsed
        if self._strengths and self._strengths.error:
            self._report_error(self._strengths.error)

    def _parsed(self, row: Row, where: str, counts: Counter[str]) -> ParsedRow:
        labeled = self._labels.applied(row, where)
        if self._json_texts:
            labeled = decoded(labeled, self._json_texts, counts)
        parsed = self._binding.parse(labeled, where, counts, self._binding.names)
        check_queries(parsed.queries, where)
        return parsed

    def _parsed_again(self) -> Iterator[tuple[Row, ParsedRow]]:
        """The rows of the file, read once more; without those that can't be parsed."""
        for unpacked in self._mapped_rows():
            with suppress(RowError):
                row = decode_containers(unpacked, self._name, Counter())
                yield row, self._parsed(row | context_in_prompts(row), self._name, Counter())

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
            yield self._without_nulls(located)

    def _without_nulls(self, located: LocatedRow) -> LocatedRow:
        """A row of a parquet file without the nulls that its format does not need."""
        row = located.row
        if self._path.suffix != ".parquet" or isinstance(row, RowError):
            return located
        if self._needed is None:  # the first row
            mapped = {column_of(row, path) for path in self._options.columns.values()}
            self._needed = mapped or needed_nulls(row, self._formats)
        return located._replace(row=without_nulls(row, self._needed))

    def _readable(self, rows: Iterator[LocatedRow]) -> Generator[tuple[LocatedRow, Row, Row]]:
        """Yields (located row, row as it is in the file, row under the names of the format)."""
        for located in rows:
            try:
                if isinstance(located.row, RowError):
                    raise located.row
                raw = with_context_beside(located.row, self._options.columns)
                row = self._renamed(raw, located.where)
                raw = {} if self._is_forest else raw
                row = decode_containers(row, located.where, self.counts)
                beside = context_in_prompts(row)
                yield located, raw | beside, row | beside
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

    def _values_of(self, key: str) -> str:
        """The values of a label in the whole file, with their numbers of rows."""
        values: Counter[str] = Counter()
        for row in self._mapped_rows():
            value = row.get(key)
            values[label_text(value)[:40] if not isinstance(value, list | dict) else "a list"] += 1
        shown = [f"{value} ({count:,})" for value, count in values.most_common(MAX_LABELS)]
        return ", ".join(shown + (["..."] if len(values) > MAX_LABELS else []))

    def _mapped_rows(self) -> Iterator[Row]:
        """The rows of the file, read once more, under the names of the format; without unreadable ones."""
        for located in file_rows(self._path, self._name):
            if not isinstance(located.row, RowError):
                with suppress(RowError):
                    yield self._renamed(located.row, "")

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
        part, column = unread_part(raw, unread, parsed)
        found = f"{part:.0%} of the text in columns that are not read, most of it in {column[:80]!r}"
        return not part or self.report(located, "unread_column", found)

    def _report_lost(self, located: LocatedRow, row: Row, parsed: ParsedRow) -> bool:
        """Counts a column of the prompt that is not in the record; returns whether the row is kept."""
        read = {*self._binding.names.values(), *self.format.keys, *(PROMPTS if self._options.format else ())}
        found = lost_context(row, read, parsed, self._templates)
        return not found or self.report(located, "unsupported_column", found, do=LOST_ADVICE)

    def report_all(self, located: LocatedRow, parsed: ParsedRow, issue: tuple[str, str] | None) -> bool:
        """Counts a row's issues, that of its kind first, until one drops it; returns whether it is kept."""
        issues = chain([issue] if issue else [], suspicious_texts(parsed))
        return all(self.report(located, code, found) for code, found in issues)

    def report_flag(self, located: LocatedRow, row: Row) -> bool:
        """Counts a flag that is no yes, of a row with one answer; returns whether the row is kept."""
        assert not isinstance(located.row, RowError)
        mapped = self._options.columns.values()
        unmapped = {key: value for key, value in located.row.items() if key not in mapped}
        issue = flag_issue(unmapped | row, located.where)
        return not issue or self.report(
            located, issue.code, issue.found, expected=issue.expected, do=issue.do
        )

    def report(self, located: LocatedRow, code: str, found: str, **advice: str) -> bool:
        """Counts an issue; returns whether its row is kept."""
        is_kept = self.issues.report(code, where=located.where, found=found, **advice)
        self.counts[f"{'kept' if is_kept else 'dropped'}_{code}"] += 1
        return is_kept

    def cut_sample(self, sample: str) -> str:
        """A sample of a model without the turns that the model invented."""
        text, was_cut = cut_invented_turn(sample)
        self.counts["cut_runaway"] += was_cut
        return text

    def record(self, located: LocatedRow, row: Row, query: str, **fields: Any) -> Iterator[Row]:
        """The record, with the id of the row or one made from the query; nothing if the id is invalid."""
        try:
            query_id = id_in(row, query, located.where)
            fields |= {"type": type_in(row, located.where)} if "type" in fields else {}
        except RowError as error:
            self._report_error(error)
            return
        self.counts["kept"] += 1
        yield {"query_id": query_id, "query": query, **fields}
