"""study/real/files.py: drawing, names, and what is missing."""

import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.core.records import read_rows
from study.real import files
from study.real.files import (
    check_sources,
    data_changes,
    drawn_files,
    file_name,
    first_words,
    hash_of_sources,
    write_files,
)
from study.real.settings import DataFile, read_real_settings

ROWS = [
    {"query": f"\n\nHuman: question {index // 2}\n\nAssistant:", "responses": ["one two three", f"b{index}"]}
    | {"scores": [1, 0]}
    for index in range(60)
]
SETTINGS = read_real_settings().model_copy(
    update={
        "max_words": 2,
        "files": [
            DataFile(part="rm", name="harmless", file="train.jsonl", rows=5),
            DataFile(part="llm", name="harmless", file="train.jsonl", rows=25),
            DataFile(part="test", name="harmless", file="test.json.xz", rows=5),
            DataFile(part="golden", name="golden", file="golden.jsonl", rows=0),
        ],
    }
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    golden = [{"query": row["query"], "golden": "a b c"} for row in ROWS[::2]]
    for name, rows in {"train.jsonl": ROWS, "golden.jsonl": golden}.items():
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "test.json.xz").write_bytes(lzma.compress(json.dumps(ROWS).encode()))
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}", encoding="utf-8")
    return folder


def drawn(data: Path, seed: int) -> list[list[dict[str, Any]]]:
    return [rows for _, rows in drawn_files(SETTINGS, data, seed)]


def test_drawn_rows_follow_the_seed_but_those_of_test(data: Path) -> None:
    rm, llm, test, golden = drawn(data, 1)
    assert [len(rm), len(llm), len(test), len(golden)] == [5, 25, 5, 30]
    assert drawn(data, 1) == [rm, llm, test, golden]
    assert drawn(data, 2)[0] != rm and drawn(data, 2)[2] == test


def test_no_two_drawn_rows_of_a_file_have_one_query(data: Path) -> None:
    rm, llm, *_ = drawn(data, 1)
    assert len({row["query"] for row in rm + llm}) == 30


def test_drawn_files_refuses_more_rows_than_there_are_queries(data: Path) -> None:
    more = [file.model_copy(update={"rows": 26}) if file.part == "llm" else file for file in SETTINGS.files]
    with pytest.raises(UserError, match=r"train\.jsonl: found 30 queries; expected 31, for the parts"):
        list(drawn_files(SETTINGS.model_copy(update={"files": more}), data, 1))


def test_write_files_cuts_the_answers_and_links_the_model(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for _ in range(2):  # again, over what is there
        write_files(SETTINGS, data, tmp_path / "model", copy, seed=1)
    rm, *_, golden = ([*read_rows(copy / files.FOLDER / file_name(file))] for file in SETTINGS.files)
    assert {row["responses"][0] for row in rm} == {"one two"}
    assert {row["golden"] for row in golden} == {"a b"}
    assert (copy / files.MODEL / "config.json").is_file()


def test_hash_of_sources_is_that_of_the_content(data: Path, tmp_path: Path) -> None:
    before = hash_of_sources(SETTINGS, data, tmp_path / "model")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}", encoding="utf-8")
    assert hash_of_sources(SETTINGS, data, tmp_path / "other") == before
    (tmp_path / "other" / "model.safetensors").write_bytes(b"w")
    assert hash_of_sources(SETTINGS, data, tmp_path / "other") != before


def test_data_changes_name_the_files_by_part() -> None:
    assert data_changes(SETTINGS) == {
        "data.files.rm": ["harmless.rm.jsonl"],
        "data.files.llm": ["harmless.llm.jsonl"],
        "data.files.test": ["harmless.test.jsonl"],
        "data.files.golden": ["golden.golden.jsonl"],
    }


def test_check_sources_names_all_that_is_missing(data: Path, tmp_path: Path) -> None:
    check_sources(SETTINGS, data, tmp_path / "model")
    (data / "train.jsonl").unlink()
    with pytest.raises(UserError, match=r"train\.jsonl.*, no .*nowhere/config\.json"):
        check_sources(SETTINGS, data, tmp_path / "nowhere")


def test_first_words_keeps_the_spaces_and_a_shorter_text() -> None:
    assert first_words(" One  two\n\nthree", 2) == " One  two"
    assert first_words("a ab abc", 2) == "a ab"  # the second word begins like the first
    assert first_words(" One two ", 2) == " One two "
