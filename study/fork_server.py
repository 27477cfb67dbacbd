"""Runs `python -m stages.NAME` as a fork of a process that has already imported torch and transformers.

The imports take about five seconds of a core, more than many stages of a small game compute. `ForkServer`
puts a `python` before the real one on the path of dvc. Called for a stage, that client connects to the
server, which forks. The server has dropped every module of this project, so the stage runs the code of its
own folder. The fork takes over the folder, the environment and the output of the client, runs the stage
as `python -m` does, and ends when the client is killed.
"""

import contextlib
import importlib
import json
import os
import runpy
import select
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

from apo.core.errors import UserError

STAGES = (
    "data",
    "backbone",
    "actor",
    "sample",
    "train_apo_rm",
    "evaluate_rm",
    "score",
    "align",
    "answer",
    "evaluate",
)
"""The stages whose imports cover those of all others."""
PROJECT = ("apo", "stages", "study")
CLIENT = """#!{python} -IS
import json, os, socket, sys
if sys.argv[1:2] != ["-m"] or not sys.argv[2].startswith("stages."):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
words = sys.argv[2:]
if words[0] == "stages.distributed":  # a study has no launcher
    words = ["stages." + words[1], *words[2:]]
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    request = json.dumps([words, os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(request).to_bytes(8, "big")], [1, 2])
    server.sendall(request)
    exit_code = server.recv(8)
sys.exit(int(exit_code or b"1"))
"""


class ForkServer:
    """The server process, as a context; `folder` holds the client `python`."""

    def __enter__(self) -> "ForkServer":
        self._temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self._temporary.name)
        address = str(self.folder / "socket")
        client = self.folder / "python"
        client.write_text(CLIENT.format(python=sys.executable, address=address), encoding="utf-8")
        client.chmod(0o755)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "study.fork_server", address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1", "APO_THREADS": "1"},
        )
        assert self._server.stdout is not None
        if not self._server.stdout.readline():
            raise UserError(
                "python -m study.fork_server",
                found="that it does not start",
                expected="a process that imports the stages",
                do="read its error above",
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.communicate()  # closes its input, which ends it
        self._temporary.cleanup()


def serve(address: str) -> None:
    """Imports the libraries of the stages and forks for every request, until its input ends."""
    for name in STAGES:
        importlib.import_module(f"stages.{name}")
    for name in [name for name in sys.modules if name.partition(".")[0] in PROJECT]:
        del sys.modules[name]
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([server, sys.stdin], [], [], 1.0)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if sys.stdin in ready:
                return
            if server in ready:
                client, _ = server.accept()
                if os.fork() == 0:
                    _run_request(client)
                client.close()


def _run_request(client: socket.socket) -> None:
    """Runs the stage in this fork, sends its exit code and ends the process."""
    code = 1
    try:
        size, outputs, _, _ = socket.recv_fds(client, 8, 2)
        arguments, folder, environment = _receive(client, int.from_bytes(size, "big"))
        for number, output in enumerate(outputs, start=1):
            os.dup2(output, number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = arguments
        sys.path[0] = folder
        threading.Thread(target=_end_with, args=(client,), daemon=True).start()
        code = _run(arguments[0])
    finally:
        if sys.exc_info()[0]:  # os._exit would not print it
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        with contextlib.suppress(OSError):  # the client was killed
            client.sendall(str(code).encode())
        os._exit(code)


def _end_with(client: socket.socket) -> None:
    """Ends this process when the client is gone; it sends nothing behind its request."""
    with contextlib.suppress(OSError):
        client.recv(1)
    os._exit(1)


def _run(module: str) -> int:
    """The exit code of a module that is run as a script."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    return 0


def _receive(client: socket.socket, size: int) -> Any:
    data = b""
    while len(data) < size:
        data += client.recv(size - len(data))
    return json.loads(data)


if __name__ == "__main__":
    serve(sys.argv[1])
