"""Readers for files of other people: rows become this pipeline's records, and what is wrong is an issue.

Every reader is a stream that takes a path, a counter, the issues with their actions and, where it is not
plain from the file, its options. The counter gets `rows` (read), `kept` (given), and `dropped_CODE` or
`kept_CODE` for every issue.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from apo.core.errors import RowError
from apo.core.records import Row
from apo.datasets.fields import text_in, with_conversations
from apo.datasets.formats import ParsedRow, shown, with_columns
from apo.datasets.recognize import COMPARISONS, DEMONSTRATIONS, GOLDEN, SAMPLES, Format, recognize
from apo.datasets.rows import LocatedRow, file_rows
from apo.text.data_issues import DataIssues
from apo.text.dialogue import cut_runaway, digest_of, normalise_query, query_id_of, turn_out_of_order

MAX_TEXT_CHARACTERS = 1_000_000  # characters of one query or response
# Marks of other people's chat templates, that make a conversation look like one plain prompt.
_TEMPLATE = re.compile(r"<\|im_start\|>|<\|start_header_id\|>|<extra_id_1>|\[/INST\]|<start_of_turn>")


@dataclass(frozen=True)
class ReadOptions:
    """What the user says about a file.

    Args:
        columns: Our keys by the columns of the file, {} where they are the same.
        format: The name of its format, "" where it is recognized.
        name: What the file is called in messages, "" for its path.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    format: str = ""
    name: str = ""


class _FileReader:
    """One pass over a file whose rows have one format: counts, and issues."""

    def __init__(
        self,
        path: Path,
        formats: Sequence[Format],
        counts: Counter[str],
        issues: DataIssues,
        options: ReadOptions,
    ) -> None:
        self.path, self.counts, self.issues = path, counts, issues
        self._options = options
        rows = self._readable(file_rows(path, options.name or str(path)))
        located, first = next(rows, (None, {}))
        if located is None:  # all rows were left out
            self._rows: Iterator[tuple[LocatedRow, Row]] = iter(())
            return
        self._named = options.format
        self.format = recognize(first, formats, located.where, name=options.format)
        self._parse, self._needs = self.format.binds(first, located.where)
        self._keys = first.keys()
        self._rows = chain([(located, first)], rows)

    def rows(self) -> Iterator[tuple[LocatedRow, Row, ParsedRow]]:
        """Every row with what it says, responses stripped of outer white space."""
        for located, row in self._rows:
            try:
                self._check_keys(row, located.where)
                found = self._parse(row, located.where, self.counts)
            except RowError as error:
                self._refuse(error)
                continue
            responses = [response.strip() for response in found.responses]
            self.counts["stripped_responses"] += sum(map(str.__ne__, responses, found.responses))
            yield located, row, found._replace(responses=responses)

    def _readable(self, rows: Iterator[LocatedRow]) -> Iterator[tuple[LocatedRow, Row]]:
        for located in rows:
            self.counts["rows"] += 1
            try:
                if isinstance(located.row, RowError):
                    raise located.row
                columns, where = self._options.columns, located.where
                row = with_columns(located.row, columns, where) if columns else located.row
                yield located, with_conversations(row, where, self.counts)
            except RowError as error:
                self._refuse(error)

    def _check_keys(self, row: Row, where: str) -> None:
        if row.keys() == self._keys:
            return
        if self.format.kind == "golden" and "golden" not in row and "query" in row:
            raise RowError("missing_golden", where, found=f"keys {shown(row)}", expected="a golden answer")
        if not self.format.has_keys_of(row, is_named=bool(self._named)) or not self._needs <= row.keys():
            raise RowError(
                "other_keys",
                where,
                found=f"keys {shown(row)}",
                expected=f"{self.format.described}, as in the first row",
                do="fix the row, or put rows of another format into a file of their own",
            )

    def _refuse(self, error: RowError) -> None:
        """A row that can't be used: left out, or the end."""
        details = {"found": error.found, "expected": error.expected, "do": error.do}
        self.issues.keeps(error.code, where=error.where, **details)
        self.counts[f"dropped_{error.code}"] += 1

    def stays(self, located: LocatedRow, found: ParsedRow, reason: tuple[str, str] | None) -> bool:
        """Whether a row stays: all that is found about it, the reason of its reader first, is kept."""
        return (reason is None or self.keeps(located, *reason)) and all(
            self.keeps(located, code, what) for code, what in _oddities(found)
        )

    def keeps(self, located: LocatedRow, code: str, found: str) -> bool:
        """Counts an issue; whether its row stays."""
        keeps = self.issues.keeps(code, where=located.where, found=found)
        self.counts[f"{'kept' if keeps else 'dropped'}_{code}"] += 1
        return keeps

    def cut(self, response: str) -> str:
        """A response without invented turns."""
        text, was_cut = cut_runaway(response)
        self.counts["cut_runaway"] += was_cut
        return text

    def kept(self, located: LocatedRow, row: Row, query: str, **fields: Any) -> Iterator[Row]:
        """The record, its id taken from the row or made from the query; none where the id is no id."""
        try:
            query_id = _query_id(row, query, located.where)
            if "type" in fields:
                fields["type"] = text_in(row.get("type", ""), "type", located.where)
        except RowError as error:
            self._refuse(error)
            return
        self.counts["kept"] += 1
        yield {"query_id": query_id, "query": query, **fields}


