"""vLLM itself, in its environment where that is there, and the table that `make vllm` wrote."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.vllm import BEGIN, END, PAGE, RESULTS, RESUMED, ROWS, TINY, differing, table, write_params
from tests.helpers import tiny_models as tiny
from tests.helpers.small_repo import ROOT

PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
needs_vllm = pytest.mark.skipif(
    not (ROOT / ".venv-vllm" / "installed").is_file(), reason="no .venv-vllm: make vllm"
)
NOTHING = {"greedy": 30, "order": 120, "alone": 40, "fewer": 60}  # differs among so many responses


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PYTHON), "-m", *words],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_page_training_shows_the_results_of_vllm() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.partition(BEGIN)[2].partition(END)[0].strip() == table(json.loads(RESULTS.read_text()))


def test_page_training_promises_what_was_measured() -> None:
    for of_model in json.loads(RESULTS.read_text())["models"].values():
        assert {name: of_model[name][0] for name in NOTHING} == dict.fromkeys(NOTHING, 0)
        assert of_model["distinct"][0] > of_model["distinct"][1] / 4
        assert of_model.get("resumed", [0])[0] == 0


def test_table_cell_says_how_many_of_how_many() -> None:
    results = json.loads(RESULTS.read_text())
    results["models"] = {"a": {name: [1, 2000] for name in ROWS} | {"weights": 1234}}
    lines = table(results).splitlines()
    assert "| weights | 1,234 |" in lines and f"| {ROWS['greedy']} | 1 of 2,000 |" in lines
    assert lines[-1] == f"| {RESUMED} |  |"


def test_compared_counts_responses_one_by_one() -> None:
    assert differing([[[1], [2]], [[3]]], [[[1], [2, 0]], [[4]]]) == [2, 3]


@needs_vllm
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_stage_sample_with_vllm_writes_the_promised_samples(tmp_path: Path) -> None:
    out = tmp_path / "vllm.json"
    done = run("benchmarks.vllm", "--tiny", "--out", str(out))
    assert done.returncode == 0, done.stderr[-5000:]
    results = json.loads(out.read_text())["models"][TINY]
    assert {name: results[name] for name in NOTHING} == {name: [0, count] for name, count in NOTHING.items()}
    assert results["distinct"][0] > 100 and results["resumed"] == [0, 768]


@needs_vllm
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("memory", "heads", "message"),
    [
        ("1", 1, "error: vLLM: found "),  # more than is free
        ("0.2", 2, "config.json: found attention heads of size 16; expected one of 32, "),
    ],
)
def test_main_names_an_engine_that_does_not_start(
    tmp_path: Path, memory: str, heads: int, message: str
) -> None:
    llm = tiny.backbone(tmp_path / "llm", num_attention_heads=heads, num_key_value_heads=heads)
    (tmp_path / "queries.jsonl").write_text(json.dumps({"query_id": "a", "query": tiny.query("Who?")}) + "\n")
    (tmp_path / "raw.jsonl").touch()
    params = write_params(tmp_path).read_text().replace("max_prompt_tokens: 192", "max_prompt_tokens: 64")
    (tmp_path / "params.yaml").write_text(params)
    paths = {"queries": "queries.jsonl", "raw": "raw.jsonl", "params": "params.yaml"}
    paths |= {"out": "out.jsonl", "metrics": "metrics.json", "llm": llm.name}
    words = [word for name, path in paths.items() for word in (f"--{name}", str(tmp_path / path))]
    environment = {"DVC_ROOT": str(tmp_path), "APO_VLLM_MEMORY": memory}
    done = run("stages.sample", "--name", "x", "--part", "llm", *words, **environment)
    last = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1 and len(last) == 1 and message in last[0], done.stderr[-3000:]
    assert not (tmp_path / "out.jsonl").exists()
