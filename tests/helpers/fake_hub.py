"""A hub on localhost: lists the files of repositories at a commit, and serves them with ranges."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = 1000  # bytes; from here on a file is in LFS


@dataclass
class Hub:
    """What is served, and what was asked for.

    Attributes:
        files: By repository (`models/owner/name`), then by name.
        commit: The commit that every revision is said to be; None for the revision itself.
        wrong: Files that are served with their last byte changed.
        cut: Bytes of a file after which every connection breaks.
        stalls: Whether such a connection stays open, without a further byte, until the client leaves.
        status: The status of every answer, 0 for the right one.
        ranges: Whether a range is served; otherwise the whole file comes.
        requests: Path and range of every request.
    """

    files: dict[str, dict[str, bytes]]
    commit: str | None = None
    wrong: set[str] = field(default_factory=set)
    cut: dict[str, int] = field(default_factory=dict)
    stalls: bool = False
    status: int = 0
    ranges: bool = True
    requests: list[tuple[str, str]] = field(default_factory=list)
    endpoint: str = ""

    def served(self) -> list[str]:
        """The names of the files that were asked for, without where a large one really lies."""
        return [path.rpartition("/")[2] for path, _ in self.requests if "/resolve/" in path]


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _entry(name: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": git_sha1(content)}
    if len(content) >= LARGE:
        sha256 = hashlib.sha256(content).hexdigest()
        entry |= {"blobId": "0" * 40, "lfs": {"size": len(content), "sha256": sha256, "pointerSize": 1}}
    return entry


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        hub = self.hub
        path = self.path.partition("?")[0].strip("/")
        hub.requests.append((path, self.headers.get("Range", "")))
        if hub.status:
            self._answer(hub.status, b"", {"Content-Type": "text/plain"})
        elif path.startswith("api/"):
            self._list(*path.removeprefix("api/").partition("/revision/")[::2])
        elif path.startswith("elsewhere/"):
            self._file(path.removeprefix("elsewhere/"))
        else:
            prefix = "" if path.startswith("datasets/") else "models/"
            repository, _, rest = path.partition("/resolve/")
            key = f"{prefix}{repository}/{rest.partition('/')[2]}"
            name = rest.partition("/")[2]
            if len(hub.files[prefix + repository][name]) >= LARGE:
                self._answer(302, b"", {"Location": f"{hub.endpoint}/elsewhere/{key}"})
            else:
                self._file(key)

    def _list(self, repository: str, revision: str) -> None:
        if repository not in self.hub.files:
            return self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        if revision == "f" * 40:
            return self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        listed = [_entry(*file) for file in self.hub.files[repository].items()]
        content = {"id": repository.partition("/")[2], "sha": self.hub.commit or revision, "siblings": listed}
        self._answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _file(self, key: str) -> None:
        owner = next(one for one in self.hub.files if key.startswith(one + "/"))
        name = key.removeprefix(owner + "/")
        content = self.hub.files[owner][name]
        if name in self.hub.wrong:
            content = content[:-1] + bytes([content[-1] ^ 1])
        start = int(self.headers.get("Range", "bytes=0-")[6:].partition("-")[0]) if self.hub.ranges else 0
        headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        end = self.hub.cut.get(name, len(content))
        self._answer(206 if start else 200, content[start:], headers, sent=max(end - start, 0))

    def _answer(self, status: int, body: bytes, headers: dict[str, str], sent: int | None = None) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a client that was killed
            self.wfile.write(body[:sent])
            if self.hub.stalls and sent is not None and sent < len(body):
                self.connection.recv(1)
        self.close_connection = True


@contextlib.contextmanager
def serving(files: dict[str, dict[str, bytes]]) -> Iterator[Hub]:
    hub = Hub(files)
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
