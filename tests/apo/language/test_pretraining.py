"""apo/language/pretraining.py: a backbone from texts alone."""

import json
from pathlib import Path

import pytest

from apo.core.errors import UserError
from apo.core.records import write_rows
from apo.language.pretraining import pretrain
from apo.language.settings import Backbone
from apo.model.checkpoint import load_language_model, load_tokenizer
from apo.training.outputs import Outputs
from tests.helpers import tiny_models as tiny

SIZES = {"vocab_size": 300, "hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 32}


def pretrained(folder: Path, texts: list[str]) -> Outputs:
    write_rows(folder / "texts.jsonl", [{"text": text} for text in texts])
    values = {"start": "", "chat_template": "own", "refused_dialogues": "error", "rope_theta": 10000.0}
    settings = tiny.optimizer(Backbone, max_length=32, batch_size=4, **values, **SIZES)
    outputs = Outputs(folder / "backbone", folder / "curve.csv", folder / "metrics.json")
    pretrain("backbone", folder / "texts.jsonl", settings, Path("templates"), seed=1, outputs=outputs)
    return outputs


@pytest.fixture(autouse=True)
def _checkpoints_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


def test_pretrain_saves_a_checkpoint_and_its_sizes(tmp_path: Path) -> None:
    outputs = pretrained(tmp_path, tiny.TEXTS[:8])
    metrics = json.loads(outputs.metrics.read_text(encoding="utf-8"))["backbone"]
    model, tokenizer = load_language_model(outputs.out), load_tokenizer(outputs.out)
    assert metrics["vocabulary_size"] == len(tokenizer) == model.config.vocab_size
    assert metrics["parameters"] == model.num_parameters() and metrics["pretrained_here"] is True
    assert metrics["documents"] == 8 and metrics["final_loss"] > 0
    card = (outputs.out / "README.md").read_text(encoding="utf-8")
    assert "which started from random weights" in card and "texts.jsonl`, 8 rows" in card


def test_pretrain_refuses_no_texts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"found no texts; .* set backbone\.start"):
        pretrained(tmp_path, [])
    assert not (tmp_path / "backbone").exists()
