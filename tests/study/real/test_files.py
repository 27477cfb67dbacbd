"""study/real/files.py: drawing, names, and what is missing."""

import json
import lzma
from pathlib import Path

import pytest

from apo.core.errors import UserError
from apo.core.records import read_rows
from study.real import files
from study.real.files import check_sources, data_changes, drawn_rows, file_name, write_files
from study.real.settings import DataFile, read_real_settings

ROWS = [{"id": index} for index in range(50)]
SETTINGS = read_real_settings().model_copy(
    update={
        "files": [
            DataFile(part="rm", name="harmless", file="train.jsonl", rows=5),
            DataFile(part="test", name="harmless", file="test.json.xz", rows=5),
        ]
    }
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    (folder / "test.json.xz").write_bytes(lzma.compress(json.dumps(ROWS).encode()))
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}", encoding="utf-8")
    return folder


def test_drawn_rows_are_in_order_follow_the_draw_and_are_all_for_zero(data: Path) -> None:
    path = data / "train.jsonl"
    drawn = drawn_rows(path, 10, "1 rm")
    assert drawn == sorted(drawn, key=lambda row: row["id"])
    assert len({row["id"] for row in drawn}) == 10
    assert drawn == drawn_rows(path, 10, "1 rm") != drawn_rows(path, 10, "2 rm")
    assert drawn_rows(data / "test.json.xz", 0, "1 rm") == ROWS


def test_write_files_draws_the_same_test_rows_for_every_seed(data: Path, tmp_path: Path) -> None:
    copies = [tmp_path / name for name in ("one", "two")]
    for seed, copy in enumerate(copies, start=1):
        write_files(SETTINGS, data, tmp_path / "model", copy, seed=seed)
        write_files(SETTINGS, data, tmp_path / "model", copy, seed=seed)  # again, over what is there
    train, test = (
        [read_rows(copy / files.FOLDER / file_name(file)) for copy in copies] for file in SETTINGS.files
    )
    assert list(train[0]) != list(train[1])
    assert list(test[0]) == list(test[1])
    assert (copies[0] / files.MODEL / "config.json").is_file()


def test_parts_that_share_a_file_draw_other_rows(data: Path, tmp_path: Path) -> None:
    shared = [DataFile(part=part, name="harmless", file="train.jsonl", rows=10) for part in ("rm", "llm")]
    settings = SETTINGS.model_copy(update={"files": shared})
    write_files(settings, data, tmp_path / "model", tmp_path / "copy", seed=1)
    paths = [tmp_path / "copy" / files.FOLDER / file_name(file) for file in shared]
    rm, llm = ({row["id"] for row in read_rows(path)} for path in paths)
    assert len(rm & llm) < 6  # 2 of 10 are expected by chance


def test_data_changes_name_the_files_by_part() -> None:
    assert data_changes(SETTINGS) == {
        "data.files.rm": ["harmless.rm.jsonl"],
        "data.files.llm": [],
        "data.files.test": ["harmless.test.jsonl"],
        "data.files.golden": [],
    }


def test_check_sources_names_all_that_is_missing(data: Path, tmp_path: Path) -> None:
    check_sources(SETTINGS, data, tmp_path / "model")
    (data / "train.jsonl").unlink()
    with pytest.raises(UserError, match=r"train\.jsonl.*, no .*nowhere/config\.json"):
        check_sources(SETTINGS, data, tmp_path / "nowhere")
