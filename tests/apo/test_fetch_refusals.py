"""apo/fetch.py: what is wrong with an entry, a hub or a file is one message, and nothing half is left."""

from pathlib import Path

import pytest

from apo import fetch as module
from apo.core.errors import UserError
from tests.helpers.fake_hub import COMMIT, Hub
from tests.helpers.fetched import DATA_ENTRY, MODEL, MODEL_ENTRY, TAKEN, contents, play, visible


@pytest.mark.parametrize(("name", "kind"), [("model.safetensors", "sha256"), ("config.json", "git_sha1")])
def test_fetch_refuses_another_file_than_listed_and_fetches_it_anew(
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


def test_fetch_finds_damage_in_a_partial_download(tmp_path: Path, hub: Hub) -> None:
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
def test_fetch_refuses_a_wrong_entry_before_it_requests_anything(
    tmp_path: Path, hub: Hub, change: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        play(tmp_path, hub, DATA_ENTRY, MODEL_ENTRY | change)
    assert hub.requests == [] and visible(tmp_path) == []


def test_fetch_refuses_a_commit_that_is_a_branch(tmp_path: Path, hub: Hub) -> None:
    hub.commit = "a" * 40
    with pytest.raises(UserError, match=r"found the commit a{40} under that name at the hub; expected owner"):
        play(tmp_path, hub, MODEL_ENTRY)
    assert hub.served() == []


def test_fetch_trusts_known_hashes_over_the_hub(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(
        UserError, match=r"small/model\.safetensors: found the hash \w+ at the hub; expected 1{64}"
    ):
        play(tmp_path, hub, MODEL_ENTRY | {"sha256": {"model.safetensors": "1" * 64}})
    with pytest.raises(UserError, match=r"small/other\.safetensors: found no such file at the hub"):
        play(tmp_path, hub, MODEL_ENTRY | {"sha256": {"other.safetensors": "1" * 64}})
    assert hub.served() == []


def test_fetch_refuses_pickles_alone(tmp_path: Path, hub: Hub) -> None:
    del hub.files["models/owner/small"]["model.safetensors"]
    with pytest.raises(
        UserError, match=r"found only modeling\.py, onnx/config\.json, pytorch_model\.bin in "
    ):
        play(tmp_path, hub, MODEL_ENTRY)
    assert hub.served() == []


def test_fetch_leaves_out_names_that_lead_elsewhere(tmp_path: Path, hub: Hub) -> None:
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
def test_fetch_ends_in_one_message_if_the_hub_refuses(
    tmp_path: Path, hub: Hub, change: dict[str, str], status: int, message: str
) -> None:
    hub.status = status
    with pytest.raises(UserError, match=message):
        play(tmp_path, hub, MODEL_ENTRY | change)


def test_fetch_ends_in_one_message_on_a_full_disk(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 500})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"found room for 0\.0 GB, and .*; make room"):
        play(tmp_path, hub, MODEL_ENTRY)
    assert hub.served() == []


def test_fetch_takes_what_macos_writes_into_folders_for_nothing(tmp_path: Path, hub: Hub) -> None:
    play(tmp_path, hub, MODEL_ENTRY)
    (tmp_path / "pretrained/small/.DS_Store").write_bytes(b"x")
    play(tmp_path, hub, MODEL_ENTRY)


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
def test_fetch_refuses_a_folder_that_changed(
    tmp_path: Path, hub: Hub, name: str, content: bytes | None, message: str
) -> None:
    play(tmp_path, hub, MODEL_ENTRY)
    path = tmp_path / "pretrained" / "small" / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        play(tmp_path, hub, MODEL_ENTRY)
