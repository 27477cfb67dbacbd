"""What a preset pins is fetched from a hub on localhost: whole, checked, resumed, or one message."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from apo import fetch as module
from apo.core.errors import UserError
from apo.core.records import read_rows
from apo.fetch import MANIFEST, fetch
from apo.preset import names, read_preset
from tests.helpers.fake_hub import COMMIT, Hub, serving
from tests.helpers.small_repo import ROOT
from tests.stages.test_data import play_hub

MODEL = {
    ".gitattributes": b"*.safetensors filter=lfs\n",
    "README.md": b"---\nlicense: mit\n---\n",
    "config.json": b'{"model_type": "llama"}\n',
    "merges.txt": b"#version: 0.2\n",
    "model.safetensors": bytes(range(256)) * 40,
    "tokenizer.json": b"{}" * 600,
}
PICKLES = {"pytorch_model.bin": b"x" * 2000, "onnx/config.json": b"{}", "modeling.py": b"import os\n"}


def dialogues(number: int, name: str) -> bytes:
    rows = [
        {side: f"\n\nHuman: {name} {n}?\n\nAssistant: {side} {n}" for side in ("chosen", "rejected")}
        for n in range(number)
    ]
    return gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), mtime=0)


DATA = {
    "README.md": b"---\nlicense: mit\n---\n# Comparisons\n",
    "harmless-base/train.jsonl.gz": dialogues(30, "harmless"),
    "harmless-base/test.jsonl.gz": dialogues(3, "harmless test"),
    "helpful-base/train.jsonl.gz": dialogues(20, "helpful"),
    "helpful-base/test.jsonl.gz": dialogues(2, "helpful test"),
    "helpful-online/train.jsonl.gz": dialogues(1, "online"),
    "red-team-attempts/attempts.jsonl.gz": dialogues(1, "attempt"),
    "load.py": b"import os\n",
}
MODEL_ENTRY = {"repo": "owner/small", "type": "model", "revision": COMMIT, "licence": "MIT"} | {
    "to": "pretrained/small"
}
DATA_ENTRY = {"repo": "owner/pairs", "type": "dataset", "revision": COMMIT, "licence": "MIT"} | {
    "to": "data/input/pairs",
    "folders": ["harmless-base", "helpful-base"],
}


@pytest.fixture(scope="module")
def server() -> Iterator[Hub]:
    with serving({"models/owner/small": {**MODEL, **PICKLES}, "datasets/owner/pairs": DATA}) as hub:
        yield hub


@pytest.fixture
def hub(server: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The server, with nothing asked for yet and nothing wrong; small chunks, no waits between tries."""
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    files = {repository: dict(content) for repository, content in server.files.items()}
    yield server
    server.files, server.commit, server.status, server.ranges = files, None, 0, True
    server.wrong, server.cut, server.requests = set(), {}, []


def preset(root: Path, *entries: dict[str, Any]) -> Path:
    folder = root / "presets"
    folder.mkdir(exist_ok=True)
    with (folder / "mine.yaml").open("w") as file:
        YAML().dump({"seed": 2, "fetch": list(entries)}, file)
    return folder


def play(root: Path, hub: Hub, *entries: dict[str, Any]) -> list[str]:
    return list(fetch("mine", presets=preset(root, *entries), root=root, endpoint=hub.endpoint))


def contents(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != MANIFEST}


def visible(root: Path) -> list[str]:
    """What is there of models and data, but for what is half-fetched."""
    folders = [*(root / "pretrained").glob("*"), *(root / "data" / "input").glob("*")]
    return [path.relative_to(root).as_posix() for path in folders if path.suffix != ".tmp"]


TAKEN = {name: content for name, content in MODEL.items() if name != ".gitattributes"}


def test_models_and_data_come_whole_and_pickles_and_code_are_left_out_and_said(
    tmp_path: Path, hub: Hub
) -> None:
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


def test_a_second_call_asks_for_nothing_and_says_that_all_is_intact(tmp_path: Path, hub: Hub) -> None:
    play(tmp_path, hub, MODEL_ENTRY)
    hub.requests.clear()
    (line,) = play(tmp_path, hub, MODEL_ENTRY)
    assert line == "pretrained/small: owner/small at 0123456789ab is there and intact, 5 files, 0.00 GB"
    assert hub.requests == []


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_is_one_message_and_resumes(tmp_path: Path, hub: Hub, ranges: bool) -> None:
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


@pytest.mark.parametrize(("name", "kind"), [("model.safetensors", "sha256"), ("config.json", "git_sha1")])
def test_another_file_than_listed_is_one_message_and_is_fetched_anew(
    tmp_path: Path, hub: Hub, name: str, kind: str
) -> None:
    hub.wrong = {name}
    with pytest.raises(
        UserError,
        match=rf"pretrained/small/{name}: found a download with {kind} \w+; expected \w+, as the hub",
    ):
        play(tmp_path, hub, MODEL_ENTRY)
    assert visible(tmp_path) == []
    hub.wrong = set()
    play(tmp_path, hub, MODEL_ENTRY)
    assert contents(tmp_path / "pretrained" / "small") == TAKEN


