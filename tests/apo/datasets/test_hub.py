"""data.source hub: real local data sets through the same call, files checked before reading."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from apo.core.errors import UserError
from apo.core.records import read_rows
from stages.data import main

ROOT = Path(__file__).parents[3]
COMMITTED = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))["data"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def query(name: object) -> str:
    return f"\n\nHuman: question {name}\n\nAssistant:"


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


PAIRS = [{"chosen": f"{query(n)} good", "rejected": f"{query(n)} bad"} for n in range(3)]


# A data set ----------------------------------------------------------------------------------------


def play_hub(
    folder: Path, hub: dict[str, Any], *, golden: str = "files", **environment: str
) -> subprocess.CompletedProcess[str]:
    """The stage in a process of its own, as a library with global state is in it."""
    data = COMMITTED | {"source": "hub", "hub": COMMITTED["hub"] | hub, "golden": golden}
    params = {"seed": 1, "data": data}
    (folder / "params.yaml").write_text(json.dumps(params))
    (folder / "input").mkdir(exist_ok=True)
    paths = {"input": "input", "out": "raw", "metrics": "metrics.json", "params": "params.yaml"}
    arguments = [word for name, path in paths.items() for word in (f"--{name}", path)]
    return subprocess.run(
        [sys.executable, "-m", "stages.data", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "HF_HOME": str(folder / "hf"), "PATH": ""}
        | {"HF_HUB_OFFLINE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def comparisons(folder: Path, done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return list(read_rows(folder / "raw" / "comparisons.jsonl"))


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    (message,) = done.stderr.removesuffix("\n").splitlines()
    assert message.startswith("error: ")
    return message


def test_columns_of_a_data_set_are_mapped(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    rows = [
        {"info": {"post": f"question {n}"}, "summaries": [{"text": "bad"}, {"text": "good"}], "choice": 1}
        for n in range(3)
    ]
    (tmp_path / "input" / "train.jsonl").write_bytes(lines(rows))
    columns = {"prompt": "info.post", "better": "choice"}
    columns |= {f"response_{n}": f"summaries.{n}.text" for n in range(2)}
    found = comparisons(tmp_path, play_hub(tmp_path, {"path": "input", "columns": columns}))
    assert [row["query"] for row in found] == [query(n) for n in range(3)]
    assert {(*row["responses"], *row["scores"]) for row in found} == {("bad", "good", 0.0, 1.0)}


def test_whole_dialogues_of_one_folder_of_a_data_set(tmp_path: Path) -> None:
    """As Anthropic/hh-rlhf lies: packed lines in a folder for each kind."""
    import gzip

    for kind in ("harmless-base", "helpful-base"):
        (tmp_path / "input" / "hh" / kind).mkdir(parents=True)
        rows = [{side: text.replace("question", kind) for side, text in row.items()} for row in PAIRS]
        for part in ("train", "test"):
            path = tmp_path / "input" / "hh" / kind / f"{part}.jsonl.gz"
            path.write_bytes(gzip.compress(lines(rows if part == "train" else rows[:1])))
    hub = {"path": "input/hh", "folder": "harmless-base", "test": "test"}
    found = comparisons(tmp_path, play_hub(tmp_path, hub, golden="chosen"))
    assert {row["query"].split()[1] for row in found} == {"harmless-base"}
    assert [row["split"] for row in found] == ["", "", "", "test"]
    golden = {row["query_id"]: row["golden"] for row in read_rows(tmp_path / "raw" / "golden.jsonl")}
    assert golden == {row["query_id"]: "good" for row in found if row["split"] != "test"}
    assert not (tmp_path / "hf").exists() or not list(
        (tmp_path / "hf").rglob("*.arrow")
    )  # nothing left outside


@pytest.mark.slow
def test_without_a_network_it_ends_in_one_message(tmp_path: Path) -> None:
    """Offline by the variable at once; without it after the library's own attempts."""
    hub = {"path": "Anthropic/hh-rlhf", "revision": COMMIT}
    assert "expected a data set in the local cache, or the network" in refused(play_hub(tmp_path, hub))
    nobody = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}
    assert "found split 'train' of 'Anthropic/hh-rlhf'" in refused(play_hub(tmp_path, hub, **nobody))


def test_a_script_in_a_data_set_is_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "input" / "hh"
    folder.mkdir(parents=True)
    run = f"open({str(tmp_path / 'was run')!r}, 'w').close()\n"
    for name in ("hh.py", "input.py", "loading.py", "__init__.py"):
        (folder / name).write_text(run)
    done = play_hub(tmp_path, {"path": "input/hh"})
    assert "scripts are no longer supported" in refused(done)
    (folder / "hh.py").unlink()
    (folder / "train.jsonl").write_bytes(lines(PAIRS))
    (folder / "README.md").write_text("---\ntrust_remote_code: true\n---\n")
    assert len(comparisons(tmp_path, play_hub(tmp_path, {"path": "input/hh"}))) == 3
    assert not (tmp_path / "was run").exists()


@pytest.mark.parametrize("name", ["data.pkl", "data.tar", "data.h5", "data.db", "data.txt"])
def test_other_formats_are_refused(tmp_path: Path, name: str) -> None:
    import pickle

    (tmp_path / "input").mkdir()
    (tmp_path / "input" / name).write_bytes(pickle.dumps(PAIRS))
    refused(play_hub(tmp_path, {"path": "input"}))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("train.jsonl", lines(PAIRS) + b'{"chosen": '),
        ("train.jsonl", b"\xff\xfe\n"),
        ("train.jsonl.gz", b"no gzip"),
        ("train.parquet", b"PAR1 no parquet PAR1"),
        ("train.csv", b'a,b\n"x'),
    ],
)
def test_a_broken_data_set_is_one_message(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / name).write_bytes(data)
    refused(play_hub(tmp_path, {"path": "input"}))


def test_a_card_that_leads_out_of_the_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / "secret.jsonl").write_bytes(lines(PAIRS))
    for path in (f"{tmp_path}/secret.jsonl", "../secret.jsonl"):
        card = (
            f"---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: {path}\n---\n"
        )
        (tmp_path / "input" / "README.md").write_text(card)
        refused(play_hub(tmp_path, {"path": "input"}))


def test_links_and_pipes_in_a_data_set_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / "secret.jsonl").write_bytes(lines(PAIRS))
    (tmp_path / "input" / "train.jsonl").symlink_to(tmp_path / "secret.jsonl")
    assert "a link that leads elsewhere" in refused(play_hub(tmp_path, {"path": "input"}))
    (tmp_path / "input" / "train.jsonl").unlink()
    os.mkfifo(tmp_path / "input" / "train.jsonl")
    assert "a pipe or a device" in refused(play_hub(tmp_path, {"path": "input"}))


@pytest.mark.parametrize("path", ["pandas", "", "../x", "https://example.org/x", "a/b/c", "/etc"])
def test_a_path_that_is_no_name_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "input").mkdir()
    data = COMMITTED | {"source": "hub", "hub": COMMITTED["hub"] | {"path": path, "revision": COMMIT}}
    (tmp_path / "params.yaml").write_text(json.dumps({"seed": 1, "data": data}))
    with pytest.raises(UserError, match=r"data\.hub(\.path)?: found"):
        main(tmp_path / "input", tmp_path / "raw", tmp_path / "m.json", tmp_path / "params.yaml")
