"""apo/training/model_card.py: the model card of a checkpoint, as Hugging Face reads it."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from ruamel.yaml import YAML

import stages.actor
import stages.backbone
from apo.core.records import write_rows
from apo.language.settings import Actor
from apo.language.sft import fine_tune
from apo.model.versions import VERSIONS
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
    monkeypatch.setenv("APO_THREADS", "1")
    tiny.backbone(Path("models/backbone"))
    rows = [
        {"query": tiny.query(f"What is {n} plus {n}?"), "responses": [f"{2 * n}", "no"], "scores": [1.0, 0.0]}
        for n in range(1, 7)
    ]
    write_rows(Path("data/split/rm_train.jsonl"), rows)
    set_params()
    return tmp_path


def set_params(*, pooling: str = "last", **rm: Any) -> None:
    model = PARAMS["model"] | {"max_length": 64, "pooling": pooling}
    content = {"seed": 1, "model": model, "rm": PARAMS["rm"] | {"warmup_steps": 0} | rm}
    Path("params.yaml").write_text(json.dumps(content | {"training": PARAMS["training"]}))


def train() -> str:
    """Trains `models/rm_base`; its card."""
    train_rm(
        "base_rm",
        start=Path("models/backbone"),
        comparisons=[Path("data/split/rm_train.jsonl")],
        outputs=Outputs(
            Path("models/rm_base"), Path("metrics/curves/train_base_rm"), Path("metrics/train_base_rm.json")
        ),
        params=Path("params.yaml"),
    )
    return Path("models/rm_base/README.md").read_text(encoding="utf-8")


def run_example(card: str) -> dict[str, Any]:
    """Runs the code that the card shows; its variables."""
    variables: dict[str, Any] = {}
    [code] = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    exec(code, variables)
    return variables


def test_reward_model_card_says_what_it_was_made_of(repository: Path) -> None:
    text = train()
    front = YAML(typ="safe").load(text.split("---\n")[1])
    assert front == {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["apo", "reward-model"],
    }
    assert ModelCard.load(repository / "models/rm_base/README.md").data.eval_results is None
    assert "\n- `data/split/rm_train.jsonl`, 6 rows\n" in text
    assert f"\n- `lr`: {PARAMS['rm']['lr']}\n" in text and "`lora`" not in text
    assert f"\n- `weight_decay`: {PARAMS['training']['weight_decay']}\n" in text
    assert str(repository) not in text and "sha256" not in text
    assert "No licence is claimed for these weights" in text
    assert run_example(text)["reward"].isfinite()


def test_reward_model_card_names_device_and_versions(repository: Path) -> None:
    """Device, threads and the versions of what computes; nothing that differs between two runs."""
    text = train()
    for name in ("torch", "transformers", "tokenizers"):
        assert f'\n- `{name}`: "{VERSIONS[name]}"\n' in text
    assert f'\n- `python`: "{sys.version_info.major}.{sys.version_info.minor}"\n' in text
    assert '\n- `device`: "cpu"\n' in text and "\n- `threads`: 1\n" in text
    assert "`engine`" not in text  # one process
    assert train() == text


def test_reward_model_card_names_adapters(repository: Path) -> None:
    set_params(lora={"rank": 2, "alpha": 4.0, "targets": ["v_proj"]})
    text = train()
    assert '- `lora`: {"rank": 2, "alpha": 4.0, "targets": ["v_proj"]}\n' in text
    assert f'- `peft`: "{VERSIONS["peft"]}"\n' in text


def test_reward_model_card_of_another_pooling_names_this_library(repository: Path) -> None:
    set_params(pooling="average")
    text = train()
    assert run_example(text)["model"].encoder.pooling == "average"
    assert "AutoModel" not in text


def test_language_model_card_says_what_it_learned_from(repository: Path) -> None:
    values = {"start": "x", "chat_template": "own", "refused_dialogues": "error"}
    settings = tiny.optimizer(Actor, max_length=64, **values)
    write_rows(Path("data/rjs/apo.jsonl"), [{}, {}])
    fine_tune(
        "llm_apo",
        Path("models/backbone"),
        [(tiny.query("Who?"), "me"), (tiny.query("Why?"), "so")],
        settings,
        Path("data/chat_templates"),
        source=Path("data/rjs/apo.jsonl"),
        seed=1,
        outputs=Outputs(
            Path("models/llm_apo"), Path("metrics/curves/align_apo.csv"), Path("metrics/align_apo.json")
        ),
    )
    card = ModelCard.load(repository / "models/llm_apo/README.md")
    assert card.data.base_model is None  # a folder: the hub takes its own ids alone
    assert "`models/backbone`" in card.text
    assert (card.data.library_name, card.data.pipeline_tag) == ("transformers", "text-generation")
    assert card.data.eval_results is None
    assert "\n- `data/rjs/apo.jsonl`, 2 rows\n" in card.text
    assert f"\n- `lr`: {settings.lr}\n" in card.text
    assert card.data.license is None and "No licence is claimed for these weights" in card.text
    assert isinstance(run_example(card.text)["answer"], str)


@pytest.mark.parametrize("stage", ["backbone", "actor"])
def test_language_model_card_of_an_adopted_checkpoint_says_so(repository: Path, stage: str) -> None:
    checkpoint = tiny.backbone(repository / "elsewhere" / "own_llama")
    Path("params.yaml").write_text(json.dumps({key: PARAMS[key] for key in ("seed", "training", stage)}))
    paths = {
        "out": Path("models/taken"),
        "curves": Path("c.csv"),
        "metrics": Path("m.json"),
        "start_from": checkpoint,
    }
    if stage == "actor":
        stages.actor.main(backbone=Path("models/backbone"), templates=Path("templates"), **paths)
    else:
        stages.backbone.main(templates=Path("templates"), **paths)
    card = ModelCard.load(repository / "models/taken/README.md")
    assert "`elsewhere/own_llama`" in card.text
    assert "nothing was trained here" in card.text and "`lr`" not in card.text


def test_language_model_card_names_no_folder_of_the_machine(tmp_path: Path) -> None:
    text = language_model_card(
        tmp_path / "models" / "llm",
        start=tmp_path / "own_llama",
        trained_on={tmp_path / "answers.jsonl": 3},
        settings={"lr": 1.0e-3},
        parameters=7,
    )
    assert str(tmp_path) not in text
    assert "`own_llama`" in text and "- `answers.jsonl`, 3 rows\n" in text


def test_language_model_card_of_random_weights_says_so() -> None:
    text = language_model_card(
        Path("models/backbone"), trained_on={Path("data/split/documents.jsonl"): 3}, settings={}, parameters=7
    )
    assert "7 parameters, which started from random weights." in text
