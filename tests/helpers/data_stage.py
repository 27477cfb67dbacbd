"""Runs stage `data` on the demo world, on files and on data sets."""

import gzip
import json
import lzma
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from apo.core.records import read_rows
from apo.datasets.issues import ROW_ISSUES
from stages.data import main

ROOT = Path(__file__).parents[2]
COMMITTED = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))["data"]
NAMES = ("comparisons", "golden", "samples", "demonstrations", "documents")
OUTS = {f"{name}.jsonl" for name in (*NAMES, "issues")} | {"truth.json"}

SMALL = {
    "comparisons": 60,
    "test_comparisons": 20,
    "documents": 30,
    "demonstrations": 15,
    "temperature": 0.5,
    "golden_flaws": 0.0,
}

Rows = list[dict[str, Any]]


def query(name: object) -> str:
    return f"\n\nHuman: question {name}\n\nAssistant:"


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def answer(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def write(path: Path, rows: Rows) -> None:
    """Rows in the format that the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if path.suffix == ".parquet":
        from pyarrow import Table, parquet

        parquet.write_table(Table.from_pylist(rows), path)
    elif path.name.endswith(".json"):
        path.write_text(json.dumps(rows))
    else:
        pack = {".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, bytes)
        path.write_bytes(pack(lines))


def play(folder: Path, *, seed: int = 1, **data: Any) -> tuple[dict[str, Rows], dict[str, Any]]:
    """Runs the stage in a folder; the rows by file, and the metrics."""
    (folder / "input").mkdir(exist_ok=True)
    params = {"seed": seed, "data": COMMITTED | {"demo": SMALL} | data}
    params["data"]["files"] = COMMITTED["files"] | data.get("files", {})
    (folder / "params.yaml").write_text(json.dumps(params))
    main(folder / "input", folder / "raw", folder / "metrics.json", folder / "params.yaml")
    assert {path.name for path in (folder / "raw").iterdir()} == OUTS
    rows = {name: list(read_rows(folder / "raw" / f"{name}.jsonl")) for name in (*NAMES, "issues")}
    metrics: dict[str, dict[str, Any]] = json.loads((folder / "metrics.json").read_text())
    assert metrics.keys() == {"data"}
    assert metrics["data"]["rows"] == {name: len(rows[name]) for name in NAMES}
    assert metrics["data"]["issues"].keys() == ROW_ISSUES.codes.keys()
    on_issue = params["data"]["on_issue"]
    actions = {code: on_issue.get(code, on_issue["default"]) for code in ROW_ISSUES.codes}
    dropped = [n for code, n in metrics["data"]["issues"].items() if actions[code] == "drop"]
    assert metrics["data"]["dropped"] == sum(dropped)
    counts = Counter(row["code"] for row in rows["issues"])
    assert counts == {code: min(n, 10) for code, n in metrics["data"]["issues"].items() if n}
    return rows, metrics["data"]


def play_files(folder: Path, files: dict[str, Rows], **kinds: list[str]) -> tuple[dict[str, Rows], dict]:
    for name, rows in files.items():
        write(folder / "input" / name, rows)
    return play(folder, source="files", files=kinds)


FORMATS: dict[str, Any] = {
    "own": lambda q: {"query_id": f"i{q}", "query": query(q), "responses": ["good", "bad"], "scores": [1, 0]},
    "authors": lambda q: {"text": [f"{query(q)}<sep>good", f"{query(q)}<sep>bad"], "scores": [1.0, 0.0]},
    "authors score": lambda q: {"text": [f"{query(q)}<sep>good", f"{query(q)}<sep>bad"], "score": [1, 0]},
    "whole texts": lambda q: {"text": [f"{query(q)} good", f"{query(q)} bad"], "score": [1.0, 0.0]},
    "prompt": lambda q: {"prompt": query(q), "chosen": "good", "rejected": "bad"},
    "plain prompt": lambda q: {"prompt": f"question {q}", "chosen": "good", "rejected": "bad"},
    "dialogues": lambda q: {"chosen": f"{query(q)} good", "rejected": f"{query(q)} bad"},
    "messages": lambda q: {
        "chosen": [user(f"question {q}"), answer("good")],
        "rejected": [user(f"question {q}"), answer("bad")],
    },
    "prompt messages": lambda q: {
        "prompt": [user(f"question {q}")],
        "chosen": [answer("good")],
        "rejected": [answer("bad")],
    },
}


def write_hub_params(folder: Path, hub: dict[str, Any], *, golden: str = "files") -> None:
    """The parameters and the input folder of a run on a data set."""
    data = COMMITTED | {"source": "hub", "hub": COMMITTED["hub"] | hub, "golden": golden}
    (folder / "params.yaml").write_text(json.dumps({"seed": 1, "data": data}))
    (folder / "input").mkdir(exist_ok=True)


HUB_PATHS = {"input": "input", "out": "raw", "metrics": "metrics.json", "params": "params.yaml"}


def play_hub(
    folder: Path, hub: dict[str, Any], *, golden: str = "files", **environment: str
) -> subprocess.CompletedProcess[str]:
    """The stage in a process of its own, as a library with global state is in it."""
    write_hub_params(folder, hub, golden=golden)
    arguments = [word for name, path in HUB_PATHS.items() for word in (f"--{name}", path)]
    return subprocess.run(
        [sys.executable, "-m", "stages.data", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "HF_HOME": str(folder / "hf"), "PATH": ""}
        | {"HF_HUB_OFFLINE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
