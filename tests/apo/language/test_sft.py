"""apo/language/sft.py: what a fine-tuning writes into its metrics."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from apo.core.errors import UserError
from apo.language.settings import Actor
from apo.language.sft import fine_tune
from apo.model.checkpoint import load_tokenizer, save_language_model
from apo.model.hh_template import hh_template
from apo.training.outputs import Outputs
from tests.helpers import tiny_models as tiny


def settings(**changes: Any) -> Actor:
    defaults = {"start": "x", "chat_template": "own", "refused_dialogues": "error", "max_length": 64}
    actor: Actor = tiny.optimizer(Actor, **(defaults | changes))
    return actor


@pytest.mark.parametrize(("warmup", "expected"), [(1, None), (2, 1), (10, 1)])
def test_fine_tune_reports_a_training_of_warmup_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warmup: int, expected: int | None
) -> None:
    """Four answers in batches of two are two optimizer steps."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    metrics = tuned(tmp_path, batch_size=2, warmup_steps=warmup)
    assert metrics.get("warmup_only") == expected
    assert metrics["queries_dropped_cut_away"] == 0


def tuned(folder: Path, *, answer: str = "A dog.", **changes: Any) -> dict[str, Any]:
    """The metrics of a training on four answers."""
    if not (folder / "start").exists():
        tiny.backbone(folder / "start")
    source = folder / "answers.jsonl"
    source.touch()
    answers = [(tiny.query(f"Tell me of the {word}."), answer) for word in ("story", "fox", "day", "friend")]
    outputs = Outputs(folder / "llm", folder / "curve.csv", folder / "metrics.json")
    fine_tune(
        "actor",
        folder / "start",
        answers,
        settings(**changes),
        Path("templates"),
        source=source,
        seed=1,
        outputs=outputs,
    )
    metrics: dict[str, Any] = json.loads(outputs.metrics.read_text(encoding="utf-8"))["actor"]
    return metrics


def test_fine_tune_refuses_answers_that_all_lose_their_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with pytest.raises(UserError, match=r"no answer.*4.*actor\.max_length"):
        tuned(tmp_path, answer="1 2 3 4 5 6 7 8 9", max_length=8)
    assert not (tmp_path / "llm").exists()


def test_fine_tune_saves_the_named_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    template = (
        "{% for m in messages %}{{ m['role'] + ':' + m['content'] + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
    )
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = template
    save_language_model(tiny.language_model(), tokenizer, tmp_path / "start", tiny.CARD)
    tuned(tmp_path)
    assert load_tokenizer(tmp_path / "llm").chat_template == template
    tuned(tmp_path, chat_template="hh", refused_dialogues="merge")
    saved = load_tokenizer(tmp_path / "llm")
    assert saved.chat_template == hh_template()
    assert saved.init_kwargs["refused_dialogues"] == "merge"


def test_fine_tune_resumes_no_training_of_another_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings name the file of the template; what is trained on is what it says."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Path("templates").mkdir()
    weights = []
    for mark in ("", "# ", ""):
        turns = "{% for m in messages %}MARK{{ m['role'] + ':' + m['content'] + eos_token }}{% endfor %}"
        prompt = "{% if add_generation_prompt %}MARKassistant:{% endif %}"
        Path("templates/my.jinja").write_text((turns + prompt).replace("MARK", mark))
        tuned(tmp_path, chat_template="my.jinja", refused_dialogues="merge")
        weights.append((tmp_path / "llm/model.safetensors").read_bytes())
    assert weights[0] == weights[2] != weights[1]


def test_fine_tune_saves_weights_in_the_named_dtype(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for dtype in ("float32", "bfloat16"):
        tuned(tmp_path, dtype=dtype)
        weights = load_file(tmp_path / "llm" / "model.safetensors")
        assert {str(tensor.dtype) for tensor in weights.values()} == {f"torch.{dtype}"}
        assert json.loads((tmp_path / "llm" / "config.json").read_text())["dtype"] == dtype
