"""Readers for files of other people: rows become this pipeline's records, and what is left out is counted.

Every reader is a stream that takes a path, a counter and, on request, a list that receives
{"file", "row", "rule"} for each row left out. The counter gets `rows` (read), `kept` (given) and the
names of the rules. `.json` (a list, or one object a line), `.jsonl`, both also as `.gz` and `.xz`, and
`.parquet` are read; `apo.recognise` tells the shape of the rows from the keys of the first one.
"""

import gzip
import hashlib
import json
import lzma
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from io import BufferedIOBase
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from apo.dialogue import cut_runaway, normalise_query, query_id_of
from apo.errors import UserError
from apo.recognise import COMPARISONS, DEMONSTRATIONS, GOLDEN, SAMPLES, Found, Shape, recognise, text_in
from apo.records import Row, decoded, parse_row

Findings = list[dict[str, Any]] | None
_FETCH = "fetch or write the file again"


class Placed(NamedTuple):
    """A row, its number (the line of a .jsonl file) and its place for messages."""

    number: int
    where: str
    row: Row


# Rows of a file ------------------------------------------------------------------------------------


def placed_rows(path: Path) -> Iterator[Placed]:
    """The rows of a file in any of the formats, as they stand.

    Raises:
        UserError: The file is missing, empty, damaged or of another format.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise UserError(str(path), found=what, expected="a data file", do="correct the path")
    kind = path.with_suffix("").suffix if path.suffix in (".gz", ".xz") else path.suffix
    if kind not in (".json", ".jsonl", ".ndjson", ".parquet") or (kind == ".parquet" != path.suffix):
        raise UserError(
            str(path),
            found=f"a file name that ends in {path.suffix!r}",
            expected=".json or .jsonl (also .gz, .xz), or .parquet",
            do="convert or rename the file",
        )
    number = 0
    try:
        for placed in _parquet_rows(path) if kind == ".parquet" else _json_rows(path):
            number = placed.number
            yield placed
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise UserError(
            str(path),
            found=f"data that breaks off or is damaged after row {number} ({str(error)[:80]})",
            expected="a whole file",
            do=_FETCH,
        ) from None
    if number == 0:
        raise UserError(str(path), found="no rows", expected="at least one", do=_FETCH)


def _json_rows(path: Path) -> Iterator[Placed]:
    with _opened(path) as lines:
        is_list = lines.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
        lines.seek(0)
        if is_list:
            yield from _listed_rows(path, decoded(lines.read(), where=str(path)))
            return
        for number, line in enumerate(lines, start=1):
            where = f"{path}:{number}"
            if line.strip():
                yield Placed(number, where, parse_row(decoded(line, where=where), where=where))


def _opened(path: Path) -> BufferedIOBase:
    if path.suffix == ".gz":
        return gzip.open(path)
    if path.suffix == ".xz":
        return lzma.open(path)
    return path.open("rb")


def _listed_rows(path: Path, text: str) -> Iterator[Placed]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(
            str(path), found=f"no JSON ({str(error)[:80]})", expected="one list of objects", do=_FETCH
        ) from None
    for number, row in enumerate(rows, start=1):
        where = f"{path}: row {number}"
        if not isinstance(row, dict):
            raise UserError(
                where,
                found=f"JSON of type {type(row).__name__}",
                expected="an object",
                do="mend or remove the row",
            )
        yield Placed(number, where, row)


def _parquet_rows(path: Path) -> Iterator[Placed]:
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    present = {key: value for key, value in row.items() if value is not None}
                    yield Placed(number, f"{path}: row {number}", present)
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise UserError(
            str(path), found=f"no readable parquet ({str(error)[:80]})", expected="a whole file", do=_FETCH
        ) from None


# Records -------------------------------------------------------------------------------------------


class _Source:
    """One pass over a file whose rows have one shape: counts, and the record of what was left out."""

    def __init__(self, path: Path, shapes: Sequence[Shape], counts: Counter[str], findings: Findings) -> None:
        self.path, self.counts, self.findings = path, counts, findings
        rows = placed_rows(path)
        first = next(rows)
        self.shape = recognise(first.row, shapes, first.where)
        self._parse = self.shape.parse_of(first.row)
        self._rows = chain([first], rows)

    def rows(self) -> Iterator[tuple[Placed, Found]]:
        """Every row with what it says, responses stripped of outer white space."""
        for placed in self._rows:
            if not self.shape.has_keys_of(placed.row):
                raise UserError(
                    placed.where,
                    found=f"keys {sorted(placed.row)}",
                    expected=f"{self.shape.name}, as in the first row",
                    do="mend the row, or put rows of another shape into a file of their own",
                )
            self.counts["rows"] += 1
            found = self._parse(placed.row, placed.where, self.counts)
            responses = [response.strip() for response in found.responses]
            self.counts["stripped_responses"] += sum(map(str.__ne__, responses, found.responses))
            yield placed, found._replace(responses=responses)

    def drop(self, placed: Placed, rule: str) -> None:
        self.counts[rule] += 1
        if self.findings is not None:
            self.findings.append({"file": str(self.path), "row": placed.number, "rule": rule})

    def cut(self, response: str) -> str:
        """A response without invented turns."""
        text, was_cut = cut_runaway(response)
        self.counts["cut_runaway"] += was_cut
        return text

    def kept(self, placed: Placed, query: str, **fields: Any) -> Row:
        """The record, its id taken from the row or made from the query."""
        self.counts["kept"] += 1
        return {"query_id": _query_id(placed, query), "query": query, **fields}


def _query_id(placed: Placed, query: str) -> str:
    if "query_id" not in placed.row:
        return query_id_of(query)
    value = placed.row["query_id"]
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise UserError(
            placed.where,
            found=f"query_id {value!r:.40}",
            expected="a text that is not blank, or a whole number",
            do="give the query an id, or leave the key out and one is made from the query",
        )
    return text_in(str(value), "query_id", placed.where)


def _type(placed: Placed) -> str:
    return text_in(placed.row.get("type", ""), "type", placed.where)


def read_comparisons(path: Path, counts: Counter[str], findings: Findings = None) -> Iterator[Row]:
    """Comparisons: {query_id, query, responses, scores, type}; scores stay as they are."""
    source = _Source(path, COMPARISONS, counts, findings)
    for placed, found in source.rows():
        rule = _why_no_comparison(found)
        if rule:
            source.drop(placed, rule)
            continue
        source.counts["kept_duplicate_responses"] += len(set(found.responses)) < len(found.responses)
        yield source.kept(
            placed,
            found.queries[0],
            responses=found.responses,
            scores=found.scores,
            type=_type(placed),
        )


def _why_no_comparison(found: Found) -> str | None:
    if len(set(found.queries)) > 1:
        return "dropped_two_queries"
    if not all(found.responses):
        return "dropped_empty_response"
    if len(found.responses) == 1:
        return "dropped_single_response"
    if len(set(found.responses)) == 1:
        return "dropped_identical_responses"
    return "dropped_no_preference" if len(set(found.scores)) == 1 else None


def read_golden(path: Path, counts: Counter[str], findings: Findings = None) -> Iterator[Row]:
    """Golden answers: {query_id, query, golden, type}."""
    source = _Source(path, GOLDEN, counts, findings)
    for placed, found in source.rows():
        if found.responses[0]:
            yield source.kept(placed, found.queries[0], golden=found.responses[0], type=_type(placed))
        else:
            source.drop(placed, "dropped_empty_response")


def read_samples(path: Path, counts: Counter[str], findings: Findings = None) -> Iterator[Row]:
    """Samples: {query_id, query, samples, extra}, cut at invented turns; blank ones stay in their place.

    `extra` holds answers of others beside the samples, by name. At the end `short_sample_rows` counts
    the rows with fewer samples than the longest.
    """
    source = _Source(path, SAMPLES, counts, findings)
    sizes: Counter[int] = Counter()
    for placed, found in source.rows():
        samples = [source.cut(sample) for sample in found.responses]
        extra = {name: source.cut(answer.strip()) for name, answer in found.extra.items()}
        source.counts["blank_samples"] += samples.count("")
        sizes[len(samples)] += 1
        yield source.kept(placed, found.queries[0], samples=samples, extra=extra)
    source.counts["short_sample_rows"] += sizes.total() - sizes[max(sizes)]


def read_demonstrations(path: Path, counts: Counter[str], findings: Findings = None) -> Iterator[Row]:
    """Answers to learn from: {query_id, query, response}, cut at invented turns.

    Of a comparison the best-scored response (the first of equals), of samples each one.
    """
    source = _Source(path, DEMONSTRATIONS, counts, findings)
    for placed, found in source.rows():
        rule = _why_no_comparison(found) if source.shape.kind == "comparison" else None
        if rule:
            source.drop(placed, rule)
            continue
        responses = found.responses
        if found.scores:
            responses = [responses[found.scores.index(max(found.scores))]]
        for response in map(source.cut, responses):
            if response:
                yield source.kept(placed, found.queries[0], response=response)
            else:
                source.drop(placed, "dropped_empty_response")


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
            UserError: The id was given to another query before.
        """
        digest = hashlib.blake2b(normalise_query(query).encode(), digest_size=16).digest()
        if self._query_of.setdefault(query_id, digest) != digest:
            raise UserError(
                where,
                found=f"query_id {query_id!r} for the query {query[-80:]!r}",
                expected="one query for each id; an earlier row gives the id to another query",
                do="make the ids unique over all files, or remove the key and they are made from the queries",
            )
        first = self._id_of.setdefault(digest, query_id)
        self.rewritten += first != query_id
        return first
