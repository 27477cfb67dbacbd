"""A small file of comparisons, and reports on files."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from apo.inspection.report import Report, inspect

ROOT = Path(__file__).parents[2]
PARAMS = ROOT / "params.yaml"
Q = "\n\nHuman: Why not?\n\nAssistant:"
TWO_TURNS = "\n\nHuman: Hi\n\nAssistant: Ho\n\nHuman: Why, then?\n\nAssistant:"

ROWS: list[dict[str, Any]] = [
    {"query": Q, "responses": ["one two", "one"], "scores": [0.5, -2.0], "type": "helpful"},
    {"query": TWO_TURNS, "responses": ["a b c d", "", "e"], "scores": [1.0, 0.0, 0.5], "type": "harmless"},
    {"query": TWO_TURNS, "responses": ["a b c", "d", "e"], "scores": [1.0, 0.0, 0.0], "type": "harmless"},
    {
        "query": Q.replace("W", "w"),
        "responses": ["one", "two", "</s>"],
        "scores": [3.0, 0.0, 0.0],
        "type": "helpful",
    },
]

KINDS = {
    "comparison": {"prompt": "Why?", "chosen": "a", "rejected": "b"},
    "golden": {"query_id": "1", "query": Q, "golden": "a"},
    "samples": {"query_id": "1", "query": Q, "sample_0": "a", "sample_1": "b"},
    "demonstration": {"prompt": "Why?", "completion": "a"},
}


def report_of(path: Path, **options: Any) -> Report:
    return inspect(path, **({"tokens_of": 0, "params": PARAMS} | options))


def codes(report: Report) -> dict[str, tuple[str, int]]:
    return {one.code: (one.action, one.count) for one in report.issues}


def as_document(report: Report) -> dict[str, Any]:
    return asdict(report)
