"""An HTTP server that plays a model behind an endpoint, with failures that a real one seldom has."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Response = tuple[int, dict[str, str], bytes]  # status, headers, body
Respond = Callable[[dict[str, Any], int], Response]


def use_fast_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries after hundredths of a second, and no endpoint in the environment."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.005)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.02)
    for service in ("JUDGE", "GOLDEN"):
        for name in ("URL", "KEY", "PARALLEL", "TIMEOUT"):
            monkeypatch.delenv(f"APO_{service}_{name}", raising=False)
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


def in_turn(*responses: Response) -> Respond:
    """A server that sends these responses in turn, and the last one for ever."""
    return lambda _, number: responses[min(number, len(responses) - 1)]
