"""data.source hub: real local data sets through the same call, files checked before reading."""

import contextlib
import gzip
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.core.records import read_rows
from stages.data import main
from tests.helpers.bad_input import (
    CHOSEN,
    PARAMS,
    arguments,
    jsonl,
    left_behind,
    run,
)
from tests.helpers.data_stage import COMMITTED, FORMATS, HUB_PATHS, play_hub, query, write, write_hub_params

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PAIRS = [{"chosen": f"{query(n)} good", "rejected": f"{query(n)} bad"} for n in range(3)]


def comparisons(folder: Path, done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return list(read_rows(folder / "raw" / "comparisons.jsonl"))


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    (message,) = done.stderr.removesuffix("\n").splitlines()
    assert message.startswith("error: ")
    return message


def check_refused(folder: Path, found: str = r"data\.hub") -> None:
    """The data set in `folder/input` is refused, in this process, which is faster."""
    write_hub_params(folder, {"path": "input"})
    with contextlib.chdir(folder), pytest.raises(UserError, match=found):
        main(**{name: Path(path) for name, path in HUB_PATHS.items()})
    assert not (folder / "metrics.json").exists() and not list(folder.glob("raw/*"))


def test_fetch_maps_columns_of_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    rows = [
        {"info": {"post": f"question {n}"}, "summaries": [{"text": "bad"}, {"text": "good"}], "choice": 1}
        for n in range(3)
    ]
    (tmp_path / "input" / "train.jsonl").write_bytes(jsonl(rows))
    columns = {"prompt": "info.post", "better": "choice"}
    columns |= {f"response_{n}": f"summaries.{n}.text" for n in range(2)}
    rows_read = comparisons(tmp_path, play_hub(tmp_path, {"path": "input", "columns": columns}))
    assert [row["query"] for row in rows_read] == [query(n) for n in range(3)]
    assert {(*row["responses"], *row["scores"]) for row in rows_read} == {("bad", "good", 0.0, 1.0)}


def test_fetch_reads_one_folder_of_a_data_set(tmp_path: Path) -> None:
    """As Anthropic/hh-rlhf lies: packed lines in a folder for each kind."""

    for kind in ("harmless-base", "helpful-base"):
        (tmp_path / "input" / "hh" / kind).mkdir(parents=True)
        rows = [{side: text.replace("question", kind) for side, text in row.items()} for row in PAIRS]
        for part in ("train", "test"):
            path = tmp_path / "input" / "hh" / kind / f"{part}.jsonl.gz"
            path.write_bytes(gzip.compress(jsonl(rows if part == "train" else rows[:1])))
    hub = {"path": "input/hh", "folder": "harmless-base", "test": "test"}
    rows_read = comparisons(tmp_path, play_hub(tmp_path, hub, golden="chosen"))
    assert {row["query"].split()[1] for row in rows_read} == {"harmless-base"}
    assert [row["split"] for row in rows_read] == ["", "", "", "test"]
    golden = {row["query_id"]: row["golden"] for row in read_rows(tmp_path / "raw" / "golden.jsonl")}
    assert golden == {row["query_id"]: "good" for row in rows_read if row["split"] != "test"}
    assert not (tmp_path / "hf").exists() or not list(
        (tmp_path / "hf").rglob("*.arrow")
    )  # nothing left outside


@pytest.mark.slow
def test_fetch_without_a_network_ends_in_one_message(tmp_path: Path) -> None:
    """Offline by the variable at once; without it after the library's own attempts."""
    hub = {"path": "Anthropic/hh-rlhf", "revision": COMMIT}
    assert "expected a data set in the local cache, or the network" in refused(play_hub(tmp_path, hub))
    nobody = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}
    assert "found split 'train' of 'Anthropic/hh-rlhf'" in refused(play_hub(tmp_path, hub, **nobody))


def test_fetch_runs_no_script_of_a_data_set(tmp_path: Path) -> None:
    folder = tmp_path / "input" / "hh"
    folder.mkdir(parents=True)
    run = f"open({str(tmp_path / 'was run')!r}, 'w').close()\n"
    for name in ("hh.py", "input.py", "loading.py", "__init__.py"):
        (folder / name).write_text(run)
    done = play_hub(tmp_path, {"path": "input/hh"})
    assert "scripts are no longer supported" in refused(done)
    (folder / "hh.py").unlink()
    (folder / "train.jsonl").write_bytes(jsonl(PAIRS))
    (folder / "README.md").write_text("---\ntrust_remote_code: true\n---\n")
    assert len(comparisons(tmp_path, play_hub(tmp_path, {"path": "input/hh"}))) == 3
    assert not (tmp_path / "was run").exists()


@pytest.mark.parametrize("name", ["data.pkl", "data.tar", "data.h5", "data.db", "data.txt"])
def test_fetch_refuses_other_file_formats(tmp_path: Path, name: str) -> None:
    import pickle

    (tmp_path / "input").mkdir()
    (tmp_path / "input" / name).write_bytes(pickle.dumps(PAIRS))
    check_refused(tmp_path)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("train.jsonl", jsonl(PAIRS) + b'{"chosen": '),
        ("train.jsonl", b"\xff\xfe\n"),
        ("train.jsonl.gz", b"no gzip"),
        ("train.parquet", b"PAR1 no parquet PAR1"),
        ("train.csv", b'a,b\n"x'),
    ],
)
def test_fetch_refuses_a_broken_data_set(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / name).write_bytes(data)
    check_refused(tmp_path)


