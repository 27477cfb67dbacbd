"""Reads rows as the stage `data` does, with the actions of params.yaml but for the ones given."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from apo.core.config import read_section
from apo.core.data_issues import DataIssues
from apo.datasets.file_reader import ReadOptions
from apo.datasets.issues import ROW_ISSUES
from apo.datasets.readers import read_comparisons

PARAMS = Path(__file__).parents[2] / "params.yaml"
ACTIONS = read_section(PARAMS, ROW_ISSUES.section, ROW_ISSUES.settings).actions()
WHY = "\n\nHuman: Why?\n\nAssistant:"
PAIR = {"chosen": "good", "rejected": "bad"}


class Read(NamedTuple):
    """What a file gave."""

    records: list[dict[str, Any]]
    counts: dict[str, int]
    issues: dict[str, int]
    examples: list[dict[str, Any]]
    columns: dict[str, str]

    @property
    def said(self) -> list[tuple[str, str]]:
        """Each comparison as its query and its responses from best to worst, `good > bad`."""
        return [(row["query"], ordered(row)) for row in self.records]


def ordered(row: dict[str, Any]) -> str:
    """The responses of a comparison from best to worst."""
    ranked = sorted(zip(row["scores"], row["responses"], strict=True), key=lambda one: -one[0])
    return " > ".join(response for _, response in ranked)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Rows as JSON Lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def read(
    path: Path,
    rows: list[dict[str, Any]] | None = None,
    reader: Any = read_comparisons,
    actions: dict[str, Any] | None = None,
    **options: Any,
) -> Read:
    """The records of a file, which holds the rows if they are given."""
    if path.is_dir():
        path = path / "x.jsonl"
    if rows is not None:
        write(path, rows)
    counts: Counter[str] = Counter()
    issues = DataIssues(ROW_ISSUES, ACTIONS | (actions or {}))
    given = ReadOptions(**options)
    records = list(reader(path, counts, issues, given))
    return Read(records, dict(+counts), dict(+issues.counts), issues.examples, given.uses)
