"""apo/model/checkpoint_files.py: broken folders are refused, folders are written as a whole."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from apo.core.errors import UserError
from apo.model.checkpoint import (
    load_language_model,
    load_reward_model,
    save_reward_model,
    start_reward_model,
)
from apo.model.checkpoint_files import unchanged_fraction
from apo.model.settings import Model
from tests.helpers import tiny_models as tiny
from tests.helpers.checkpoints import (
    edit_config,
    only_a_pickle,
    rewards,
    write_text,
)


def test_unchanged_fraction_is_that_of_the_weights_both_have(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    save_file({"a": torch.tensor([1.0, 2.0, 3.0]), "only": torch.ones(9)}, first / "model-1.safetensors")
    save_file({"b": torch.tensor([4.0]), "other": torch.ones(2)}, first / "model-2.safetensors")
    save_file(
        {"a": torch.tensor([1.0, 2.5, 3.0]), "b": torch.tensor([4.0]), "other": torch.ones(3)},
        second / "model.safetensors",
    )
    assert unchanged_fraction(first, second) == 3 / 4
    save_file({"a": torch.tensor([1.0, 2.001, 3.0], dtype=torch.bfloat16)}, second / "model.safetensors")
    save_file({"a": torch.tensor([1.0, 2.001, 3.001])}, first / "model-1.safetensors")
    assert unchanged_fraction(first, second) == 1.0
    (first / "model-1.safetensors").unlink()
    (first / "model-2.safetensors").unlink()
    assert unchanged_fraction(first, second) is None


def test_write_model_writes_safetensors_and_text_alone(start: Path) -> None:
    """Safetensors and text alone: no pickle, nothing that says when or where it was made."""
    save_reward_model(tiny.reward_model(start), start.parent / "rm", tiny.CARD)
    assert (start.parent / "rm" / "README.md").read_text() == (start / "README.md").read_text() == tiny.CARD
    assert sorted(path.name for path in (start.parent / "rm").iterdir()) == [
        "README.md",
        "chat_template.jinja",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert str(start.parent) not in "".join(
        path.read_text() for path in (start.parent / "rm").iterdir() if path.suffix != ".safetensors"
    )


def test_write_model_gives_the_same_bytes_twice(start: Path) -> None:
    for name in ("a", "b"):
        save_reward_model(tiny.reward_model(start, separator="<sep>"), start.parent / name, tiny.CARD)
    for path in (start.parent / "a").iterdir():
        assert path.read_bytes() == (start.parent / "b" / path.name).read_bytes(), path.name


def cut_in_half(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def without_a_layer(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no folder": (shutil.rmtree, "no such folder"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "no config.json in it"),
    "only a pickle": (only_a_pickle, r"no \*\.safetensors file.*pickles are not loaded"),
    "half the weights": (cut_in_half, "does not load"),
    "empty weights": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "does not load"),
    "a weight is missing": (without_a_layer, r"weights without model\.layers\.1\.mlp\.up_proj\.weight"),
    "more layers than weights": (
        edit_config(num_hidden_layers=3),
        r"without model\.layers\.2\..* and 8 more",
    ),
    "other sizes": (edit_config(hidden_size=48), "does not load"),
    "sizes that do not go together": (edit_config(num_attention_heads=3), "does not load"),
    "a size that is text": (edit_config(hidden_size="wide"), "does not load"),
    "an unknown type": (edit_config(model_type="nothing"), "does not load"),
    "config is no JSON": (
        write_text("config.json", "{oh"),
        "does not load|found JSONDecodeError.* a JSON object",
    ),
    "config is a list": (
        write_text("config.json", "[]"),
        r"does not load|found \[\]; expected a JSON object",
    ),
    "config is empty": (write_text("config.json", "{}"), "does not load|under the key `apo`"),
    "tokenizer is no JSON": (write_text("tokenizer.json", "{oh"), "does not load"),
    "tokenizer is empty": (write_text("tokenizer.json", "{}"), "does not load"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_check_checkpoint_refuses_a_broken_folder_in_one_sentence(start: Path, name: str) -> None:
    spoil, message = BROKEN[name]
    save_reward_model(tiny.reward_model(start), start.parent / "rm", tiny.CARD)
    spoil(start.parent / "rm")
    with pytest.raises(UserError, match=message) as caught:
        load_reward_model(start.parent / "rm")
    assert str(caught.value).startswith(str(start.parent / "rm"))
    with pytest.raises(UserError, match=message):
        start_reward_model(start.parent / "rm", Model(**tiny.READING), seed=1)
    if "tokenizer" not in name:
        spoil_again = start.parent / "lm"
        shutil.copytree(start, spoil_again)
        spoil(spoil_again)
        with pytest.raises(UserError, match=message):
            load_language_model(spoil_again)


def test_write_model_in_bfloat16_leaves_the_trained_weights_alone(start: Path) -> None:
    model = tiny.reward_model(start)
    save_reward_model(model, start.parent / "rm", tiny.CARD, dtype="bfloat16")
    weights = load_file(start.parent / "rm" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    assert json.loads((start.parent / "rm" / "config.json").read_text())["dtype"] == "bfloat16"
    again = load_reward_model(start.parent / "rm")
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    assert {p.dtype for p in model.parameters()} == {torch.float32}  # what trains on is left alone
    assert rewards(again) == pytest.approx(rewards(model), abs=0.02)


def test_explain_load_errors_runs_no_remote_code(start: Path) -> None:
    """A config that names code of its own loads the library's class, or nothing."""
    code = "raise SystemExit('run')"
    write_text("modeling_own.py", code)(start)
    edit_config(auto_map={"AutoModelForCausalLM": "modeling_own.Own", "AutoConfig": "modeling_own.Own"})(
        start
    )
    assert type(load_language_model(start)).__module__ == "transformers.models.llama.modeling_llama"
    edit_config(model_type="own")(start)
    with pytest.raises(UserError, match="does not load"):
        load_language_model(start)


def test_atomic_folder_leaves_the_old_folder_if_a_save_fails(
    start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = start.parent / "rm"
    model = tiny.reward_model(start)
    save_reward_model(model, folder, tiny.CARD)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(type(model.encoder.tokenizer), "save_pretrained", full)
    with torch.no_grad():
        model.classifier.score.weight += 1
    with pytest.raises(UserError, match="found no space left"):
        save_reward_model(model, folder, tiny.CARD)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(UserError, match="found no space left"):
        save_reward_model(model, start.parent / "new", tiny.CARD)
    assert sorted(path.name for path in start.parent.iterdir()) == ["backbone", "rm"]


def test_atomic_folder_replaces_the_whole_folder(start: Path) -> None:
    folder = start.parent / "rm"
    folder.mkdir()
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"of another model")
    (start.parent / "rm.tmp").mkdir()  # of a run that was killed
    save_reward_model(tiny.reward_model(start), folder, tiny.CARD)
    assert not (folder / "model-00001-of-00002.safetensors").exists()
    assert not (start.parent / "rm.tmp").exists()
    load_reward_model(folder)
