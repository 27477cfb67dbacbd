"""Runs stage `split` on made-up comparisons."""

import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from apo.core.dialogue import normalize_query, query_id_of
from apo.core.records import read_rows, write_rows
from stages.split import main

ROOT = Path(__file__).parents[2]
PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
PARTS = ("rm_train", "llm_train", "rm_valid", "test")
OUTS = {*PARTS, "rm_queries", "llm_queries", "test_queries", "demonstrations", "documents"}
RAW = ("comparisons", "golden", "demonstrations", "documents")
Rows = list[dict[str, Any]]


def query(name: object) -> str:
    return f"\n\nHuman: question {name}\n\nAssistant:"


def comparison(name: object, split: str = "", text: str = "") -> dict[str, Any]:
    text = text or query(name)
    return {
        "query_id": query_id_of(text),
        "query": text,
        "responses": ["a", f"b {name}"],
        "scores": [1.0, 0.0],
        "type": "t",
        "split": split,
    }


def golden(row: dict[str, Any]) -> dict[str, Any]:
    return {"query_id": row["query_id"], "query": row["query"], "golden": "g", "type": ""}


def write_params(
    folder: Path, *, seed: int = 1, golden: str = "files", starts: str = "checkpoint", **split: Any
) -> Path:
    """Parameters; backbone and actor start from a checkpoint, or from what is split ("texts")."""
    start = {"backbone": "documents", "actor": "demonstrations"}
    params = {"seed": seed, "split": PARAMS["split"] | split, "data": {"golden": golden}}
    for model, name in start.items():
        texts = str(folder / "split" / f"{name}.jsonl")
        params[model] = {"start": texts if starts == "texts" else "checkpoint"}
    (folder / "params.yaml").write_text(json.dumps(params))
    return folder / "params.yaml"


def play(folder: Path, rows: dict[str, Rows], **settings: Any) -> tuple[dict[str, Rows], dict[str, Any]]:
    """Runs the stage on raw records; the rows by file, and the metrics."""
    for name in RAW:
        write_rows(folder / "raw" / f"{name}.jsonl", rows.get(name, []))
    split(folder, write_params(folder, **settings))
    return written(folder)


def split(folder: Path, params: Path) -> None:
    """Calls the stage on the files of `raw`."""
    main(
        *(folder / "raw" / f"{name}.jsonl" for name in RAW), folder / "split", folder / "metrics.json", params
    )


def written(folder: Path) -> tuple[dict[str, Rows], dict[str, Any]]:
    assert {path.name for path in (folder / "split").iterdir()} == {f"{name}.jsonl" for name in OUTS}
    files = {name: list(read_rows(folder / "split" / f"{name}.jsonl")) for name in OUTS}
    metrics: dict[str, dict[str, Any]] = json.loads((folder / "metrics.json").read_text())
    assert metrics.keys() == {"split"}
    return files, metrics["split"]


def world(size: int = 200, start: int = 0) -> dict[str, Rows]:
    rows = [comparison(n) for n in range(start, start + size)]
    return {"comparisons": rows, "golden": [golden(row) for row in rows]}


def keys(rows: Rows) -> set[str]:
    return {normalize_query(row["query"]) for row in rows}


FRACTIONS = {"test_fraction": 0.2, "valid_fraction": 0.2}


def long(name: object, word: str = "here") -> str:
    """A question of 81 words or more; with another word in its middle it is a near-duplicate."""
    words = [f"{name} {n}" for n in range(40)]
    return query(" ".join([*words[:20], word, *words[20:]]))