def test_fetch_refuses_a_card_that_leads_out_of_the_data_set(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / "secret.jsonl").write_bytes(jsonl(PAIRS))
    for path in (f"{tmp_path}/secret.jsonl", "../secret.jsonl"):
        card = (
            f"---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: {path}\n---\n"
        )
        (tmp_path / "input" / "README.md").write_text(card)
        check_refused(tmp_path)


def test_fetch_refuses_links_and_pipes(tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / "secret.jsonl").write_bytes(jsonl(PAIRS))
    (tmp_path / "input" / "train.jsonl").symlink_to(tmp_path / "secret.jsonl")
    check_refused(tmp_path, "a link that leads elsewhere")
    (tmp_path / "input" / "train.jsonl").unlink()
    os.mkfifo(tmp_path / "input" / "train.jsonl")
    check_refused(tmp_path, "a pipe or a device")


@pytest.mark.parametrize("path", ["pandas", "", "../x", "https://example.org/x", "a/b/c", "/etc"])
def test_fetch_refuses_a_path_that_is_no_name(tmp_path: Path, path: str) -> None:
    (tmp_path / "input").mkdir()
    data = COMMITTED | {"source": "hub", "hub": COMMITTED["hub"] | {"path": path, "revision": COMMIT}}
    (tmp_path / "params.yaml").write_text(json.dumps({"seed": 1, "data": data}))
    with pytest.raises(UserError, match=r"data\.hub(\.path)?: found"):
        main(tmp_path / "input", tmp_path / "raw", tmp_path / "m.json", tmp_path / "params.yaml")


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_fetch_loads_a_local_data_set_without_a_network(tmp_path: Path, suffix: str) -> None:
    rows = [FORMATS["dialogues"](n) for n in range(4)]
    write(
        tmp_path / "input" / "hh" / f"train.{suffix}",
        [*rows, {"chosen": rows[0]["chosen"]} | {"rejected": rows[1]["rejected"]}],
    )
    write(tmp_path / "input" / "hh" / f"test.{suffix}", [FORMATS["dialogues"]("of test")])
    done = play_hub(tmp_path, {"path": "input/hh", "test": "test"})
    assert done.returncode == 0, done.stderr
    comparisons = list(read_rows(tmp_path / "raw" / "comparisons.jsonl"))
    assert [row["query"] for row in comparisons] == [query(n) for n in [*range(4), "of test"]]
    assert [row["split"] for row in comparisons] == [""] * 4 + ["test"]
    (issue,) = read_rows(tmp_path / "raw" / "issues.jsonl")
    assert (issue["where"], issue["code"]) == ("split 'train' of input/hh: row 5", "two_queries")


def hub_params(folder: Path, **values: str) -> Path:
    (folder / "input").mkdir()
    data = PARAMS["data"] | {"source": "hub", "hub": PARAMS["data"]["hub"] | values}
    (folder / "params.yaml").write_text(json.dumps({"seed": 1, "data": data}))
    return folder


@pytest.mark.parametrize("revision", ["main", "", "v1.0", COMMIT[:7], COMMIT.upper()])
def test_fetch_refuses_a_revision_that_is_no_commit(tmp_path: Path, revision: str) -> None:
    hub_params(tmp_path, path="Anthropic/hh-rlhf", revision=revision)
    with pytest.raises(UserError, match=rf"data\.hub\.revision: found '{revision}'; expected the 40"):
        main(**arguments("data", tmp_path))
    assert left_behind(tmp_path) == []


def test_fetch_refuses_a_local_data_set_outside_the_watched_folder(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    hub_params(tmp_path, path=str(tmp_path / "elsewhere"))
    with pytest.raises(UserError, match=r"data\.hub\.path: found the folder .*which DVC watches"):
        main(**arguments("data", tmp_path))


def test_fetch_refuses_an_empty_training_split(tmp_path: Path) -> None:
    hub_params(tmp_path, path="Anthropic/hh-rlhf", revision=COMMIT, train="")
    with pytest.raises(UserError, match=r"data\.hub\.train: found ''"):
        main(**arguments("data", tmp_path))


def test_fetch_offline_ends_at_once_if_the_cache_lacks_the_data_set(tmp_path: Path) -> None:
    hub_params(tmp_path, path="Anthropic/hh-rlhf", revision=COMMIT)
    start = time.monotonic()
    done = run("data", tmp_path, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "hf"))
    assert time.monotonic() - start < 30
    assert done.returncode == 1
    last = done.stderr.removesuffix("\n").splitlines()[-1]
    assert last.startswith("error: params.yaml: data.hub: found split 'train' of 'Anthropic/hh-rlhf' ")
    assert "expected a data set in the local cache, or the network" in last
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error:") == 1
    assert left_behind(tmp_path) == []


def test_fetch_names_a_split_that_is_not_there(tmp_path: Path) -> None:
    hub_params(tmp_path, path=str(tmp_path / "input"), train="training")
    (tmp_path / "input" / "train.jsonl").write_bytes(jsonl(CHOSEN))
    done = run("data", tmp_path, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "hf"))
    assert done.returncode == 1
    assert "found split 'training' of" in done.stderr
    assert "Traceback" not in done.stderr
    assert left_behind(tmp_path) == []
