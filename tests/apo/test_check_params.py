"""apo/check_params.py: what a later stage would refuse is refused before the first one."""

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from apo.check_params import check_params
from apo.core.errors import UserError
from tests.helpers.small_repo import ROOT

TWO_ROUNDS = [{"id": "r1", "prev": "r0"}, {"id": "r2", "prev": "r1"}]


def written(tmp_path: Path, **changes: Any) -> Path:
    """The committed parameters with others in the place of some: `{"align.max_length": 8}`."""
    content = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for name, value in changes.items():
        *sections, key = name.split("__")
        section = content
        for one in sections:
            section = section[one]
        section[key] = value
    (tmp_path / "params.yaml").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path / "params.yaml"


def test_check_params_passes_the_committed_file(tmp_path: Path) -> None:
    check_params(written(tmp_path))


@pytest.mark.parametrize("name", ["apo__coeff", "judge__max_tokens", "align__beta", "gate__bins"])
def test_check_params_refuses_a_value_of_a_late_stage(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=name.replace("__", r"\.")):
        check_params(written(tmp_path, **{name: -1}))


@pytest.mark.parametrize("name", ["actor", "backbone"])
def test_check_params_refuses_texts_that_split_did_not_write(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{name}\.start: found data/raw/documents\.jsonl"):
        check_params(written(tmp_path, **{f"{name}__start": "data/raw/documents.jsonl"}))


@pytest.mark.parametrize(
    ("changes", "parameter"),
    [
        ({"actor__start": "llm"}, r"sample\.rm\.max_prompt_tokens \+ max_new_tokens: found 256 tokens"),
        ({"backbone__start": "llm"}, r"model\.max_length: found 192 tokens"),
        (
            {"backbone__start": "llm", "model__max_length": 64},
            r"sample\.rm\.max_prompt_tokens .* found 256 tokens",
        ),
        ({"test_rm__start": "llm"}, r"model\.max_length: found 192 tokens"),
    ],
)
def test_check_params_refuses_a_checkpoint_of_too_few_positions(
    changes: dict[str, str], parameter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("llm").mkdir()
    Path("llm/config.json").write_text(json.dumps({"n_positions": 64}), encoding="utf-8")
    with pytest.raises(UserError, match=parameter + ".*a model of 64 positions"):
        check_params(written(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "parameter"),
    [
        (
            {"sample__llm__max_new_tokens": 128},
            r"sample\.llm\.max_prompt_tokens .* found 320",
        ),
        ({"align__max_length": 512}, r"align\.max_length: found 512"),
        ({"model__max_length": 512}, r"model\.max_length: found 512"),
    ],
)
def test_check_params_compares_with_the_positions_of_a_model_that_is_made_here(
    changes: dict[str, int], parameter: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=parameter + ".*backbone.max_length, a model of 256 positions"):
        check_params(written(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"sample__rm__num_samples": 2},
            r"sample\.rm\.num_samples: found 2; expected 4, as in apo\.num_samples",
        ),
        ({"apo__num_samples": 2}, r"sample\.rm\.num_samples: found 4; expected 2"),
        (
            {"gate__bins": 12},
            r"gate\.bins: found 12; expected one of evaluate_rm\.calibration_bins, \[5, 10, 20\]",
        ),
        ({"rjs__candidates": "samples_and_extra", "score__extra_answers": False}, r"rjs\.candidates: found"),
        ({"align__lr": {"r2": 0.1}}, r"align\.lr\.r1: found no such key"),
        ({"sample__llm__num_samples": 1}, r"sample\.llm\.num_samples: found 1; expected 2 or more"),
        ({"rjs__rewards": "source"}, r"rjs\.rewards: found source, and samples of the actor"),
        ({"sample__rm__origin": "source", "rounds": TWO_ROUNDS}, r"sample\.rm\.origin: found source, and 2"),
        ({"sample__llm__origin": "source", "rounds": TWO_ROUNDS}, r"sample\.llm\.origin: found source"),
        ({"score__backend": "vllm", "model__pooling": "max"}, r"score\.backend: found vllm, and model"),
        ({"sample__llm__backend": "vllm", "sample__llm__temperature": 3.0}, r"temperature: found 3"),
        ({"rm__start": "pretrained/nope"}, r"rm\.start: found pretrained/nope"),
        ({"test_rm__start": "pretrained/nope"}, r"test_rm\.start: found pretrained/nope"),
        ({"judge__prompt": "Which?"}, r"judge\.prompt: found the placeholders none"),
        ({"judge__model": "m", "judge__pairs": [["llm_apo_r9", "actor"]]}, r"judge\.pairs: found"),
    ],
)
def test_check_params_refuses_sections_that_contradict_each_other(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        check_params(written(tmp_path, **changes))


def test_check_params_takes_what_only_looks_like_a_contradiction(tmp_path: Path) -> None:
    by_the_source = {"sample__llm__origin": "source", "sample__llm__num_samples": 1, "rjs__rewards": "source"}
    check_params(written(tmp_path, **by_the_source))
    check_params(written(tmp_path, judge__model="m", judge__pairs=[["llm_apo_r1", "golden"]]))


def test_check_params_says_that_reward_models_would_start_from_a_small_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("llm").mkdir()
    params = written(tmp_path, data__source="hub", actor__start="llm")
    check_params(params)
    assert "note: backbone.start" in capsys.readouterr().err


def test_check_params_takes_fewer_samples_where_they_are_kept_or_brought(tmp_path: Path) -> None:
    check_params(written(tmp_path, sample__rm__num_samples=2, convert__short_samples="keep"))
    check_params(written(tmp_path, sample__rm__num_samples=2, sample__rm__origin="source"))
