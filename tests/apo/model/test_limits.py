"""apo/model/limits.py: positions and embeddings that a checkpoint does not have."""

import json
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.model.limits import POSITIONS, check_positions, check_vocabulary
from tests.helpers import tiny_models as tiny


def folder_of(folder: Path, content: dict[str, Any]) -> Path:
    (folder / "config.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("name", POSITIONS)
def test_check_positions_knows_the_names_of_all_families(tmp_path: Path, name: str) -> None:
    folder = folder_of(tmp_path, {name: 100})
    check_positions(folder, {"a": 100})
    with pytest.raises(UserError) as caught:
        check_positions(folder, {"a": 100, "align.max_length": 101})
    assert str(caught.value) == (
        f"params.yaml: align.max_length: found 101 tokens with {folder}, a model of 100 positions; "
        "expected at most 100; lower it"
    )


def test_check_positions_looks_into_the_text_part_of_a_model_of_several(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"text_config": {"max_position_embeddings": 10}, "n_positions": 99})
    with pytest.raises(UserError, match="a model of 10 positions"):
        check_positions(folder, {"a": 11})


@pytest.mark.parametrize("content", [{}, {"max_position_embeddings": None}, {"max_position_embeddings": "x"}])
def test_check_positions_refuses_nothing_where_nothing_is_said(
    tmp_path: Path, content: dict[str, Any]
) -> None:
    check_positions(folder_of(tmp_path, content), {"a": 10**9})


def test_check_positions_leaves_a_missing_checkpoint_to_those_who_load_it(tmp_path: Path) -> None:
    check_positions(tmp_path / "nowhere", {"a": 10**9})


def test_check_vocabulary_compares_the_highest_id_with_the_embeddings() -> None:
    tokenizer, model = tiny.tokenizer(), tiny.language_model()
    check_vocabulary(tokenizer, model, where="models/a")  # 380 of both
    model.resize_token_embeddings(400, mean_resizing=False)
    check_vocabulary(tokenizer, model, where="models/a")  # padded to a round number, as many are
    model.resize_token_embeddings(379, mean_resizing=False)
    with pytest.raises(UserError, match=r"models/a: found a tokenizer with id 379 .* with 379 embeddings"):
        check_vocabulary(tokenizer, model, where="models/a")
