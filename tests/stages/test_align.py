"""align: from an actor and scored samples to an LLM, its curve and metrics, as `dvc repro` runs it."""

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from apo.alignment.likelihood import ResponseLikelihood
from apo.alignment.rankings import COUNTS
from apo.alignment.settings import Align
from apo.core.errors import UserError
from apo.core.records import write_rows
from apo.model.checkpoint import load_language_model
from apo.training.settings import Common
from stages.align import main
from tests.helpers import tiny_models as tiny

GOOD, PLAIN, BAD = "A good dog.", "A dog.", "A bad one."
WORDS = ("story", "fox", "day", "café", "friend", "time")
ROWS: list[dict[str, Any]] = [
    {
        "query_id": word,
        "query": tiny.query(f"Tell me of the {word}."),
        "samples": [PLAIN, GOOD, "", BAD, GOOD],
        "scores": [0.0, 1.5, 0.0, -1.5, 1.5],
    }
    for word in WORDS
]
OWN: dict[str, set[str]] = {
    "rjs": set(),
    "rrhf": {"pairs", "final_rank_loss", "final_sft_loss", "final_ordered_pairs"},
    "dpo": {"pairs", "final_reward_accuracy", "final_reward_margin"},
}
ENCODED = {"items", "tokens", "queries_cut"}
Play = Callable[..., dict[str, Any]]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Runs the stage in a folder of its own; its metrics."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    tiny.backbone(tmp_path / "actor")

    def run(
        rows: list[dict[str, Any]], out: str = "llm", *, dtype: str = "float32", **changes: Any
    ) -> dict[str, Any]:
        defaults = {
            "method": "rjs",
            "beta": 0.1,
            "rank_weight": 1.0,
            "sft_weight": 1.0,
            "max_length": 64,
            "lora": tiny.NO_LORA,
        }
        settings: Align = tiny.optimizer(Align, **(defaults | {"epochs": 12, "lr": 3e-3, "batch_size": 3}))
        common = settings.model_dump(include=set(Common.model_fields)) | {"dtype": dtype}
        section = (
            settings.model_dump(exclude=set(Common.model_fields)) | {"lr": {"r1": settings.lr}} | changes
        )
        Path("params.yaml").write_text(json.dumps({"seed": 1, "training": common, "align": section}))
        write_rows(Path("rjs.jsonl"), rows)
        paths = ("actor", "rjs.jsonl", out, f"{out}.csv", f"{out}.json", "params.yaml")
        main("apo_r1", "r1", *(Path(path) for path in paths))
        metrics: dict[str, dict[str, Any]] = json.loads(Path(f"{out}.json").read_text())
        assert metrics.keys() == {"align_apo_r1"}
        return metrics["align_apo_r1"]

    return run


def preference(folder: str) -> float:
    """By how much the model of a checkpoint prefers the good answer to the bad one, mean over the queries."""
    model = ResponseLikelihood(load_language_model(Path(folder)), pad_id=3, max_length=64).eval()
    texts = [(row["query"], [GOOD, BAD]) for row in ROWS]
    with torch.no_grad():
        logs = model(list(tiny.encoder(pooling="eos").items(texts, Counter(), where="")))
    return float((logs[:, 0] - logs[:, 1]).mean())


@pytest.mark.parametrize("method", OWN)
def test_align_by_each_method_makes_the_good_answer_likelier(play: Play, method: str) -> None:
    metrics = play(ROWS, method=method)
    assert metrics.keys() == set(COUNTS) | ENCODED | {"final_loss"} | OWN[method]
    assert (metrics["queries"], metrics["queries_used"], metrics["samples"]) == (6, 6, 30)
    assert (metrics["samples_blank"], metrics["samples_identical"]) == (6, 6)
    assert metrics.get("pairs") == {"rjs": None, "rrhf": 18, "dpo": 6}[method]
    assert preference("llm") > preference("actor") + 1.0
    with Path("llm.csv").open() as lines:
        curve = list(csv.DictReader(lines))
    assert [row["step"] for row in curve] == [str(step) for step in range(1, 25)]
    mean = sum(float(row["loss"]) for row in curve[-20:]) / 20
    assert metrics["final_loss"] == pytest.approx(mean)
    if method == "dpo":
        assert float(curve[0]["loss"]) == pytest.approx(0.693147, abs=1e-5)
        assert metrics["final_reward_margin"] > 0 and metrics["final_reward_accuracy"] > 0.9
    card = Path("llm/README.md").read_text(encoding="utf-8")
    assert f'- `method`: "{method}"' in card and "`rjs.jsonl`, 6 rows" in card


