"""Reports the contents of a preference data file, read as the pipeline reads it. Nothing is written.

    python -m apo.inspection pairs.jsonl
    python -m apo.inspection pairs.jsonl --tokenizer models/backbone --json
    python -m apo.inspection answers.csv --columns prompt=question chosen=good rejected=bad
    python -m apo.inspection votes.csv --labels 1=1 2=2 0=tie

The report has the format, the role of each column, the rows that are kept, the issues with examples and their
actions in params.yaml, kinds, turns, lengths, scores, repeated queries, and three records as a model learns
them. The exit code is 0 if the file can be used as it is. It is 1 if the file can't be read, could be of
several kinds, has no row that is kept, or has an issue whose action is `error`.
"""

import argparse
import json
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from apo.core.config import read_section
from apo.core.errors import RowError, UserError
from apo.core.records import Row
from apo.datasets.containers import decode_containers
from apo.datasets.file_reader import ReadOptions
from apo.datasets.format_table import DEMONSTRATIONS
from apo.datasets.issues import ROW_ISSUES
from apo.datasets.nulls import needed_nulls, without_nulls
from apo.datasets.readers import read_comparisons, read_demonstrations, read_golden, read_samples
from apo.datasets.recognize import Format, matching, recognize
from apo.datasets.renaming import Renaming
from apo.datasets.rows import file_rows
from apo.datasets.settings import Data
from apo.datasets.trees import is_tree
from apo.inspection.contents import Contents, Issue, list_issues, tolerant_issues
from apo.inspection.view import shown

MAX_RECORDS = 3  # in a report
READERS: dict[str, Callable[..., Iterator[Row]]] = {
    "comparison": read_comparisons,
    "golden": read_golden,
    "samples": read_samples,
    "demonstration": read_demonstrations,
}


@dataclass
class Report:
    """The report on a file.

    Attributes:
        candidates: Kinds and formats that its first row could have, as `kind: keys`.
        kind: The kind that it was read as, "" if unknown.
        rows: The number of rows read.
        kept: The number of records.
        changed: The number of changes and notes while reading, by name.
        issues: Issues in rows, in tokens, and the error that kept the file from being read.
        columns: The role of each column.
        records: Three records as a model learns them, see `apo.inspection.contents.training_view`.
        contents: See `apo.inspection.contents`.
        tokens: See `apo.inspection.tokens`, {} without a tokenizer.
        usable: Whether the pipeline would take the file as it is.
    """

    file: str
    candidates: list[str] = field(default_factory=list)
    kind: str = ""
    rows: int = 0
    kept: int = 0
    changed: dict[str, int] = field(default_factory=dict)
    issues: list[Issue] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    records: list[Row] = field(default_factory=list)
    contents: Row = field(default_factory=dict)
    tokens: Row = field(default_factory=dict)
    usable: bool = False


# How files are read ---------------------------------------------------------------------------------


def formats_of(path: Path) -> list[Format]:
    """Every format that the first readable row of a file could have.

    Raises:
        UserError: The file can't be read, or no format fits.
    """
    with closing(file_rows(path, str(path))) as rows:
        readable = ((one.row, one.where) for one in rows if not isinstance(one.row, RowError))
        row, where = next(readable, ({}, ""))
    if not where:
        return []
    if path.suffix == ".parquet":
        row = without_nulls(row, needed_nulls(row, DEMONSTRATIONS))
    row = decode_containers(Renaming({}, DEMONSTRATIONS)(row, where), where, Counter())
    if is_tree(row):
        row = {"prompt": [], "answers": []}  # the keys of the rows that a tree becomes
    return matching(row, DEMONSTRATIONS) or [recognize(row, DEMONSTRATIONS, where)]


def records_of(
    path: Path, kind: str, counts: Counter[str], params: Path, options: ReadOptions
) -> tuple[Iterator[Row], Callable[[], list[Issue]]]:
    """Records as stage data reads them, and a function that lists the issues after the last one."""
    actions = read_section(params, "data", Data).on_issue.actions()
    issues = tolerant_issues(ROW_ISSUES, actions)
    return READERS[kind](path, counts, issues, options), lambda: list_issues(issues, actions)


# The report -----------------------------------------------------------------------------------------


