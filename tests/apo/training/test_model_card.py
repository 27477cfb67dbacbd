"""apo/training/model_card.py: the model card of a checkpoint, as Hugging Face reads it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from ruamel.yaml import YAML

import stages.actor
import stages.backbone
from apo.core.errors import UserError
from apo.core.records import write_json, write_rows
from apo.language.settings import FineTuning
from apo.language.sft import fine_tune
from apo.reward.recipe import train_rm
from apo.training.model_card import language_model_card
from apo.training.outputs import Outputs
from tests.helpers import tiny_models as tiny

ROOT = Path(__file__).parents[3]
PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a backbone and comparisons."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("APO_DEVICE", "cpu")
    tiny.backbone(Path("models/backbone"))
    for name, numbers in (("rm_train", range(1, 7)), ("test", range(4, 8))):
        rows = [
            {
                "query": tiny.query(f"What is {n} plus {n}?"),
                "responses": [f"{2 * n}", "no"],
                "scores": [1.0, 0.0],
            }
            for n in numbers
        ]
        write_rows(Path(f"data/split/{name}.jsonl"), rows)
    write_json(Path("data/raw/truth.json"), {})
    model = PARAMS["model"] | {"max_length": 64}
    rm = PARAMS["rm"] | {"warmup_steps": 0, "calibration_bins": [5, 10]}
    Path("params.yaml").write_text(json.dumps({"seed": 1, "model": model, "rm": rm}))
    return tmp_path


def train() -> dict[str, Any]:
    """Trains `models/rm_base`; its metrics."""
    train_rm(
        "base_rm",
        start=Path("models/backbone"),
        comparisons=[Path("data/split/rm_train.jsonl")],
        measured_on={"test": Path("data/split/test.jsonl")},
        truth=Path("data/raw/truth.json"),
        out=Path("models/rm_base"),
        curves=Path("metrics/curves/train_base_rm"),
        metrics=Path("metrics/train_base_rm.json"),
        params=Path("params.yaml"),
    )
    found: dict[str, Any] = json.loads(Path("metrics/train_base_rm.json").read_text())["base_rm"]
    return found


def run_example(card: str) -> dict[str, Any]:
    """Runs the code that the card shows; its variables."""
    variables: dict[str, Any] = {}
    [code] = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    exec(code, variables)
    return variables


def test_the_card_of_a_reward_model_holds_what_the_stage_measured(repository: Path) -> None:
    metrics = train()
    text = Path("models/rm_base/README.md").read_text(encoding="utf-8")
    front = YAML(typ="safe").load(text.split("---\n")[1])
    assert front["base_model"] == "models/backbone"
    assert front["library_name"] == "transformers"
    assert front["pipeline_tag"] == "text-classification"
    assert front["tags"] == ["apo", "reward-model"]
    card = ModelCard.load(repository / "models/rm_base/README.md")
    assert card.data.model_name == "rm_base"
    results = card.data.eval_results
    test = metrics["test"]
    assert [(result.metric_type, result.metric_value) for result in results] == [
        ("accuracy", test["accuracy"]),
        ("nll", test["nll"]),
        ("ece", test["ece_5"]),
        ("ece", test["ece_10"]),
    ]
    assert {result.dataset_name for result in results} == {"data/split/test.jsonl"}
    assert {result.verified for result in results} == {False}
    assert "\n- `data/split/rm_train.jsonl`, 6 rows\n" in text
    assert f"- Accuracy: {test['accuracy']:.4f}\n" in text
    assert f"- Expected calibration error (10 bins): {test['ece_10']:.4f}\n" in text
    assert metrics["saved"]["rows_compared"] == 4
    assert str(repository) not in text and "sha256" not in text
    assert "license" not in front and "No licence is claimed for these weights" in text
    assert run_example(text)["reward"].isfinite()


def test_adapters_stand_beside_the_merged_model_and_on_its_card(repository: Path) -> None:
    whole = train()
    assert "`lora`" not in Path("models/rm_base/README.md").read_text()
    assert not Path("models/rm_base/adapter").exists() and "trained_weights" not in whole["train"]
    params = json.loads(Path("params.yaml").read_text())
    params["rm"]["lora"] = {"rank": 2, "alpha": 4.0, "targets": ["v_proj"]}
    Path("params.yaml").write_text(json.dumps(params))
    found = train()
    assert found["train"]["trained_weights"] == 2 * 2 * (32 + 32) + 32  # two layers, and the head
    assert found["saved"]["rows_compared"] == 4
    assert '- `lora`: {"rank": 2, "alpha": 4.0, "targets": ["v_proj"]}\n' in Path(
        "models/rm_base/README.md"
    ).read_text(encoding="utf-8")
    config = json.loads(Path("models/rm_base/adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "models/backbone"
    assert str(repository) not in json.dumps(config)
    params["rm"]["lora"]["targets"] = ["values"]
    Path("params.yaml").write_text(json.dumps(params))
    with pytest.raises(UserError, match=r"params.yaml: rm.lora.targets: found 'values', which is no linear"):
        train()


def test_the_same_training_gives_the_same_card(repository: Path) -> None:
    train()
    first = Path("models/rm_base/README.md").read_bytes()
    train()
    assert Path("models/rm_base/README.md").read_bytes() == first


def test_another_pooling_is_opened_by_this_library(repository: Path) -> None:
    params = json.loads(Path("params.yaml").read_text())
    params["model"]["pooling"] = "average"
    Path("params.yaml").write_text(json.dumps(params))
    train()
    text = Path("models/rm_base/README.md").read_text(encoding="utf-8")
    assert run_example(text)["model"].encoder.pooling == "average"
    assert "AutoModel" not in text


def test_the_card_of_a_language_model_says_what_it_learned_from(repository: Path) -> None:
    settings = tiny.optimizer(FineTuning, max_length=64)
    write_rows(Path("data/rjs/apo.jsonl"), [{}, {}])
    fine_tune(
        "llm_apo",
        Path("models/backbone"),
        [(tiny.query("Who?"), "me"), (tiny.query("Why?"), "so")],
        settings,
        source=Path("data/rjs/apo.jsonl"),
        seed=1,
        to=Outputs(
            Path("models/llm_apo"), Path("metrics/curves/align_apo.csv"), Path("metrics/align_apo.json")
        ),
    )
    card = ModelCard.load(repository / "models/llm_apo/README.md")
    assert card.data.base_model == "models/backbone"
    assert (card.data.library_name, card.data.pipeline_tag) == ("transformers", "text-generation")
    assert card.data.eval_results is None
    assert "\n- `data/rjs/apo.jsonl`, 2 rows\n" in card.text
    assert f"\n- `lr`: {settings.lr}\n" in card.text
    assert card.data.license is None and "No licence is claimed for these weights" in card.text
    assert isinstance(run_example(card.text)["answer"], str)


@pytest.mark.parametrize("stage", ["backbone", "actor"])
def test_a_checkpoint_that_is_taken_says_so(repository: Path, stage: str) -> None:
    own = tiny.backbone(repository / "elsewhere" / "own_llama")
    Path("params.yaml").write_text(json.dumps({"seed": 1, stage: PARAMS[stage]}))
    paths = {"out": Path("models/taken"), "curves": Path("c.csv"), "metrics": Path("m.json"), "start": own}
    if stage == "actor":
        stages.actor.main(backbone=Path("models/backbone"), **paths)
    else:
        stages.backbone.main(**paths)
    card = ModelCard.load(repository / "models/taken/README.md")
    assert card.data.base_model == "elsewhere/own_llama"
    assert "nothing was trained here" in card.text and "`lr`" not in card.text


def test_no_folder_of_the_machine_is_told(tmp_path: Path) -> None:
    text = language_model_card(
        tmp_path / "models" / "llm",
        start=tmp_path / "own_llama",
        trained_on={tmp_path / "answers.jsonl": 3},
        settings={"lr": 1.0e-3},
        parameters=7,
    )
    assert str(tmp_path) not in text
    assert "base_model: own_llama\n" in text and "- `answers.jsonl`, 3 rows\n" in text


def test_a_backbone_from_random_weights_has_no_base() -> None:
    text = language_model_card(
        Path("models/backbone"), trained_on={Path("data/split/documents.jsonl"): 3}, settings={}, parameters=7
    )
    assert "base_model" not in text
    assert "7 parameters, which started from random weights." in text
