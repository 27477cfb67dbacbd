"""An HTTP server that plays the judge, with failures that a real endpoint seldom has; answers to compare."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from apo.core.records import write_rows
from apo.judge.settings import Judge

ROOT = Path(__file__).parents[2]
COMMITTED = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))["judge"]

Response = tuple[int, dict[str, str], bytes]  # status, headers, body
Respond = Callable[[dict[str, Any], int], Response]


def settings(**changes: Any) -> Judge:
    """The committed section with a model named."""
    return Judge(**(COMMITTED | {"model": "m", "bootstrap": 100} | changes))


def use_fast_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries after hundredths of a second, and no judge in the environment."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.005)
    for name in ("APO_JUDGE_URL", "APO_JUDGE_KEY", "APO_JUDGE_PARALLEL", "APO_JUDGE_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def completion(text: str | None, reason: str = "stop", **changes: Any) -> Response:
    """A chat completion as OpenAI describes it."""
    message = {"role": "assistant", "content": text}
    content = {"id": "x", "object": "chat.completion", "model": "m-2026", "created": 1}
    content |= {"choices": [{"index": 0, "message": message, "finish_reason": reason}]} | changes
    return 200, {"Content-Type": "application/json"}, json.dumps(content).encode()


def error(status: int, text: str = "no", **headers: str) -> Response:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, text.encode()


@dataclass
class Server:
    """What the server received: the requests and paths, and the headers of the last request."""

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: Message = field(default_factory=Message)
    paths: list[str] = field(default_factory=list)

    @property
    def prompts(self) -> list[str]:
        return [request["messages"][0]["content"] for request in self.requests]


@contextlib.contextmanager
def serving(respond: Respond) -> Iterator[Server]:
    """Sends what `respond` makes of a request and of the number of requests before it."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(server.requests)
                server.requests.append(request)
                server.paths.append(self.path)
                server.headers = self.headers
            status, headers, content = respond(request, number)
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        server = Server(f"http://127.0.0.1:{http_server.server_address[1]}/v1")
        thread = threading.Thread(target=http_server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            http_server.shutdown()
            thread.join()


def shown_answers(prompt: str) -> tuple[str, str]:
    """The two answers in a prompt of the committed template, A and B."""
    _, _, rest = prompt.partition(" answer A\n")
    mark = prompt.split("begin with ")[1][:8]
    first, rest = rest.split(f"\n{mark} answer B\n")
    return first, rest.split(f"\n{mark} end")[0]


def prefers(preference: Callable[[str, str], float]) -> Respond:
    """A judge: A if the preference is positive, B if it is negative."""

    def respond(request: dict[str, Any], _: int) -> Response:
        number = preference(*shown_answers(request["messages"][0]["content"]))
        return completion(f"So I say.\nVerdict: {'A' if number > 0 else 'B' if number < 0 else 'tie'}")

    return respond


def write_answers(folder: Path, **texts_by_model: list[str]) -> Path:
    """Answers to queries q0, q1, .. as `evaluate` writes them; the testing RM prefers short ones."""
    for name, texts in texts_by_model.items():
        rows = [
            {
                "query_id": f"q{number}",
                "query": f"\n\nHuman: question {number}\n\nAssistant:",
                "samples": [text],
                "made_by": name,
                "scores": [-float(len(text))],
            }
            for number, text in enumerate(texts)
        ]
        write_rows(folder / f"{name}.jsonl", rows)
    return folder
