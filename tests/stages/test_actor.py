"""stages/actor.py and stages/backbone.py: what they start from."""

import json
from pathlib import Path

import pytest

import stages.actor
import stages.backbone
from apo.core.errors import UserError
from apo.core.records import write_rows
from tests.helpers import tiny_models as tiny
from tests.helpers.bad_input import PARAMS

TEXTS = {"actor": "demonstrations.jsonl", "backbone": "documents.jsonl"}


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with a backbone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("APO_DEVICE", "cpu")
    Path("params.yaml").write_text(json.dumps({key: PARAMS[key] for key in ("seed", "training", *TEXTS)}))
    tiny.backbone(Path("models/backbone"))


def start(stage: str, texts: Path) -> None:
    paths = {"start_from": texts, "templates": Path("templates"), "out": Path("out")}
    paths |= {"curves": Path("curve.csv"), "metrics": Path("metrics.json")}
    if stage == "actor":
        stages.actor.main(backbone=Path("models/backbone"), **paths)
    else:
        stages.backbone.main(**paths)


@pytest.mark.parametrize("stage", TEXTS)
@pytest.mark.parametrize("folder", ["data/raw", "data/none"])
def test_a_start_is_a_folder_or_the_file_that_split_writes(stage: str, folder: str) -> None:
    """The raw file has the queries of valid and test too."""
    texts = Path(folder) / TEXTS[stage]
    if folder == "data/raw":
        write_rows(texts, [{"query": tiny.query("Who?"), "response": "me", "text": "Who?"}])
    message = rf"{stage}\.start: found {texts}; expected a folder .*, or data/split/{TEXTS[stage]}; "
    with pytest.raises(UserError, match=message):
        start(stage, texts)


@pytest.mark.parametrize(("stage", "key"), [("actor", "response"), ("backbone", "text")])
def test_a_text_that_is_missing_is_named_with_its_row(stage: str, key: str) -> None:
    texts = Path("data/split") / TEXTS[stage]
    row = {"query": tiny.query("Who?"), "response": "me", "text": "Who?"}
    write_rows(texts, [row, {name: value for name, value in row.items() if name != key}])
    with pytest.raises(UserError, match=rf"{TEXTS[stage]}:2: found no key '{key}'"):
        start(stage, texts)
