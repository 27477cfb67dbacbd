"""apo/reward/recipe.py: from comparisons in files to a saved reward model, its curve and its metrics."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

import stages.test_rm
from apo.core.config import read_section
from apo.core.errors import UserError
from apo.core.records import write_rows
from apo.model.checkpoint import (
    load_language_model,
    load_reward_model,
    load_tokenizer,
    save_language_model,
)
from apo.reward.recipe import adopt_rm, train_rm
from apo.reward.settings import Apo
from apo.training.outputs import Outputs
from tests.helpers import tiny_models as tiny
from tests.helpers.reward_repo import COMPARISONS, set_params

OUTPUTS = Outputs(Path("rm"), Path("curves"), Path("metrics.json"))
pytestmark = pytest.mark.usefixtures("repository")


def train(name: str = "base_rm", start: str = "backbone", **more: Any) -> dict[str, Any]:
    """Trains `rm`; the metrics."""
    more.setdefault("comparisons", [Path("train.jsonl")])
    train_rm(name, start=Path(start), outputs=OUTPUTS, params=Path("params.yaml"), **more)
    written: dict[str, Any] = json.loads(Path("metrics.json").read_text())
    assert written.keys() == {f"train_{name}"}
    metrics: dict[str, Any] = written[f"train_{name}"]
    return metrics


def curve() -> list[dict[str, str]]:
    with Path("curves/training.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_train_rm_writes_model_curve_and_metrics() -> None:
    metrics = train()
    assert metrics["train"]["human_pairs"] == 4 and metrics["train"]["dropped_without_pair"] == 1
    assert "apo_pairs" not in metrics["train"] and "trained_weights" not in metrics["train"]
    assert float(curve()[-1]["loss"]) == metrics["train"]["final_loss"]
    assert metrics["saved"] == {"rows_compared": 4, "chat_template_equal": 4}
    assert {path.name for path in Path("curves").iterdir()} == {
        *("training.csv", "lengths.csv", "issues.jsonl")
    }
    config = json.loads(Path("rm/config.json").read_text())
    assert config["apo"].keys() == {"max_length", "pooling", "separator", "truncation_side"}
    ours = load_reward_model(Path("rm"))
    stock = AutoModelForSequenceClassification.from_pretrained("rm", trust_remote_code=False)
    texts = [(row["query"], row["responses"]) for row in COMPARISONS[:1]]
    [item] = ours.encoder.items(texts, Counter(), where="")
    with torch.no_grad():
        rewards = [stock(input_ids=torch.tensor([item.prefix + ids])).logits[0, 0] for ids in item.responses]
        assert ours.rewards([item])[0].tolist() == pytest.approx([float(r) for r in rewards], abs=1e-5)


def test_train_rm_adds_golden_answers_with_the_weights_of_apo() -> None:
    """With coeff 0 they teach nothing: the weights are those of the base RM, but for the denominator."""
    apo = read_section(Path("params.yaml"), "apo", Apo)
    golden = {"adversarial_pairs": [Path("golden.jsonl")]}
    metrics = train("apo_rm_r1", apo=apo, **golden)
    assert (metrics["train"]["human_pairs"], metrics["train"]["apo_pairs"]) == (4, 2)
    card = Path("rm/README.md").read_text(encoding="utf-8")
    assert f"- `coeff`: {apo.coeff}\n- `num_samples`: 2\n- `kl_coeff`: 1.0\n" in card
    assert "- `golden.jsonl`, 1 rows\n" in card and "init_from" not in card
    losses = {coeff: loss_with(apo.model_copy(update={"coeff": coeff})) for coeff in (0.0, 1.0)}
    base = train()["train"]["final_loss"]
    assert losses[0.0] == pytest.approx(base * 4 / 6, rel=1e-5)
    gap = (losses[1.0] - losses[0.0]) * 6  # 1.0 / 2 for each of the two pairs, of about ln 2
    assert 0.3 < gap < 1.5


def loss_with(apo: Apo) -> float:
    """Of the only step, before it."""
    train("apo_rm_r1", apo=apo, adversarial_pairs=[Path("golden.jsonl")])
    return float(curve()[0]["loss"])


def test_train_rm_evaluates_on_valid_every_eval_steps() -> None:
    write_rows(Path("valid.jsonl"), COMPARISONS[:3])
    train(valid=Path("valid.jsonl"))
    assert "valid_accuracy" not in curve()[0]
    set_params(eval_steps=1, batch_size=2)
    train(valid=Path("valid.jsonl"))
    assert len(curve()) == 2
    assert all(0 <= float(row["valid_accuracy"]) <= 1 and float(row["valid_nll"]) > 0 for row in curve())
    train("test_rm")  # learns from valid, so it is not watched there
    assert "valid_accuracy" not in curve()[0]


def test_train_rm_from_a_reward_model_keeps_its_head() -> None:
    train()
    Path("rm").rename("first")
    head = load_reward_model(Path("first")).classifier.score.weight
    set_params(lr=1.0e-9)
    train("apo_rm_r1", start="first")
    assert torch.allclose(load_reward_model(Path("rm")).classifier.score.weight, head, atol=1e-6)
    assert "`first`" in Path("rm/README.md").read_text()


def test_train_rm_saves_adapters_beside_the_merged_model() -> None:
    set_params(lora={"rank": 2, "alpha": 4.0, "targets": ["v_proj"]})
    metrics = train()
    assert metrics["train"]["trained_weights"] == 2 * 2 * (32 + 32) + 32  # two layers, and the head
    config = json.loads(Path("rm/adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "backbone"
    set_params(lora={"rank": 2, "alpha": 4.0, "targets": ["values"]})
    with pytest.raises(UserError, match=r"params.yaml: rm.lora.targets: found 'values', which is no linear"):
        train()


def test_train_rm_counts_a_dialogue_that_the_template_drops() -> None:
    refuse = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system text') }}{% endif %}"
    tokenizer = load_tokenizer(Path("backbone"))
    tokenizer.chat_template = refuse + tokenizer.chat_template
    tokenizer.init_kwargs["refused_dialogues"] = "drop"
    save_language_model(load_language_model(Path("backbone")), tokenizer, Path("backbone"), tiny.CARD)
    system = {**COMPARISONS[0], "query": "Be brief." + COMPARISONS[0]["query"]}
    write_rows(Path("train.jsonl"), [system, *COMPARISONS])
    metrics = train()
    assert metrics["train"]["dialogues_dropped"] == 1 and metrics["train"]["human_pairs"] == 4
    assert metrics["saved"] == {"rows_compared": 4, "chat_template_equal": 4}


def test_adopt_rm_takes_a_reward_model_as_it_is() -> None:
    train()
    Path("rm").rename("own")
    before = load_reward_model(Path("own")).classifier.state_dict()
    outputs = Outputs(Path("taken"), Path("taken_curves"), Path("taken.json"))
    adopt_rm(
        "test_rm",
        start=Path("own"),
        comparisons=Path("train.jsonl"),
        outputs=outputs,
        params=Path("params.yaml"),
    )
    assert json.loads(Path("taken.json").read_text()) == {
        "train_test_rm": {
            "train": {"trained_here": False},
            "saved": {"rows_compared": 4, "chat_template_equal": 4},
        }
    }
    after = load_reward_model(Path("taken")).classifier.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert Path("taken_curves/training.csv").read_text() == "step\n0\n"
    assert "`own`" in Path("taken/README.md").read_text()


def test_stage_test_rm_adopts_or_trains_by_its_start() -> None:
    def play(start: str) -> Any:
        outputs = Outputs(Path("test_rm"), Path("test_rm_curves"), Path("test_rm.json"))
        data = [Path("train.jsonl")] * 3
        stages.test_rm.main(Path(start), *data, *outputs, params=Path("params.yaml"))
        return json.loads(Path("test_rm.json").read_text())["train_test_rm"]["train"]

    assert play("backbone")["human_pairs"] == 12
    train()
    assert play("rm") == {"trained_here": False}


def test_train_rm_in_bfloat16_changes_rewards_by_a_rounding() -> None:
    set_params(dtype="bfloat16")
    metrics = train()["saved"]
    assert 0 < metrics.pop("reward_change") < 0.1
    assert metrics == {"rows_compared": 4, "chat_template_equal": 4}
    assert json.loads(Path("rm/config.json").read_text())["dtype"] == "bfloat16"


def test_train_rm_without_a_pair_ends_in_one_message() -> None:
    write_rows(Path("train.jsonl"), COMPARISONS[3:])
    with pytest.raises(
        UserError, match=r"train\.jsonl: found no comparison to train on; expected at least one"
    ):
        train()
    assert not Path("rm").exists() and not Path("metrics.json").exists()


def test_train_rm_refuses_to_measure_on_no_comparison() -> None:
    set_params(eval_steps=1)
    write_rows(Path("valid.jsonl"), [])
    with pytest.raises(UserError, match=r"valid\.jsonl: found no comparison to measure rm\.eval_steps on"):
        train(valid=Path("valid.jsonl"))
