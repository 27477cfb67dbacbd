"""The files that params.yaml names: all kinds of records, with one id for each query."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apo.core.data_issues import DataIssues
from apo.core.dialogue import digest_of
from apo.core.errors import RowError, UserError
from apo.core.records import Row
from apo.datasets.file_reader import ReadOptions
from apo.datasets.load import LoadedRecords
from apo.datasets.query_ids import QueryIds
from apo.datasets.readers import (
    best_response,
    read_comparisons,
    read_demonstrations,
    read_golden,
    read_samples,
)
from apo.datasets.settings import Files, option_of
from apo.datasets.watched_folder import check_name

Reader = Callable[[Path, Counter[str], DataIssues, ReadOptions], Iterator[Row]]


def read_files(
    files: Files,
    folder: Path,
    issues: DataIssues,
    *,
    format: str = "",
    display_names: Mapping[str, str] | None = None,
) -> LoadedRecords:
    """Files in the formats of `apo.datasets.format_table`, named relative to their folder.

    Args:
        format: The name of the format of the comparisons, "" to recognize it.
        display_names: The name of a file in messages, if not its path.

    Raises:
        UserError: There are no comparisons, or a file is missing, can't be used, or has no usable row.
    """
    if not (files.comparisons or (files.rm and files.llm)):
        raise UserError(
            "params.yaml: data.files",
            found="no comparisons to train on",
            expected="file names under `comparisons`, or under both `rm` and `llm`",
            do=f"put the files into {folder} and name them there",
        )
    _check_options(files)
    for kind, names in files.names().items():
        for name in names:
            check_name(name, folder, twice=names.count(name) > 1, where=f"params.yaml: data.files.{kind}")
    records = LoadedRecords(iter(()))
    records.rows = _FileRows(files, folder, issues, records, format, display_names or {}).all()
    return records


@dataclass
class _FileRows:
    """The rows of all files; one query has one id in all of them."""

    files: Files
    folder: Path
    issues: DataIssues
    records: LoadedRecords
    format: str
    display_names: Mapping[str, str]
    ids: QueryIds = field(default_factory=QueryIds)

    def all(self) -> Iterator[tuple[str, Row]]:
        files = self.files
        parts = {"": files.comparisons, "rm": files.rm, "llm": files.llm, "test": files.test}
        query_ids: set[str] = set()
        for part, names in parts.items():
            for row in self._rows(read_comparisons, names, part or "comparisons"):
                yield "comparisons", row | {"split": part}
                query_ids.add(row["query_id"])
                if part != "test":
                    best = best_response(row["responses"], row["scores"])
                    if best:
                        yield "documents", {"text": f"{row['query']} {best}"}
        yield from self._golden(query_ids)
        yield from (("samples", row) for row in self._rows(read_samples, files.samples, "samples"))
        for row in self._rows(read_demonstrations, files.demonstrations, "demonstrations"):
            yield "demonstrations", row
            yield "documents", {"text": f"{row['query']} {row['response']}"}

    def _golden(self, query_ids: set[str]) -> Iterator[tuple[str, Row]]:
        """Golden answers, one per query; a second one, the same or another, is an issue."""
        seen: dict[str, bytes] = {}
        counts = self.records.counts.setdefault("golden", Counter())
        for row in self._rows(read_golden, self.files.golden, "golden"):
            query_id, answer = row["query_id"], row["golden"]
            digest = digest_of(answer)
            if query_id not in seen:
                seen[query_id] = digest
                yield "golden", row
                continue
            code = "golden_repeated" if seen[query_id] == digest else "two_golden"
            self.issues.report(
                code,
                where=f"golden answers of query {query_id[:60]!r}",
                found="two that differ" if code == "two_golden" else f"{answer[:60]!r} twice",
                expected="one golden answer a query",
                do="remove one of them",
            )
            counts[f"dropped_{code}"] += 1
        if self.files.golden:
            counts["queries_without"] = len(query_ids - seen.keys())

    def _rows(self, reader: Reader, names: list[str], part: str) -> Iterator[Row]:
        for name in names:
            path = self.folder / name
            counts = self.records.counts.setdefault(f"{part}/{name}", Counter())
            options = self._options(reader, name)
            shown_name = options.name or str(path)
            for row in reader(path, counts, self.issues, options):
                where = f"{shown_name}: row {counts['rows']}"
                try:
                    query_id = self.ids.canonical(row["query_id"], row["query"], where)
                except RowError as error:
                    self.issues.report(
                        error.code, where=where, found=error.found, expected=error.expected, do=error.do
                    )
                    counts[f"dropped_{error.code}"] += 1
                    counts["kept"] -= 1
                    continue
                counts["rewritten_ids"] += query_id != row["query_id"]
                if row.get("type") == "":  # comparisons without a kind: that of their file
                    row["type"] = path.name.partition(".")[0]
                row["query_id"] = query_id
                yield row
            self.records.columns[f"{part}/{name}"] = options.uses
            _check_any_kept(shown_name, counts)

    def _options(self, reader: Reader, name: str) -> ReadOptions:
        """The options for a file, by its kind."""
        display_name = self.display_names.get(name, "")
        columns = self.files.columns
        if reader is read_comparisons:
            labels = option_of(self.files.labels, name)
            return ReadOptions(option_of(columns.comparisons, name), self.format, display_name, labels)
        columns_by_reader: dict[Reader, Mapping[str, Any]] = {
            read_golden: columns.golden,
            read_samples: columns.samples,
            read_demonstrations: columns.demonstrations,
        }
        return ReadOptions(option_of(columns_by_reader[reader], name), name=display_name)


def _check_options(files: Files) -> None:
    """Raises UserError if there are options for a file that is not named."""
    names = [name for kind_names in files.names().values() for name in kind_names]
    for key, name in files.by_file():
        if name not in names:
            raise UserError(
                f"params.yaml: data.files.{key}",
                found=f"{name!r:.60}",
                expected=f"the name of a file: {', '.join(names)}",
                do="write the options of each file under its name, or those of all files without a name",
            )


def _check_any_kept(name: str, counts: Counter[str]) -> None:
    """Raises UserError if no row of a file is kept."""
    if counts["kept"]:
        return
    reasons = {key.removeprefix("dropped_"): n for key, n in (+counts).items() if key.startswith("dropped_")}
    shown = ", ".join(f"{code} {count:,}" for code, count in reasons.items())
    raise UserError(
        name,
        found=f"no usable row among {counts['rows']:,} (left out: {shown or 'trees without ranked replies'})",
        expected="at least one record",
        do="look at the rows with `make inspect`; data.on_issue has the actions that leave rows out",
    )
