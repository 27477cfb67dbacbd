"""data.source authors: the files of a folder, read once they are what was published."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import apo.datasets.authors
from apo.core.errors import UserError
from apo.core.records import read_rows
from apo.datasets.authors import PUBLISHED, Published, checked_files
from stages.data import main

ROOT = Path(__file__).parents[3]
COMMITTED = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))["data"]


def query(name: object) -> str:
    return f"\n\nHuman: question {name}\n\nAssistant:"


JOINED = [{"text": [f"{query(n)}<sep>good", f"{query(n)}<sep>bad"], "scores": [1.0, 0.0]} for n in range(9)]
CONTENT: dict[str, list[dict[str, Any]]] = {
    "hh-split/rm_data/rm.train.json": JOINED[:3],
    "hh-split/llm_data/llm.train.json": JOINED[3:6],
    "hh-split/eval_data/test.json": JOINED[6:],
    "hh-split/rm_data/rm.golden.json": [{"query": query(n), "golden": "best"} for n in range(3)],
    "hh-split/rm_data/rm.sample.json": [{"query": query(0), "sample_0": "s", "sample_1": "t"}],
    "hh-split/all.train.json": JOINED[:6],
}
KINDS = ("rm", "llm", "test", "golden", "samples", "unused")


def publish(folder: Path, monkeypatch: pytest.MonkeyPatch, *, flat: bool = False) -> None:
    """Small files in the place of the published ones."""
    published = []
    for kind, (name, rows) in zip(KINDS, CONTENT.items(), strict=True):
        path = folder / (Path(name).name if flat else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows))
        data = path.read_bytes()
        published.append(Published(kind, name, len(data), hashlib.sha256(data).hexdigest()))
    monkeypatch.setattr(apo.datasets.authors, "PUBLISHED", tuple(published))


@pytest.mark.parametrize("flat", [True, False])
def test_checked_files_reads_the_files_that_were_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flat: bool
) -> None:
    publish(tmp_path / "input", monkeypatch, flat=flat)
    data = COMMITTED | {"source": "authors", "authors": {"samples": True}}
    (tmp_path / "params.yaml").write_text(json.dumps({"seed": 1, "data": data}))
    main(tmp_path / "input", tmp_path / "raw", tmp_path / "m.json", tmp_path / "params.yaml")
    rows = list(read_rows(tmp_path / "raw" / "comparisons.jsonl"))
    assert [row["split"] for row in rows] == ["rm"] * 3 + ["llm"] * 3 + ["test"] * 3
    assert len(list(read_rows(tmp_path / "raw" / "golden.jsonl"))) == 3
    assert [row["samples"] for row in read_rows(tmp_path / "raw" / "samples.jsonl")] == [["s", "t"]]


def test_checked_files_needs_neither_samples_nor_the_unused_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, monkeypatch)
    (tmp_path / "hh-split/rm_data/rm.sample.json").unlink()
    (tmp_path / "hh-split/all.train.json").unlink()
    files = checked_files(tmp_path, samples=False)
    assert (files.samples, files.rm) == ([], ["hh-split/rm_data/rm.train.json"])
    with pytest.raises(UserError, match=r"found no hh-split/rm_data/rm\.sample\.json \(\d+ bytes\)"):
        checked_files(tmp_path, samples=True)


def test_checked_files_refuses_changed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path, monkeypatch)
    path = tmp_path / "hh-split/rm_data/rm.golden.json"
    data = path.read_bytes()
    for changed, message in [
        (data.replace(b"best", b"rest"), "SHA-256 [0-9a-f]{64}"),
        (data + b" ", r"\d+ bytes"),
    ]:
        path.write_bytes(changed)
        with pytest.raises(
            UserError, match=rf"rm\.golden\.json: found {message}; expected the {len(data)} bytes"
        ):
            checked_files(tmp_path, samples=False)


def test_checked_files_refuses_other_files_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, monkeypatch)
    (tmp_path / "more.json").write_text("[]")
    with pytest.raises(UserError, match=r"1 files such as 'more\.json' that the authors did not publish"):
        checked_files(tmp_path, samples=False)


def test_checked_files_names_all_that_an_empty_folder_lacks(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"found no hh-split/rm_data/hh_split_rm\.train\.json .*and 3 more"):
        checked_files(tmp_path, samples=False)


def test_published_has_a_hash_of_every_file() -> None:
    assert len({file.path for file in PUBLISHED}) == len(PUBLISHED) == 8
    assert all(len(file.sha256) == 64 and int(file.sha256, 16) and file.size > 10**6 for file in PUBLISHED)
    sizes = {file.kind: file.size for file in PUBLISHED if file.kind in ("rm", "llm")}
    whole = next(file.size for file in PUBLISHED if file.path.endswith("hh_cleaned_origin.train.json"))
    assert abs(whole - sum(sizes.values())) < 1000  # one list instead of two