def _oddities(found: ParsedRow) -> Iterator[tuple[str, str]]:
    """What is suspicious about the texts of a row, whatever its kind."""
    texts = [*dict.fromkeys(found.queries), *found.responses, *found.extra.values()]
    longest = max(map(len, texts))
    if longest > MAX_TEXT_CHARACTERS:
        yield "too_long", f"a text of {longest} characters, more than {MAX_TEXT_CHARACTERS}"
    if any("\ufffd" in text for text in texts):
        yield "replacement_character", "U+FFFD, which stands where bytes could not be decoded"
    for query in dict.fromkeys(found.queries):
        if number := turn_out_of_order(query):
            yield "turn_order", f"turns that do not alternate, from turn {number} on"
            break
        if _TEMPLATE.search(query):
            yield "chat_template", f"marks of a chat template in a query ({query[:60]!r})"
            break


def _query_id(row: Row, query: str, where: str) -> str:
    if "query_id" not in row:
        return query_id_of(query)
    value = row["query_id"]
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise RowError(
            "bad_id",
            where,
            found=f"query_id {value!r:.40}"
            if isinstance(value, str | int | float | None)
            else f"query_id {str(value)[:40]}",
            expected="a text that is not blank, or a whole number",
            do="give the query an id, or leave the key out and one is made from the query",
        )
    return text_in(str(value), "query_id", where)


def read_comparisons(
    path: Path, counts: Counter[str], issues: DataIssues, options: ReadOptions | None = None
) -> Iterator[Row]:
    """Comparisons: {query_id, query, responses, scores, type}; scores stay as they are."""
    source = _FileReader(path, COMPARISONS, counts, issues, options or ReadOptions())
    for located, row, found in source.rows():
        if source.stays(located, found, _why_no_comparison(found)):
            yield from source.kept(
                located, row, found.queries[0], responses=found.responses, scores=found.scores, type=""
            )


def _why_no_comparison(found: ParsedRow) -> tuple[str, str] | None:
    """The code of what keeps a row from being a comparison, and what it has."""
    responses, scores = found.responses, found.scores
    if len(set(found.queries)) > 1:
        return "two_queries", f"{len(set(found.queries))} different queries in one comparison"
    if not all(responses):
        return "empty_response", f"response {responses.index('') + 1} of {len(responses)} empty"
    if len(responses) == 1:
        return "single_response", f"one response only ({responses[0][:60]!r})"
    if len(set(responses)) == 1:
        return "identical_responses", f"{len(responses)} times the response {responses[0][:60]!r}"
    if len(set(scores)) == 1:
        return "no_preference", f"the score {scores[0]} for each response"
    if len(set(responses)) < len(responses):
        return "duplicate_responses", f"{len(responses)} responses, {len(set(responses))} of them different"
    return None