def inspect(
    path: Path,
    *,
    kind: str = "",
    options: ReadOptions | None = None,
    tokenizer: Path | None = None,
    tokens_of: int,
    params: Path,
) -> Report:
    """Reads a file and reports its contents.

    Args:
        path: A file in one of the formats of `apo.datasets.format_table`.
        kind: The kind to read it as, "" to recognize it.
        options: Its columns, format and labels, as in params.yaml; None to recognize them by the keys.
        tokenizer: A folder with a tokenizer, to check tokens with sections `model` and `rm` of params.yaml.
        tokens_of: The number of random rows whose tokens are checked; 0 for all.

    Raises:
        UserError: The tokenizer or params.yaml is wrong. An error of the file is in the report.
    """
    report = Report(str(path))
    contents, counts = Contents(rows_kept=tokens_of), Counter[str]()
    try:
        formats = [] if options else formats_of(path)
        report.candidates = [f"{format.kind}: {format.described}" for format in formats]
        kinds = sorted({format.kind for format in formats})
        if not kind and len(formats) > 1:
            raise UserError(
                str(path),
                found=f"a first row that could be {' or '.join(report.candidates)}",
                expected="one of them",
                do=f"say which with --as {' or --as '.join(kinds)}, or remove keys",
            )
        report.kind = kind or (kinds or ["comparison"])[0]
        options = options or ReadOptions()
        records, issues = records_of(path, report.kind, counts, params, options)
        try:
            for record in records:
                contents.add(record, where=f"{path}: row {counts['rows']}")
        finally:
            report.issues += issues()
            report.columns = dict(options.uses)
    except UserError as error:
        report.issues.append(Issue("unreadable", "error", 1, [{"where": "", "found": str(error)}]))
    report.rows, report.kept = counts["rows"], contents.records
    reported = {f"{outcome}_{issue.code}" for issue in report.issues for outcome in ("dropped", "kept")}
    reported |= {"rows", "kept"}
    report.changed = {name: count for name, count in sorted((+counts).items()) if name not in reported}
    if report.kept:
        report.contents, report.records = contents.summary(), contents.shown(MAX_RECORDS)
        if tokenizer:
            from apo.inspection.tokens import token_report

            report.tokens, token_issues = token_report(contents.drawn, folder=tokenizer, params=params)
            report.issues += token_issues
    report.usable = report.kept > 0 and not any(issue.action == "error" for issue in report.issues)
    return report


def _columns(text: str) -> list[tuple[str, str]]:
    return [_pair(word, *word.partition("=")) for word in _words(text)]


def _labels(text: str) -> list[tuple[str, str]]:
    return [_pair(word, *word.rpartition("=")) for word in _words(text)]


def _words(text: str) -> list[str]:
    """One pair, or several in one text with quotes as in a shell, as `make inspect` has them."""
    return [text] if text.count("=") == 1 and text[0] not in "\"'" else shlex.split(text)


def _pair(word: str, key: str, mark: str, value: str) -> tuple[str, str]:
    if not (key and mark and value):
        raise argparse.ArgumentTypeError(f"{word!r} is not KEY=VALUE; put quotes around one with blanks")
    return key, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m apo.inspection",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    pairs: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
    parser.add_argument("file", type=Path, help="any file that data.files could name")
    parser.add_argument("--as", dest="kind", choices=sorted(READERS), default="", help="what to read it as")
    parser.add_argument("--format", default="", help="of comparisons, as data.format names it")
    help_ = "as data.files.columns maps them: prompt=question chosen=answers.0"
    parser.add_argument("--columns", metavar="KEY=COLUMN", type=_columns, help=help_, **pairs)
    help_ = "of comparisons, as data.files.labels maps them: 1=1 2=2 0=tie, or --labels='-1=1 1=2'"
    parser.add_argument("--labels", metavar="VALUE=MEANING", type=_labels, help=help_, **pairs)
    parser.add_argument("--tokenizer", type=Path, help="folder with a tokenizer, to look at tokens too")
    help_ = "rows drawn to look at their tokens, 0 for all"
    parser.add_argument("--tokens-of", type=int, default=10_000, help=help_)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="where the actions are set")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = _parser()
    args = parser.parse_args(arguments)
    options = None
    if args.columns or args.format or args.labels:
        columns, labels = (dict(chain(*pairs)) for pairs in (args.columns, args.labels))
        options = ReadOptions(columns, args.format, labels=labels)
    if (args.format or args.labels) and args.kind not in ("", "comparison"):
        parser.error(f"--format and --labels are for comparisons, not for --as {args.kind}")
    try:
        report = inspect(
            args.file,
            kind=args.kind,
            options=options,
            tokenizer=args.tokenizer,
            tokens_of=max(args.tokens_of, 0),
            params=args.params,
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    document: dict[str, Any] = asdict(report)
    print(json.dumps(document, indent=2) if args.json else shown(document, is_terminal=sys.stdout.isatty()))
    return 0 if report.usable else 1