def test_damage_of_what_is_half_fetched_is_found(tmp_path: Path, hub: Hub) -> None:
    hub.cut = {"tokenizer.json": 100}
    with pytest.raises(UserError, match="one that broke"):
        play(tmp_path, hub, MODEL_ENTRY)
    (partial,) = (tmp_path / "pretrained").iterdir()
    (partial / "model.safetensors").write_bytes(b"x" * len(MODEL["model.safetensors"]))
    (partial / "config.json").write_bytes(b"longer than it should be, so it is another file")
    (partial / "unknown.json").write_bytes(b"{}")
    hub.cut = {}
    with pytest.raises(UserError, match=r"pretrained/small/model\.safetensors: found a download with sha256"):
        play(tmp_path, hub, MODEL_ENTRY)
    play(tmp_path, hub, MODEL_ENTRY)
    assert contents(tmp_path / "pretrained" / "small") == TAKEN


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"revision": "main"},
            r"mine\.yaml: fetch\[1\]\.revision: found 'main'; expected the 40 hexadecimal",
        ),
        ({"revision": COMMIT[:12]}, r"fetch\[1\]\.revision: found '0123456789ab'; expected the 40"),
        ({"to": "models/small"}, r"fetch\[1\]\.to: found 'models/small'; expected a folder in pretrained/"),
        ({"to": "pretrained/../small"}, r"fetch\[1\]\.to: found"),
        ({"to": "pretrained/small.tmp"}, r"fetch\[1\]\.to: found"),
        ({"type": "space"}, r"fetch\[1\]\.type: found 'space'; expected 'model' or 'dataset'; compare"),
        ({"repo": "small"}, r"fetch\[1\]\.repo: found 'small'"),
        ({"branch": "main"}, r"fetch\[1\]\.branch: found 'main'"),
    ],
)
def test_a_wrong_entry_is_one_message_before_anything_is_fetched(
    tmp_path: Path, hub: Hub, change: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        play(tmp_path, hub, DATA_ENTRY, MODEL_ENTRY | change)
    assert hub.requests == [] and visible(tmp_path) == []


def test_a_commit_that_is_the_name_of_a_branch_is_refused(tmp_path: Path, hub: Hub) -> None:
    hub.commit = "a" * 40
    with pytest.raises(UserError, match=r"found the commit a{40} under that name at the hub; expected owner"):
        play(tmp_path, hub, MODEL_ENTRY)
    assert hub.served() == []


def test_known_hashes_outweigh_the_word_of_the_hub(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(
        UserError, match=r"small/model\.safetensors: found the hash \w+ at the hub; expected 1{64}"
    ):
        play(tmp_path, hub, MODEL_ENTRY | {"sha256": {"model.safetensors": "1" * 64}})
    with pytest.raises(UserError, match=r"small/other\.safetensors: found no such file at the hub"):
        play(tmp_path, hub, MODEL_ENTRY | {"sha256": {"other.safetensors": "1" * 64}})
    assert hub.served() == []


def test_pickles_alone_are_refused(tmp_path: Path, hub: Hub) -> None:
    del hub.files["models/owner/small"]["model.safetensors"]
    with pytest.raises(
        UserError, match=r"found only modeling\.py, onnx/config\.json, pytorch_model\.bin in "
    ):
        play(tmp_path, hub, MODEL_ENTRY)
    assert hub.served() == []


def test_names_that_lead_elsewhere_are_left_out(tmp_path: Path, hub: Hub) -> None:
    bad = ["../up.json", "/root.json", "harmless-base/../../up.json", "a\\b.json", "harmless-base/.x.json"]
    hub.files["datasets/owner/pairs"] |= dict.fromkeys(bad, b"{}")
    play(tmp_path, hub, DATA_ENTRY)
    assert visible(tmp_path) == ["data/input/pairs"]
    assert not list(tmp_path.rglob("up.json")) and not [name for name in hub.served() if "x.json" in name]


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"repo": "owner/none"}, 0, "found no such repository, or no access to it, and nothing of it;"),
        ({"revision": "f" * 40}, 0, "found no such commit, and nothing of it; .*; correct the preset"),
        ({}, 418, "found status 418 from the hub, and nothing of it"),
        ({}, 200, r"found an answer that is none of a hub \(JSONDecodeError\), and .*; correct HF_ENDPOINT"),
    ],
)
def test_what_the_hub_refuses_is_one_message(
    tmp_path: Path, hub: Hub, change: dict[str, str], status: int, message: str
) -> None:
    hub.status = status
    with pytest.raises(UserError, match=message):
        play(tmp_path, hub, MODEL_ENTRY | change)


