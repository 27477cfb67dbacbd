"""apo/core/provenance.py: what a stage records of where its result came from, the same bytes everywhere."""

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.core.provenance import LIBRARIES, beside, files_of, read_provenance, remote_data
from apo.core.records import write_rows
from tests.helpers.import_closure import ROOT, closure

QUERY = "\n\nHuman: question\n\nAssistant:"
PARAMS = {
    "seed": 3,
    "convert": {"pick": "all", "short_samples": "error"},
    "apo": {"num_samples": 2, "coeff": 0.5},
    "rjs": {"candidates": "samples"},
}
CONVERT = {
    "round": "r1",
    "golden": "data/raw/golden.jsonl",
    "samples": "data/samples/rm.jsonl",
    "out": "data/apo/rm.jsonl",
    "metrics": "metrics/convert.json",
}


def repository(folder: Path) -> Path:
    """The code of the project and records for `convert`, as a repository has them."""
    for name in ("apo", "stages"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "params.yaml").write_text(json.dumps(PARAMS))
    write_rows(folder / CONVERT["golden"], [{"query_id": "a", "query": QUERY, "golden": "g"}])
    write_rows(folder / CONVERT["samples"], [{"query_id": "a", "query": QUERY, "samples": ["x", "y"]}])
    return folder


def play(folder: Path, stage: str, arguments: dict[str, str], **environment: str) -> str:
    """Runs a stage as dvc.yaml does; what it printed on stderr."""
    words = [word for name, value in arguments.items() for word in (f"--{name}", value)]
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{stage}", *words],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    return done.stderr


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_a_stage_read_wrote_and_ran_is_recorded(tmp_path: Path) -> None:
    folder = repository(tmp_path)
    assert play(folder, "convert", CONVERT) == ""
    record = json.loads((folder / "data/apo/rm.provenance.json").read_text())
    record.pop("checksum")
    code = closure(ROOT / "stages/convert.py")
    assert record == {
        "stage": "convert",
        "arithmetic": {},  # nothing that depends on device or threads
        "arguments": CONVERT | {"params": "params.yaml"},
        "parameters": {"seed": 3, "convert": PARAMS["convert"], "apo.num_samples": 2},
        "inputs": {CONVERT[name]: sha256(folder / CONVERT[name]) for name in ("golden", "samples")},
        "outputs": {CONVERT[name]: sha256(folder / CONVERT[name]) for name in ("out", "metrics")},
        "code": {name: sha256(ROOT / name) for name in code},
        "libraries": {name: metadata.version(name) for name in ("pydantic", "ruamel.yaml")},
        "python": "{}.{}".format(*sys.version_info),
        "remote": None,
    }
    assert list(record) == sorted(record) and list(record["code"]) == sorted(code)


def test_the_same_run_gives_the_same_bytes_everywhere(tmp_path: Path) -> None:
    found = []
    for name, zone in (("one", "Asia/Tokyo"), ("two", "America/Lima")):
        folder = repository(tmp_path / name)
        os.utime(folder / CONVERT["golden"], (0, len(found)))
        assert play(folder, "convert", CONVERT, HOME=str(folder), TZ=zone, USER=name) == ""
        found.append((folder / "data/apo/rm.provenance.json").read_bytes())
    assert found[0] == found[1]
    assert str(tmp_path).encode() not in found[0]
    assert socket.gethostname().encode() not in found[0]
    assert not re.search(rb"\d{4}-\d\d-\d\d|\d\d:\d\d", found[0])


def test_an_absolute_path_in_the_repository_is_written_relative_to_it(tmp_path: Path) -> None:
    folder = repository(tmp_path)
    assert (
        play(folder, "convert", {n: v if n == "round" else str(folder / v) for n, v in CONVERT.items()}) == ""
    )
    absolute = (folder / "data/apo/rm.provenance.json").read_bytes()
    assert play(folder, "convert", CONVERT) == ""
    assert (folder / "data/apo/rm.provenance.json").read_bytes() == absolute


