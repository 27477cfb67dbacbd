"""apo/fetch.py: what a preset pins comes whole, once, and resumes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from apo import fetch as module
from apo.core.errors import UserError
from apo.core.records import read_rows
from tests.helpers.data_stage import play_hub
from tests.helpers.fake_hub import Hub
from tests.helpers.fetched import DATA, DATA_ENTRY, MODEL, MODEL_ENTRY, TAKEN, contents, play, preset, visible
from tests.helpers.small_repo import ROOT


def test_fetch_brings_models_and_data_without_pickles_and_code(tmp_path: Path, hub: Hub) -> None:
    lines = play(tmp_path, hub, DATA_ENTRY, MODEL_ENTRY)
    assert contents(tmp_path / "pretrained" / "small") == TAKEN
    assert contents(tmp_path / "data" / "input" / "pairs") == {
        name: content for name, content in DATA.items() if name.startswith(("README", "har", "helpful-base"))
    }
    assert lines == [
        "data/input/pairs: owner/pairs at 0123456789ab, 5 files, 0.00 GB, licence MIT; left out: "
        "helpful-online/train.jsonl.gz, load.py, red-team-attempts/attempts.jsonl.gz",
        "pretrained/small: owner/small at 0123456789ab, 5 files, 0.00 GB, licence MIT; left out: "
        "modeling.py, onnx/config.json, pytorch_model.bin",
    ]
    assert not {"pytorch_model.bin", "modeling.py", "load.py"} & set(hub.served())
    assert not list(tmp_path.rglob("*.tmp"))


def test_fetch_again_requests_nothing(tmp_path: Path, hub: Hub) -> None:
    play(tmp_path, hub, MODEL_ENTRY)
    hub.requests.clear()
    (line,) = play(tmp_path, hub, MODEL_ENTRY)
    assert line == "pretrained/small: owner/small at 0123456789ab is there and intact, 5 files, 0.00 GB"
    assert hub.requests == []


@pytest.mark.parametrize("ranges", [True, False])
def test_fetch_resumes_a_broken_download(tmp_path: Path, hub: Hub, ranges: bool) -> None:
    hub.cut = {"model.safetensors": 4000}
    with pytest.raises(
        UserError,
        match=r"pretrained/small: found no connection to the hub, or one that broke \(RemoteProtocolError\), "
        r"and 0\.0 MB of it in .*small\.0123456789ab\.tmp; expected owner/small at 0123456789ab; run it ",
    ):
        play(tmp_path, hub, MODEL_ENTRY)
    assert visible(tmp_path) == []
    (partial,) = (tmp_path / "pretrained").iterdir()
    assert (partial / "model.safetensors").read_bytes() == MODEL["model.safetensors"][:4000]
    hub.cut, hub.ranges = {}, ranges
    hub.requests.clear()
    play(tmp_path, hub, MODEL_ENTRY)
    assert contents(tmp_path / "pretrained" / "small") == TAKEN
    assert ("elsewhere/models/owner/small/model.safetensors", "bytes=4000-") in hub.requests
    assert set(hub.served()) == {"model.safetensors", "tokenizer.json"}  # the others were there
    assert visible(tmp_path) == ["pretrained/small"]


# What is there already -----------------------------------------------------------------------------


def test_fetch_leaves_a_foreign_folder_alone(tmp_path: Path, hub: Hub) -> None:
    folder = tmp_path / "pretrained" / "small"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    with pytest.raises(
        UserError, match=r"pretrained/small: found something that no preset fetched; .*; move"
    ):
        play(tmp_path, hub, MODEL_ENTRY)
    assert contents(folder) == {"config.json": b"{}"}


def test_fetch_refuses_another_commit_in_the_same_folder(tmp_path: Path, hub: Hub) -> None:
    play(tmp_path, hub, MODEL_ENTRY)
    other = "b" * 40
    with pytest.raises(
        UserError, match=r"found other files, or those of owner/small at 0123456789ab; expected"
    ):
        play(tmp_path, hub, MODEL_ENTRY | {"revision": other})


# The command ---------------------------------------------------------------------------------------


def start(root: Path, endpoint: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "apo.fetch", "mine"],
        cwd=root,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "HF_ENDPOINT": endpoint, "HF_HOME": str(root)}
        | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("environment", [{}, {"HF_HUB_OFFLINE": "1"}])
def test_fetch_offline_ends_in_one_message(tmp_path: Path, environment: dict[str, str]) -> None:
    preset(tmp_path, MODEL_ENTRY)
    began = time.monotonic()
    out, err = (process := start(tmp_path, "http://127.0.0.1:9", **environment)).communicate()
    reason = "OfflineModeIsEnabled" if environment else "ConnectError"
    assert (process.returncode, out) == (1, "")
    assert err == (
        f"error: pretrained/small: found no connection to the hub, or one that broke ({reason}), and nothing "
        "of it; expected owner/small at 0123456789ab; run it again where there is a network: it resumes\n"
    )
    assert time.monotonic() - began < 20
    assert visible(tmp_path) == []


def test_fetch_resumes_after_ctrl_c(tmp_path: Path, hub: Hub) -> None:
    preset(tmp_path, MODEL_ENTRY)
    hub.files["models/owner/small"]["model.safetensors"] = bytes(22 << 20)
    hub.cut, hub.stalls = {"model.safetensors": 21 << 20}, True  # chunks are of 10 MiB
    process = start(tmp_path, hub.endpoint)
    weights = tmp_path / "pretrained" / "small.0123456789ab.tmp" / "model.safetensors"
    while not weights.is_file() or weights.stat().st_size < 20 << 20:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert (process.returncode, err) == (130, "interrupted; the same command resumes\n")
    assert visible(tmp_path) == []
    hub.cut = {}
    hub.requests.clear()
    out, err = (process := start(tmp_path, hub.endpoint)).communicate()
    assert (process.returncode, err) == (0, "") and out.startswith("pretrained/small: owner/small at")
    assert ("elsewhere/models/owner/small/model.safetensors", f"bytes={20 << 20}-") in hub.requests
    assert (tmp_path / "pretrained" / "small" / "model.safetensors").read_bytes() == bytes(22 << 20)


def test_fetch_runs_in_one_process_at_a_time(tmp_path: Path, hub: Hub) -> None:
    partial = tmp_path / "pretrained" / "small.0123456789ab.tmp"
    partial.mkdir(parents=True)
    with (
        module._locked(partial),
        pytest.raises(UserError, match=r"found another process that fetches it, and .*; wait for it"),
    ):
        play(tmp_path, hub, MODEL_ENTRY)


def test_fetch_takes_what_another_process_has_fetched_meanwhile(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = module._list

    def list_slowly(*arguments: Any) -> Any:
        monkeypatch.setattr(module, "_list", listed)
        play(tmp_path, hub, MODEL_ENTRY)  # the other process, from its beginning to its end
        return listed(*arguments)

    monkeypatch.setattr(module, "_list", list_slowly)
    assert "intact" in "".join(play(tmp_path, hub, MODEL_ENTRY))
    assert [path.name for path in (tmp_path / "pretrained").iterdir()] == ["small"]


# The presets ---------------------------------------------------------------------------------------


def test_fetch_gives_a_data_set_that_is_read_without_a_network(tmp_path: Path, hub: Hub) -> None:
    entry = DATA_ENTRY | {"to": "data/input/pairs"}
    play(tmp_path, hub, entry)
    (tmp_path / "input").mkdir()
    (tmp_path / "data" / "input" / "pairs").rename(tmp_path / "input" / "pairs")
    done = play_hub(
        tmp_path, {"path": "input/pairs", "train": "train[:5]+train[-4:]", "test": "test[:2]+test[-1:]"}
    )
    assert done.returncode == 0, done.stderr
    queries = [row["query"] for row in read_rows(tmp_path / "raw" / "comparisons.jsonl")]
    expected = [f"harmless {n}" for n in range(5)] + [f"helpful {n}" for n in range(16, 20)]
    expected += ["harmless test 0", "harmless test 1", "helpful test 1"]
    assert queries == [f"\n\nHuman: {query}?\n\nAssistant:" for query in expected]
