"""stages/convert.py: golden > samples from files, as `dvc repro` runs it."""

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from apo.core.errors import UserError
from apo.core.records import read_rows, write_rows
from stages.convert import main

ROOT = Path(__file__).parents[2]
PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
Rows = list[dict[str, Any]]


def query(name: object) -> str:
    return f"\n\nHuman: question {name}\n\nAssistant:"


def samples(name: str, *texts: str) -> dict[str, Any]:
    return {"query_id": name, "query": query(name), "type": "t", "samples": list(texts), "made_by": "actor"}


def golden(name: str, text: str = "gold") -> dict[str, Any]:
    return {"query_id": name, "query": query(name), "golden": text, "type": "t"}


def play(
    folder: Path, sampled: Rows, answers: Rows, *, num_samples: int = 2, seed: int = 1, **convert: str
) -> tuple[Rows, dict[str, int]]:
    """Runs the stage; the rows and the counts."""
    params = {"seed": seed, "convert": PARAMS["convert"] | convert, "apo": {"num_samples": num_samples}}
    (folder / "params.yaml").write_text(json.dumps(params))
    write_rows(folder / "samples.jsonl", sampled)
    write_rows(folder / "golden.jsonl", answers)
    names = ("golden.jsonl", "samples.jsonl", "apo/rm.jsonl", "metrics.json", "params.yaml")
    main("r1", *(folder / name for name in names))
    metrics: dict[str, dict[str, int]] = json.loads((folder / "metrics.json").read_text())
    assert metrics.keys() == {"convert_r1"}
    return list(read_rows(folder / "apo/rm.jsonl")), metrics["convert_r1"]


def test_convert_puts_the_golden_answer_above_every_sample(tmp_path: Path) -> None:
    rows, counts = play(
        tmp_path, [samples("a", "x", "y"), samples("b", "u", "v")], [golden("b", "B"), golden("a", "A")]
    )
    assert rows == [
        {
            "query_id": name,
            "query": query(name),
            "responses": responses,
            "scores": [1.0, 0.0, 0.0],
            "type": "apo",
        }
        for name, responses in (("a", ["A", "x", "y"]), ("b", ["B", "u", "v"]))
    ]
    assert (counts["queries"], counts["items"], counts["pairs"], counts["golden_unused"]) == (2, 2, 4, 0)


def test_convert_counts_cut_and_dropped_texts_in_the_metrics(tmp_path: Path) -> None:
    rows, counts = play(
        tmp_path,
        [samples("a", "x\n\nHuman: more", " "), samples("b", "gold", "gold "), samples("c", "z", "z")],
        [golden("a"), golden("b"), golden("c", "gold\n\nHuman: thanks"), golden("d")],
    )
    assert [row["responses"] for row in rows] == [["gold", "x"], ["gold\n\nHuman: thanks", "z", "z"]]
    assert counts == {
        "queries": 3,
        "samples": 6,
        "samples_cut": 1,
        "samples_blank": 1,
        "samples_golden": 2,
        "samples_duplicate": 1,
        "queries_short": 0,
        "queries_dropped": 1,
        "golden_unused": 1,
        "items": 2,
        "pairs": 3,
    }


def test_convert_refuses_or_keeps_missing_samples(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"samples\.jsonl:1: found 1 samples; expected 2 \(apo\.num_samples"):
        play(tmp_path, [samples("a", "x")], [golden("a")])
    assert not (tmp_path / "apo" / "rm.jsonl").exists()
    rows, counts = play(tmp_path, [samples("a", "x")], [golden("a")], short_samples="keep")
    assert (len(rows), counts["queries_short"]) == (1, 1)


def test_convert_gives_the_same_bytes_for_the_same_input(tmp_path: Path) -> None:
    outputs = []
    for _ in range(2):
        play(tmp_path, [samples("a", "x", "y")], [golden("a")], pick="one")
        outputs.append([(tmp_path / name).read_bytes() for name in ("apo/rm.jsonl", "metrics.json")])
    assert outputs[0] == outputs[1]
