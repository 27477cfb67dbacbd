"""apo/datasets/file_signatures.py: a pointer, a web page or an archive is no data file."""

import gzip
from pathlib import Path

import pytest

from apo.core.errors import UserError
from tests.helpers.reading import read

OTHER_FILES = {
    "a.jsonl": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    "a.parquet": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    "a.jsonl.gz": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    "b.jsonl": (b"\n<!DOCTYPE html><html>404", "a web page"),
    "c.json": (b"PK\x03\x04...", "a zip archive"),
    "d.jsonl": ("{}".encode("utf-16"), "text in UTF-16"),
    "f.jsonl": ('{"prompt": 1}'.encode("utf-16-le"), "UTF-16.*iconv -f UTF-16LE"),
    "g.csv": ("prompt,chosen".encode("utf-16-be"), "UTF-16.*iconv -f UTF-16BE"),
    "e.jsonl": (gzip.compress(b"{}", mtime=0), "gzip data"),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_check_signature_names_what_is_no_data_file(tmp_path: Path, name: str) -> None:
    data, message = OTHER_FILES[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message):
        read(tmp_path / name)
