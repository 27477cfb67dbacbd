"""evaluate: the APO arm minus the base arm, for LLMs and RMs, and not the other way round."""

import json
from pathlib import Path

import pytest

import stages.evaluate
from apo.core.records import write_json, write_rows
from apo.evaluation.paired import RIGHT
from tests.helpers import tiny_models as tiny

SCORES = {"actor": 0.0, "llm_base_r1": 1.0, "llm_apo_r1": 3.0}


def test_differences_are_apo_minus_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_json(Path("truth.json"), {})
    Path("params.yaml").write_text(json.dumps({"seed": 1, "evaluate": {"bootstrap": 100}}))
    for llm, folder in zip(SCORES, ("before", "base", "apo"), strict=True):
        rows = [
            {"query_id": str(n), "query": tiny.query(f"{n}?"), "samples": [llm], "scores": [SCORES[llm] + n]}
            for n in range(4)
        ]
        write_rows(Path(folder) / f"{llm}.jsonl", rows)
    golden = [row | {"samples": ["golden"], "scores": [5.0]} for row in rows]
    write_rows(Path("before/golden.jsonl"), golden)
    for rm, right in (("base_rm", 0.0), ("apo_rm", 1.0)):
        write_rows(Path(rm) / RIGHT, [{"query_id": str(n), "pairs": 1, "right": right} for n in range(3)])
    names = ("before", "base", "apo", "no_rjs", "no_rjs", "base_rm", "apo_rm", "truth.json", "out", "curves")
    stages.evaluate.main("r1", *map(Path, names), Path("metrics.json"))
    evaluated = json.loads(Path("metrics.json").read_text())["evaluate_r1"]
    accuracy = {"pairs": 3, "difference": 1.0, "low": 1.0, "high": 1.0}
    assert evaluated["apo_rm_r1_vs_base_rm"] == {"accuracy": accuracy}
    assert evaluated["llm_apo_r1_vs_llm_base_r1"]["score"]["difference"] == 2.0
    assert evaluated["golden_vs_actor"]["score"]["difference"] == 3.5
    for llm in ("base", "apo"):
        write_rows(Path(f"{llm}2/llm_{llm}_r2.jsonl"), golden)
    names = ("out", "base2", "apo2", *names[3:8], "out2", "curves2")
    stages.evaluate.main("r2", *map(Path, names), Path("metrics2.json"))
    of_two = json.loads(Path("metrics2.json").read_text())["evaluate_r2"]
    assert "llm_apo_r2_vs_actor" in of_two and "llm_apo_r1_vs_llm_base_r1" not in of_two
    assert "golden_vs_actor" not in of_two  # an earlier round has it
