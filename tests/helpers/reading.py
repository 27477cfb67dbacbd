"""Reads rows as the stage `data` does, with the actions of params.yaml but for the ones given."""

import gzip
import json
import lzma
from collections import Counter
from itertools import pairwise
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
HOW = "\n\nHuman: How?\n\nAssistant:"
TALK = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Why?\n\nAssistant:"
PAIR = {"chosen": "good", "rejected": "bad"}


class Read(NamedTuple):
    """What a file gave."""

    records: list[dict[str, Any]]
    counts: dict[str, int]
    issues: dict[str, int]
    examples: list[dict[str, Any]]
    columns: dict[str, str]

    @property
    def ranked(self) -> list[tuple[str, str]]:
        """Each comparison as its query and its responses from best to worst, `good > bad`."""
        return [(row["query"], ordered(row)) for row in self.records]


def message(role: str, content: str) -> dict[str, str]:
    """A message as transformers writes it."""
    return {"role": role, "content": content}


# argilla/distilabel-intel-orca-dpo-pairs
ORCA: dict[str, Any] = {
    "system": "Be brief.",
    "input": "Why?",
    **PAIR,
    "generations": ["good", "bad"],
    "order": ["chosen", "rejected"],
    "labelling_prompt": [message("system", "s"), message("user", "u")],
    "rating": [9.0, 7.0],
    "status": "unchanged",
    "chosen_score": 9.0,
    "in_gsm8k_train": False,
}


def sharegpt(role: str, content: str) -> dict[str, str]:
    """A message as ShareGPT writes it."""
    return {"from": role, "value": content}


def asked(answer: str) -> list[dict[str, str]]:
    """One question and its answer as messages."""
    return [message("user", "Why?"), message("assistant", answer)]


def talk(answer: str) -> list[dict[str, str]]:
    """Two questions with their answers as messages: the query TALK, and the answer."""
    return [message("user", "Hi"), message("assistant", "Hello"), *asked(answer)]


def user(content: str) -> dict[str, str]:
    """A message of the user."""
    return message("user", content)


def answer(content: str) -> dict[str, str]:
    """A message of the assistant."""
    return message("assistant", content)


# The comparison good > bad in the formats of this project, of the authors and of most public sets.
FORMATS = {
    "own": {"query": WHY, "responses": ["good", "bad"], "scores": [1.0, 0.0]},
    "joined": {"text": [f"{WHY}<sep>good", f"{WHY}<sep>bad"], "scores": [1.0, 0.0]},
    "joined score": {"text": [f"{WHY}<sep>good", f"{WHY}<sep>bad"], "score": [1, 0]},
    "whole": {"text": [f"{WHY} good", f"{WHY} bad"], "score": [1.0, 0.0]},
    "whole scores": {"text": [f"{WHY} good", f"{WHY} bad"], "scores": [1.0, 0.0]},
    "prompt": {"id": 7, "prompt": WHY, "chosen": "good", "rejected": "bad"},
    "plain prompt": {"prompt": "Why?", "chosen": "good", "rejected": "bad"},
    "prompt and space": {"prompt": WHY + " ", "chosen": " good\n", "rejected": " bad"},
    "dialogues": {"chosen": f"{WHY} good", "rejected": f"{WHY} bad"},
    "messages": {"chosen": [user("Why?"), answer("good")], "rejected": [user("Why?"), answer("bad")]},
    "prompt messages": {"prompt": [user("Why?")], "chosen": [answer("good")], "rejected": [answer("bad")]},
    "prompt text and messages": {
        "prompt": "Why?",
        "chosen": [user("Why?"), answer("good")],
        "rejected": [user("Why?"), answer("bad")],
    },
}
GOOD = FORMATS["own"]
JOINED = FORMATS["joined"]


def ordered(row: dict[str, Any]) -> str:
    """The responses of a comparison from best to worst, `good > fair = other`."""
    ranked = sorted(zip(row["scores"], row["responses"], strict=True), key=lambda one: -one[0])
    text: str = ranked[0][1]
    for (score, _), (lower, response) in pairwise(ranked):
        text += f" {'=' if score == lower else '>'} {response}"
    return text


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Rows in the file type that the name says: JSON Lines, but for `.json` and `.parquet`."""
    if path.suffix == ".parquet":
        from pyarrow import Table, parquet

        columns = list(dict.fromkeys(key for row in rows for key in row))
        parquet.write_table(Table.from_pydict({c: [row.get(c) for row in rows] for c in columns}), path)
        return path
    pack = {".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, bytes)
    if ".json" in path.suffixes:
        text = json.dumps(rows, indent=1)
    else:
        text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(pack(text.encode()))
    return path


def data_issues(**actions: str) -> DataIssues:
    """No issue yet; the actions of params.yaml but for the ones given."""
    return DataIssues(ROW_ISSUES, {**ACTIONS, **actions})


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
    issues = data_issues(**(actions or {}))
    given = ReadOptions(**options)
    records = list(reader(path, counts, issues, given))
    return Read(records, dict(+counts), dict(+issues.counts), issues.examples, given.uses)


def read_by(
    reader: Any, path: Path, **actions: str
) -> tuple[list[dict[str, Any]], dict[str, int], list[dict[str, Any]]]:
    """The records of a file, its counts and the examples of its data issues."""
    result = read(path, reader=reader, actions=actions)
    return result.records, result.counts, result.examples


def check_set(path: Path, row: dict[str, Any], query: str, ranked: str) -> None:
    """Two equal rows of a public set in a file give the query and the order of the answers twice."""
    result = read(path, [row] * 2)
    assert result.ranked == [(query, ranked)] * 2
    assert (result.counts["rows"], result.counts["kept"]) == (2, 2)