def test_align_says_how_many_weights_the_storage_leaves_as_they_were(play: Play) -> None:
    small, large = (play(ROWS, dtype="bfloat16", lr={"r1": lr}) for lr in (1e-6, 1e-2))
    assert small["saved"]["unchanged_weights"] > 0.5 > large["saved"]["unchanged_weights"]


def test_align_drops_and_counts_what_teaches_nothing(play: Play) -> None:
    query = ROWS[0]["query"]
    nothing = [
        {"query_id": "x", "query": query, "samples": ["", " "], "scores": [0.0, 1.0]},
        {"query_id": "y", "query": query, "samples": ["No.", "No."], "scores": [0.0, 1.0]},
        {"query_id": "z", "query": query, "samples": ["No.", "9?"], "scores": [1.0, 1.0]},
    ]
    metrics = play(nothing + ROWS, method="dpo")
    dropped = {name: metrics[name] for name in COUNTS if "dropped" in name}
    assert list(dropped.values()) == [1, 1, 1, 0]
    assert (metrics["queries"], metrics["queries_used"]) == (9, 6)
    assert play(ROWS, "without", method="dpo")["final_loss"] == metrics["final_loss"]
    with pytest.raises(UserError, match=r"rjs.jsonl: found .* 3 queries \(1 blank, 1 identical, 1 tied\)"):
        play(nothing, "none")
    assert not Path("none").exists() and not Path("none.json").exists()


@pytest.mark.parametrize("method", OWN)
def test_align_by_each_method_trains_adapters_alone(play: Play, method: str) -> None:
    """The other weights stay, and the first loss is that of all weights: adapters start at 0."""
    play(ROWS, "whole", method=method)
    lora = {"rank": 4, "alpha": 16.0, "targets": ["q_proj", "v_proj", "up_proj"]}
    metrics = play(ROWS, method=method, lora=lora)
    assert metrics["trained_weights"] == 2 * 4 * ((32 + 32) * 2 + (32 + 64))
    assert preference("llm") > preference("actor") + 0.5
    actor, aligned = (load_file(f"{name}/model.safetensors") for name in ("actor", "llm"))
    changed = {name for name, tensor in actor.items() if not torch.equal(tensor, aligned[name])}
    assert {name.split(".")[-2] for name in changed} == set(lora["targets"]) and len(changed) == 6
    assert Path("llm/adapter/adapter_model.safetensors").is_file() and not Path("whole/adapter").exists()
    first = [Path(f"{name}.csv").read_text().splitlines()[:2] for name in ("whole", "llm")]
    assert first[0] == first[1]


def test_align_refuses_an_unknown_layer(play: Play) -> None:
    with pytest.raises(UserError, match=r"align.lora.targets: found 'q', which is no linear layer of Llama"):
        play(ROWS, lora={"rank": 4, "alpha": 16.0, "targets": ["q"]})


def test_align_refuses_an_empty_file(play: Play) -> None:
    with pytest.raises(UserError, match=r"rjs.jsonl: found .*the file is empty.*; expected queries with"):
        play([])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "ppo"}, r"align.method: found 'ppo'; expected 'rjs', 'rrhf' or 'dpo'; change the value"),
        ({"beta": 0.0}, r"align.beta: found 0.0; expected greater than 0"),
        ({"rank_weight": 0.0}, r"align.rank_weight: found 0.0; expected greater than 0"),
        ({"sft_weight": -1.0}, r"align.sft_weight: found -1.0; expected greater than or equal to 0"),
        ({"margin": 1.0}, r"align.margin: found a parameter that nothing reads"),
    ],
)
def test_align_refuses_a_wrong_parameter(play: Play, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        play(ROWS, **changes)