def test_a_stage_that_fails_records_nothing(tmp_path: Path) -> None:
    folder = repository(tmp_path)
    (folder / CONVERT["samples"]).write_text("{")
    assert play(folder, "convert", CONVERT).startswith("error: ")
    assert not list(folder.rglob("*.provenance.json"))


STAGE = """
from pathlib import Path

from apo.core.stage import run


def main(folder: Path, kind: str, out: Path) -> None:
    from apo.text.dialogue import HUMAN

    with Path("apo/core/records.py").open("a") as code:
        code.write("# edited while the stage runs")
    for name in ("b.json", "a/b.txt", "half.tmp", ".hidden"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(name)


if __name__ == "__main__":
    run(main)
"""


def test_folders_are_listed_file_by_file_and_code_as_it_was_at_the_start(tmp_path: Path) -> None:
    folder = repository(tmp_path)
    (folder / "stages/own.py").write_text(STAGE)
    outside = folder / "elsewhere" / "linked"
    for path in (folder / "in/x/y.json", folder / "in/README.md", folder / "in/.git/x", outside / "z"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    (folder / "in/link").symlink_to(outside)
    assert play(folder, "own", {"folder": "in", "kind": "apo", "out": "models/rm.v2"}) == ""
    record = read_provenance(folder / "models/rm.v2.provenance.json")
    assert list(record["inputs"]) == ["in/README.md", "in/link/z", "in/x/y.json"]
    assert list(record["outputs"]) == ["models/rm.v2/a/b.txt", "models/rm.v2/b.json"]
    assert record["arguments"] == {"folder": "in", "kind": "apo", "out": "models/rm.v2"}
    assert record["parameters"] == {}
    assert {"apo/text/dialogue.py", "stages/own.py"} <= record[
        "code"
    ].keys()  # imported late, run as __main__
    assert "apo/losses.py" not in record["code"]
    assert (
        record["code"]["apo/core/records.py"]
        == sha256(ROOT / "apo/core/records.py")
        != sha256(folder / "apo/core/records.py")
    )


def test_the_provenance_stands_beside_the_output(tmp_path: Path) -> None:
    (tmp_path / "rm.v2").mkdir()
    assert beside(tmp_path / "rm.v2") == tmp_path / "rm.v2.provenance.json"
    assert beside(tmp_path / "rm.jsonl") == tmp_path / "rm.provenance.json"
    assert files_of(tmp_path / "gone") == []


def test_every_library_that_is_pinned_can_be_recorded() -> None:
    text = (ROOT / "requirements.txt").read_text()
    pinned = set(re.findall(r"^([\w.-]+)==", text, flags=re.MULTILINE))
    assert set(LIBRARIES.values()) == pinned | {"pyarrow", "vllm"}  # the last is of requirements-vllm.txt
    for package in pinned | {"pyarrow"}:
        assert metadata.version(package)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"source": "hub", "hub": {"path": "a/b", "revision": "0" * 40, "train": "train"}}, "0" * 40),
        ({"source": "hub", "hub": {"path": "tests", "revision": ""}}, None),  # a folder, read as an input
        ({"source": "demo", "hub": {"path": "a/b", "revision": "0" * 40}}, None),
    ],
)
def test_what_is_remote_has_its_revision(
    data: dict[str, Any], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert remote_data({"data": data}) == (expected and {"path": "a/b", "revision": expected})
    assert remote_data({"seed": 1}) is None


def test_any_other_byte_in_a_provenance_file_is_noticed(tmp_path: Path) -> None:
    folder = repository(tmp_path)
    assert play(folder, "convert", CONVERT) == ""
    path = folder / "data/apo/rm.provenance.json"
    data = path.read_bytes()
    assert read_provenance(path)["stage"] == "convert"
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(UserError, match=r"rm\.provenance\.json: found .* do not match its checksum"):
            read_provenance(path)
