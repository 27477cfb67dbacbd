"""apo/reward/recipe.py: from comparisons in files to a saved reward model, its curve and its metrics."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from transformers import AutoModelForSequenceClassification

import stages.test_rm
from apo.core.config import read_section
from apo.core.errors import UserError
from apo.core.records import read_rows, write_rows
from apo.model.checkpoint import (
    load_language_model,
    load_reward_model,
    load_tokenizer,
    save_language_model,
    save_reward_model,
)
from apo.model.reward_model import RewardModel
from apo.reward.recipe import Outputs, adopt_rm, train_rm, verify
from apo.reward.settings import Apo
from tests.helpers import tiny_models as tiny
from tests.helpers.small_repo import ROOT

PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
OUTPUTS = Outputs(Path("rm"), Path("curves"), Path("metrics.json"))
COMPARISONS = [
    {"query": tiny.query("What is 1 plus 2?"), "responses": ["3", "4"], "scores": [1.0, 0.0]},
    {"query": tiny.query("What is 2 plus 2?"), "responses": ["5", "4, my friend."], "scores": [0.0, 1.0]},
    {"query": tiny.query("What is 5 plus 4?"), "responses": ["9", "8", "no"], "scores": [2.0, 1.0, 1.0]},
    {"query": tiny.query("What is 5 plus 5?"), "responses": ["9", "8"], "scores": [1.0, 1.0]},  # no pair
]
GOLDEN = {"query": tiny.query("Who?"), "responses": ["A friend.", "me", "you"], "scores": [1.0, 0.0, 0.0]}


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with a backbone and comparisons."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("APO_DEVICE", "cpu")
    tiny.backbone(Path("backbone"))
    write_rows(Path("train.jsonl"), COMPARISONS)
    write_rows(Path("golden.jsonl"), [GOLDEN])
    set_params()


def set_params(**rm: Any) -> None:
    content = {"seed": 1, "model": PARAMS["model"] | {"max_length": 64}, "training": PARAMS["training"]}
    content |= {"test_rm": PARAMS["test_rm"]}
    content |= {"rm": PARAMS["rm"] | {"warmup_steps": 0} | rm, "apo": PARAMS["apo"] | {"num_samples": 2}}
    Path("params.yaml").write_text(json.dumps(content))


def train(name: str = "base_rm", start: str = "backbone", **more: Any) -> dict[str, Any]:
    """Trains `rm`; the metrics."""
    more.setdefault("comparisons", [Path("train.jsonl")])
    train_rm(name, start=Path(start), outputs=OUTPUTS, params=Path("params.yaml"), **more)
    found: dict[str, Any] = json.loads(Path("metrics.json").read_text())
    assert found.keys() == {f"train_{name}"}
    metrics: dict[str, Any] = found[f"train_{name}"]
    return metrics


def curve() -> list[dict[str, str]]:
    with Path("curves/training.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_a_reward_model_is_trained_and_saved_with_what_a_user_looks_at() -> None:
    found = train()
    assert found["train"]["human_pairs"] == 4 and found["train"]["dropped_without_pair"] == 1
    assert "apo_pairs" not in found["train"] and "trained_weights" not in found["train"]
    assert float(curve()[-1]["loss"]) == found["train"]["final_loss"]
    assert found["saved"] == {"rows_compared": 4, "chat_template_equal": 4}
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


def test_golden_answers_join_with_the_weights_of_section_apo() -> None:
    """With coeff 0 they teach nothing: the weights are those of the base RM, but for the denominator."""
    apo = read_section(Path("params.yaml"), "apo", Apo)
    golden = {"adversarial_pairs": Path("golden.jsonl")}
    found = train("apo_rm_r1", apo=apo, **golden)
    assert (found["train"]["human_pairs"], found["train"]["apo_pairs"]) == (4, 2)
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
    train("apo_rm_r1", apo=apo, adversarial_pairs=Path("golden.jsonl"))
    return float(curve()[0]["loss"])


def test_it_is_watched_on_valid_every_so_many_steps_where_asked() -> None:
    write_rows(Path("valid.jsonl"), COMPARISONS[:3])
    train(valid=Path("valid.jsonl"))
    assert "valid_accuracy" not in curve()[0]
    set_params(eval_steps=1, batch_size=2)
    train(valid=Path("valid.jsonl"))
    assert len(curve()) == 2
    assert all(0 <= float(row["valid_accuracy"]) <= 1 and float(row["valid_nll"]) > 0 for row in curve())
    train("test_rm")  # learns from valid, so it is not watched there
    assert "valid_accuracy" not in curve()[0]


def test_a_sequential_variant_keeps_the_head_of_its_start() -> None:
    train()
    Path("rm").rename("first")
    head = load_reward_model(Path("first")).classifier.score.weight
    set_params(lr=1.0e-9)
    train("apo_rm_r1", start="first")
    assert torch.allclose(load_reward_model(Path("rm")).classifier.score.weight, head, atol=1e-6)
    assert "base_model: first\n" in Path("rm/README.md").read_text()


def test_adapters_stand_beside_the_merged_model() -> None:
    set_params(lora={"rank": 2, "alpha": 4.0, "targets": ["v_proj"]})
    found = train()
    assert found["train"]["trained_weights"] == 2 * 2 * (32 + 32) + 32  # two layers, and the head
    config = json.loads(Path("rm/adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "backbone"
    set_params(lora={"rank": 2, "alpha": 4.0, "targets": ["values"]})
    with pytest.raises(UserError, match=r"params.yaml: rm.lora.targets: found 'values', which is no linear"):
        train()


def test_a_dialogue_that_the_template_drops_is_counted_and_not_compared() -> None:
    refuse = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system text') }}{% endif %}"
    tokenizer = load_tokenizer(Path("backbone"))
    tokenizer.chat_template = refuse + tokenizer.chat_template
    tokenizer.init_kwargs["refused_dialogues"] = "drop"
    save_language_model(load_language_model(Path("backbone")), tokenizer, Path("backbone"), tiny.CARD)
    system = {**COMPARISONS[0], "query": "Be brief." + COMPARISONS[0]["query"]}
    write_rows(Path("train.jsonl"), [system, *COMPARISONS])
    found = train()
    assert found["train"]["dialogues_dropped"] == 1 and found["train"]["human_pairs"] == 4
    assert found["saved"] == {"rows_compared": 4, "chat_template_equal": 4}


def test_a_reward_model_is_taken_as_it_is() -> None:
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
    assert "base_model: own\n" in Path("taken/README.md").read_text()


def test_the_testing_rm_is_taken_or_trained_by_what_its_start_is() -> None:
    def play(start: str) -> Any:
        outputs = Outputs(Path("judge"), Path("judge_curves"), Path("judge.json"))
        data = [Path("train.jsonl")] * 3
        stages.test_rm.main(Path(start), *data, *outputs, params=Path("params.yaml"))
        return json.loads(Path("judge.json").read_text())["train_test_rm"]["train"]

    assert play("backbone")["human_pairs"] == 12
    train()
    assert play("rm") == {"trained_here": False}


def test_weights_in_half_the_bytes_change_the_rewards_by_a_rounding() -> None:
    set_params(dtype="bfloat16")
    found = train()["saved"]
    assert 0 < found.pop("reward_change") < 0.1
    assert found == {"rows_compared": 4, "chat_template_equal": 4}
    assert json.loads(Path("rm/config.json").read_text())["dtype"] == "bfloat16"


def test_nothing_to_train_on_is_one_message_and_leaves_nothing() -> None:
    write_rows(Path("train.jsonl"), COMPARISONS[3:])
    with pytest.raises(
        UserError, match=r"train\.jsonl: found no comparison to train on; expected at least one"
    ):
        train()
    assert not Path("rm").exists() and not Path("metrics.json").exists()


# What is checked after it was saved


@pytest.fixture
def model() -> RewardModel:
    return tiny.reward_model(Path("backbone"))


def test_a_saved_model_is_verified(model: RewardModel) -> None:
    save_reward_model(model, Path("rm"), tiny.CARD)
    found = verify(model, Path("rm"), Path("train.jsonl"), dtype="float32")
    assert found == {"rows_compared": 4, "chat_template_equal": 4}


def test_a_saved_model_that_differs_is_found(model: RewardModel) -> None:
    other = tiny.reward_model(Path("backbone"))
    with torch.no_grad():
        other.classifier.score.weight += 0.01
    save_reward_model(other, Path("rm"), tiny.CARD)
    with pytest.raises(UserError, match=r"rewards that differ by .* after saving as float32 and load"):
        verify(model, Path("rm"), Path("train.jsonl"), dtype="float32")
    assert list(read_rows(Path("train.jsonl"))) == COMPARISONS
    assert load_reward_model(Path("rm")).encoder.pooling == "last"