def test_a_full_disk_is_one_message(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 500})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"found room for 0\.0 GB, and .*; make room"):
        play(tmp_path, hub, MODEL_ENTRY)
    assert hub.served() == []


# What is there already -----------------------------------------------------------------------------


def test_a_folder_of_others_stays(tmp_path: Path, hub: Hub) -> None:
    folder = tmp_path / "pretrained" / "small"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    with pytest.raises(
        UserError, match=r"pretrained/small: found something that no preset fetched; .*; move"
    ):
        play(tmp_path, hub, MODEL_ENTRY)
    assert contents(folder) == {"config.json": b"{}"}


def test_another_commit_in_the_same_folder_is_one_message(tmp_path: Path, hub: Hub) -> None:
    play(tmp_path, hub, MODEL_ENTRY)
    other = "b" * 40
    with pytest.raises(
        UserError, match=r"found other files, or those of owner/small at 0123456789ab; expected"
    ):
        play(tmp_path, hub, MODEL_ENTRY | {"revision": other})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", b"{}", r"small/config\.json: found git_sha1 \w+; expected \w+, of owner/small"),
        ("config.json", None, r"small/config\.json: found no such file; expected owner/small"),
        (
            "pytorch_model.bin",
            b"x",
            r"small/pytorch_model\.bin: found a file too many; .*; move pretrained/small",
        ),
    ],
)
def test_a_folder_that_changed_is_one_message(
    tmp_path: Path, hub: Hub, name: str, content: bytes | None, message: str
) -> None:
    play(tmp_path, hub, MODEL_ENTRY)
    path = tmp_path / "pretrained" / "small" / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        play(tmp_path, hub, MODEL_ENTRY)


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
def test_offline_is_one_message(tmp_path: Path, environment: dict[str, str]) -> None:
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


def test_ctrl_c_loses_nothing_and_the_second_run_resumes(tmp_path: Path, hub: Hub) -> None:
    preset(tmp_path, MODEL_ENTRY)
    hub.files["models/owner/small"]["model.safetensors"] = bytes(22 << 20)
    hub.cut = {"model.safetensors": 21 << 20}  # chunks are of 10 MiB
    process = start(tmp_path, hub.endpoint)
    weights = tmp_path / "pretrained" / "small.0123456789ab.tmp" / "model.safetensors"
    while not weights.is_file() or weights.stat().st_size < 20 << 20:
        time.sleep(0.01)  # it waits a second before it tries the broken connection again
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


def test_one_process_at_a_time(tmp_path: Path, hub: Hub) -> None:
    partial = tmp_path / "pretrained" / "small.0123456789ab.tmp"
    partial.mkdir(parents=True)
    with (
        module._locked(partial),
        pytest.raises(UserError, match=r"found another process that fetches it, and .*; wait for it"),
    ):
        play(tmp_path, hub, MODEL_ENTRY)


# The presets ---------------------------------------------------------------------------------------


def test_a_fetched_data_set_is_read_without_a_network_in_the_order_of_its_folders(
    tmp_path: Path, hub: Hub
) -> None:
    entry = DATA_ENTRY | {"to": "data/input/pairs"}
    play(tmp_path, hub, entry)
    (tmp_path / "input").mkdir()
    (tmp_path / "data" / "input" / "pairs").rename(tmp_path / "input" / "pairs")
    done = play_hub(tmp_path, path="input/pairs", train="train[:5]+train[-4:]", test="test[:2]+test[-1:]")
    assert done.returncode == 0, done.stderr
    queries = [row["query"] for row in read_rows(tmp_path / "raw" / "comparisons.jsonl")]
    expected = [f"harmless {n}" for n in range(5)] + [f"helpful {n}" for n in range(16, 20)]
    expected += ["harmless test 0", "harmless test 1", "helpful test 1"]
    assert queries == [f"\n\nHuman: {query}?\n\nAssistant:" for query in expected]


@pytest.mark.parametrize("name", names(ROOT / "presets"))
def test_a_committed_preset_pins_what_its_parameters_start_from(name: str) -> None:
    values, pinned = read_preset(name, ROOT / "presets")
    places = {one.to: one.type for one in pinned}
    starts = {values["backbone"]["start"], values["actor"]["start"]}
    if name in ("hh_1b", "smollm2"):
        assert starts == {to for to, kind in places.items() if kind == "model"}
        assert [values["data"]["hub"]["path"]] == [to for to, kind in places.items() if kind == "dataset"]
    else:
        assert pinned == []


def test_the_same_folder_is_the_same_entry_in_every_preset() -> None:
    entries: dict[str, Any] = {}
    for name in names(ROOT / "presets"):
        for one in read_preset(name, ROOT / "presets")[1]:
            assert entries.setdefault(one.to, one) == one
