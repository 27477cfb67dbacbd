"""A small HTTP server of the tests' own, for what a real endpoint seldom does, and answers to compare."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from apo.core.records import write_rows
from apo.judge.settings import Judge

ROOT = Path(__file__).parents[2]
COMMITTED = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))["judge"]

Answer = tuple[int, dict[str, str], bytes]
Behaviour = Callable[[dict[str, Any], int], Answer]


def settings(**changes: Any) -> Judge:
    """The committed section with a model named."""
    return Judge(**(COMMITTED | {"model": "m", "bootstrap": 100} | changes))


def completion(text: str | None, reason: str = "stop", **changes: Any) -> Answer:
    """A chat completion as OpenAI describes it."""
    message = {"role": "assistant", "content": text}
    content = {"id": "x", "object": "chat.completion", "model": "m-2026", "created": 1}
    content |= {"choices": [{"index": 0, "message": message, "finish_reason": reason}]} | changes
    return 200, {"Content-Type": "application/json"}, json.dumps(content).encode()


def error(status: int, text: str = "no", **headers: str) -> Answer:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, text.encode()


@dataclass
class Served:
    """What the server was asked: the bodies, and the headers of the last request."""

    url: str
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)

    @property
    def prompts(self) -> list[str]:
        return [body["messages"][0]["content"] for body in self.bodies]


@contextlib.contextmanager
def serving(behave: Behaviour) -> Iterator[Served]:
    """Answers with what `behave` makes of a request and of how many came before it."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(served.bodies)
                served.bodies.append(body)
                served.paths.append(self.path)
                served.headers = dict(self.headers)
            status, headers, content = behave(body, number)
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Served(f"http://127.0.0.1:{server.server_address[1]}/v1")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


def shown(prompt: str) -> tuple[str, str]:
    """The two answers in a prompt of the committed template, A and B."""
    _, _, rest = prompt.partition(" answer A\n")
    mark = prompt.split("begin with ")[1][:8]
    first, rest = rest.split(f"\n{mark} answer B\n")
    return first, rest.split(f"\n{mark} end")[0]


def prefers(better: Callable[[str, str], float]) -> Behaviour:
    """A judge: A where the number is positive, B where it is negative."""

    def behave(body: dict[str, Any], _: int) -> Answer:
        number = better(*shown(body["messages"][0]["content"]))
        return completion(f"So I say.\nVerdict: {'A' if number > 0 else 'B' if number < 0 else 'tie'}")

    return behave


def answers(folder: Path, **texts: list[str]) -> Path:
    """Answers to queries q0, q1, .. as `evaluate` writes them; the testing RM likes short ones."""
    for name, own in texts.items():
        rows = [
            {
                "query_id": f"q{number}",
                "query": f"\n\nHuman: question {number}\n\nAssistant:",
                "samples": [text],
                "made_by": name,
                "scores": [-float(len(text))],
            }
            for number, text in enumerate(own)
        ]
        write_rows(folder / f"{name}.jsonl", rows)
    return folder
