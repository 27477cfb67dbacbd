"""apo/language/sft.py: what a fine-tuning writes into its metrics."""

import json
from pathlib import Path

import pytest

from apo.language.settings import FineTuning
from apo.language.sft import fine_tune
from apo.training.outputs import Outputs
from tests.helpers import tiny_models as tiny


@pytest.mark.parametrize(("warmup", "expected"), [(1, None), (2, 1), (10, 1)])
def test_metrics_say_that_a_training_was_warmup_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warmup: int, expected: int | None
) -> None:
    """Four answers in batches of two are two optimizer steps."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    tiny.backbone(tmp_path / "start")
    source = tmp_path / "answers.jsonl"
    source.touch()
    settings = tiny.optimizer(FineTuning, max_length=64, batch_size=2, warmup_steps=warmup)
    answers = [
        (tiny.query(f"Tell me of the {word}."), "A dog.") for word in ("story", "fox", "day", "friend")
    ]
    outputs = Outputs(tmp_path / "llm", tmp_path / "curve.csv", tmp_path / "metrics.json")
    fine_tune("actor", tmp_path / "start", answers, settings, source=source, seed=1, to=outputs)
    metrics = json.loads(outputs.metrics.read_text(encoding="utf-8"))["actor"]
    assert metrics.get("warmup_only") == expected
