"""answer: what is asked, drawn and scored in another form than it stands is counted in its metrics."""

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from transformers import AutoTokenizer

import stages.answer
from apo.core.records import read_rows, write_json, write_rows
from apo.model.checkpoint import save_reward_model
from tests.helpers import chat_models
from tests.helpers import tiny_models as tiny
from tests.helpers.small_repo import ROOT

PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
QUERIES = [
    {"query_id": "a", "query": tiny.query("Who?")},
    {"query_id": "b", "query": tiny.query("Why? " * 40)},
]
GOLDEN = [
    {"query_id": "a", "query": QUERIES[0]["query"], "golden": "A dog."},
    {"query_id": "b", "query": QUERIES[1]["query"], "golden": "So it is. " * 40},
]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a language model, a reward model of 48 tokens, queries and golden answers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("APO_DEVICE", "cpu")
    tiny.backbone(Path("llm"), max_position_embeddings=256)
    save_reward_model(tiny.reward_model(Path("backbone"), max_length=48), Path("rm"), tiny.CARD)
    write_rows(Path("queries.jsonl"), QUERIES)
    write_rows(Path("golden.jsonl"), GOLDEN)
    write_json(Path("truth.json"), False)
    return tmp_path


def answer(llm: str = "llm", **sampling: Any) -> dict[str, Any]:
    """Runs the stage; the metrics of the first actor."""
    drawn = {**PARAMS["sample"], "test": {**PARAMS["sample"]["test"], **sampling}}
    Path("params.yaml").write_text(json.dumps({**PARAMS, "sample": drawn}))
    names = (llm, "queries.jsonl", "rm", "truth.json", "answers", "metrics.json")
    stages.answer.main("actor", *map(Path, names), golden=Path("golden.jsonl"))
    metrics: dict[str, Any] = json.loads(Path("metrics.json").read_text())["answer_actor"]
    return metrics


def test_answer_counts_queries_that_the_llm_reads_cut(repository: Path) -> None:
    assert answer(max_prompt_tokens=200, max_new_tokens=4)["sampling"]["prompts_cut"] == 0
    assert answer(max_prompt_tokens=24, max_new_tokens=4)["sampling"]["prompts_cut"] == 1


def test_answers_without_an_end_are_counted(repository: Path) -> None:
    metrics = answer(max_new_tokens=1)
    texts = [text for row in read_rows(Path("answers/actor.jsonl")) for text in row["samples"]]
    counts = metrics["sampling"]
    assert counts["samples"] == len(texts) and counts["samples_blank"] == texts.count("")
    assert 0 < counts["unfinished"] <= len(texts)


def test_answer_counts_what_the_testing_rm_reads_cut_for_each_arm(repository: Path) -> None:
    metrics = answer(max_prompt_tokens=200, max_new_tokens=4)
    assert metrics["scoring"] == metrics["scoring"] | {"items": 2, "queries_cut": 1, "responses_cut": 0}
    assert metrics["golden"]["scoring"]["responses_cut"] == 1
    assert "sampling" not in metrics["golden"]


def test_answer_counts_a_dialogue_that_the_template_refuses(repository: Path) -> None:
    llm = Path("gemma")
    chat_models.checkpoint("gemma", llm)
    tokenizer = AutoTokenizer.from_pretrained(llm)
    tokenizer.init_kwargs["refused_dialogues"] = "drop"
    tokenizer.save_pretrained(llm)
    twice = {"query_id": "c", "query": "\n\nHuman: A?\n\nHuman: B?\n\nAssistant:"}
    write_rows(Path("queries.jsonl"), [*QUERIES, twice])
    write_rows(Path("golden.jsonl"), [*GOLDEN, {"query_id": "c", "query": twice["query"], "golden": "C."}])
    metrics = answer("gemma", max_prompt_tokens=200, max_new_tokens=4)
    assert metrics["sampling"]["dialogues_dropped"] == 1
    assert metrics["sampling"]["queries"] == metrics["queries"] == 2