def _why_empty(response: str) -> tuple[str, str] | None:
    return None if response else ("empty_response", "an empty answer")


def read_golden(
    path: Path, counts: Counter[str], issues: DataIssues, options: ReadOptions | None = None
) -> Iterator[Row]:
    """Golden answers: {query_id, query, golden, type}."""
    source = _FileReader(path, GOLDEN, counts, issues, options or ReadOptions())
    for located, row, found in source.rows():
        if source.stays(located, found, _why_empty(found.responses[0])):
            yield from source.kept(located, row, found.queries[0], golden=found.responses[0], type="")


def read_samples(
    path: Path, counts: Counter[str], issues: DataIssues, options: ReadOptions | None = None
) -> Iterator[Row]:
    """Samples: {query_id, query, samples, extra}, cut at invented turns; blank ones stay in their place.

    `extra` holds answers of others beside the samples, by name. A row with another number of samples than
    the first one is an issue.
    """
    source = _FileReader(path, SAMPLES, counts, issues, options or ReadOptions())
    wanted = 0
    for located, row, found in source.rows():
        samples = [source.cut(sample) for sample in found.responses]
        extra = {name: source.cut(answer.strip()) for name, answer in found.extra.items()}
        wanted = wanted or len(samples)
        count = f"{len(samples)} samples, {wanted} in the first row"
        if source.stays(located, found, ("sample_count", count) if len(samples) != wanted else None):
            counts["blank_samples"] += samples.count("")
            yield from source.kept(located, row, found.queries[0], samples=samples, extra=extra)


def read_demonstrations(
    path: Path, counts: Counter[str], issues: DataIssues, options: ReadOptions | None = None
) -> Iterator[Row]:
    """Answers to learn from: {query_id, query, response}, cut at invented turns.

    Of a comparison the best-scored response (the first of equals), of samples each one.
    """
    source = _FileReader(path, DEMONSTRATIONS, counts, issues, options or ReadOptions())
    for located, row, found in source.rows():
        why = _why_no_comparison(found) if source.format.kind == "comparison" else None
        if not source.stays(located, found, why):
            continue
        responses = [best_response(found.responses, found.scores)] if found.scores else found.responses
        for response in map(source.cut, responses):
            if response or source.keeps(located, "empty_response", "an empty answer"):
                yield from source.kept(located, row, found.queries[0], response=response)


def best_response(responses: Sequence[str], scores: Sequence[float]) -> str:
    """The response with the highest score, the first of equals."""
    return responses[scores.index(max(scores))]


# Ids -----------------------------------------------------------------------------------------------


class QueryIds:
    """One id for one query, whatever file it comes from; memory is two short digests a query.

    Attributes:
        rewritten: How many ids were replaced by the one under which the query was seen first.
    """

    def __init__(self) -> None:
        self.rewritten = 0
        self._id_of: dict[bytes, str] = {}
        self._query_of: dict[str, bytes] = {}

    def canonical(self, query_id: str, query: str, where: str) -> str:
        """The id under which the same normalised query was seen first.

        Raises:
            RowError: The id was given to another query before.
        """
        digest = digest_of(normalise_query(query))
        if self._query_of.setdefault(query_id, digest) != digest:
            raise RowError(
                "id_of_two_queries",
                where,
                found=f"query_id {query_id[:60]!r} for the query {query[-80:]!r}",
                expected="one query for each id; an earlier row gives the id to another query",
                do="make the ids unique over all files, or remove the key and they are made from the queries",
            )
        first = self._id_of.setdefault(digest, query_id)
        self.rewritten += first != query_id
        return first
