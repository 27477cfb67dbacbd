"""data.source authors: files of a folder or of addresses, read once they are what was published."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
    data = COMMITTED | {"source": "authors", "authors": {"samples": True, "urls": {}}}
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


# From addresses ------------------------------------------------------------------------------------


@dataclass
class Web:
    """A real server of a folder: what it was asked, and what it gives in the place of a file."""

    url: str
    asked: list[str] = field(default_factory=list)
    instead: dict[str, bytes | int] = field(default_factory=dict)  # a body or a status

    def urls(self, names: Iterable[str]) -> dict[str, str]:
        return {Path(name).name: f"{self.url}/{name}" for name in names}


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    publish(tmp_path / "web", monkeypatch)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / "input").mkdir()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = Path(self.path).name
            served.asked.append(name)
            content = served.instead.get(name, (tmp_path / "web" / self.path[1:]).read_bytes())
            status, body = (content, b"") if isinstance(content, int) else (200, content)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Web(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield served
        server.shutdown()


def read_from(urls: dict[str, str], folder: Path, *, samples: bool = True) -> None:
    """The stage, with a published file from each of these addresses."""
    data = COMMITTED | {"source": "authors", "authors": {"samples": samples, "urls": urls}}
    (folder / "params.yaml").write_text(json.dumps({"seed": 1, "data": data}))
    main(folder / "input", folder / "raw", folder / "m.json", folder / "params.yaml")


USED = [name for kind, name in zip(KINDS, CONTENT, strict=True) if kind != "unused"]


def test_fetched_files_are_those_of_the_folder_and_fetched_once(tmp_path: Path, web: Web) -> None:
    read_from(web.urls(USED), tmp_path)
    fetched = {path.name: path.read_bytes() for path in (tmp_path / "raw").iterdir()}
    assert sorted(web.asked) == sorted(Path(name).name for name in USED)
    metrics = (tmp_path / "m.json").read_text()
    assert str(tmp_path) not in metrics and ".cache" not in metrics
    read_from(web.urls(USED), tmp_path)
    assert len(web.asked) == len(USED)  # not again
    for name in USED:
        (tmp_path / "input" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "web" / name).rename(tmp_path / "input" / name)
    read_from({}, tmp_path)
    assert fetched == {path.name: path.read_bytes() for path in (tmp_path / "raw").iterdir()}


@pytest.mark.parametrize(
    ("instead", "message", "asked"),
    [
        (
            b"<html>sign in</html>",
            r"found 20 bytes with SHA-256 [0-9a-f]{64} at its address",
            1,
        ),
        (b"x" * 10_000_000, r"found \d{3} bytes with SHA-256 [0-9a-f]{64} at its address", 1),  # cut off
        (404, r"found status 404 at try 3 of 3 to fetch it", 3),
    ],
)
def test_fetched_files_never_reads_another_file(
    tmp_path: Path, web: Web, instead: bytes | int, message: str, asked: int
) -> None:
    web.instead["rm.golden.json"] = instead
    with pytest.raises(UserError, match=rf"^rm\.golden\.json: {message}"):
        read_from(web.urls(USED), tmp_path)
    assert web.asked.count("rm.golden.json") == asked
    assert not list(tmp_path.rglob("*.tmp")) and not (tmp_path / "raw").exists()
    assert not list((tmp_path / ".cache").rglob("rm.golden.json"))


def test_fetched_files_names_an_address_that_does_not_answer(tmp_path: Path, web: Web) -> None:
    urls = web.urls(USED) | {"llm.train.json": "http://127.0.0.1:9/llm.train.json"}
    with pytest.raises(UserError, match=r"^llm\.train\.json: found no connection.* at try 3 of 3"):
        read_from(urls, tmp_path)


def test_fetched_files_refuses_invalid_addresses(tmp_path: Path, web: Web) -> None:
    urls = web.urls(USED)
    wrong = [
        (urls | {"other.json": "https://example.org"}, r"found 'other\.json': 'https://example\.org'"),
        (urls | {"rm.train.json": "file:///etc/passwd"}, r"found 'rm\.train\.json': 'file:"),
        (urls | {USED[0]: "https://example.org"}, r"each once"),
        ({"rm.train.json": urls["rm.train.json"]}, r"no address of llm\.train\.json, test\.json, rm\.golden"),
    ]
    for changed, message in wrong:
        with pytest.raises(UserError, match=rf"data\.authors\.urls: .*{message}"):
            read_from(changed, tmp_path)
    (tmp_path / "input" / "mine.json").write_text("[]")
    with pytest.raises(UserError, match=r"'mine\.json' that data\.source 'authors' does not read"):
        read_from(urls, tmp_path)
    assert not web.asked
