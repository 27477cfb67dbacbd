"""Stages without the wait for their imports: `python -m stages.NAME` as a fork of a process that has them.

A game has some thirty stages, and each would spend about five seconds importing torch and transformers, more
than many of them compute. `PreloadedPython` starts one process that imports what the stages import, and puts
a `python` before the real one on the path of dvc. Called for a stage, that one asks the process to fork; the
fork drops every module of this project, so that the stage runs on the code of its own folder, takes over the
folder, the environment and the output of the caller, and runs the stage as `python -m` does. What a stage
computes is the same; its provenance names libraries that it would not have loaded.
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
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

from apo.core.errors import UserError

STAGES = ("data", "backbone", "actor", "sample", "train_apo_rm", "score", "align", "answer", "evaluate")
PROJECT = ("apo", "stages", "study")
CLIENT = """#!{python} -IS
import json, os, socket, sys
if sys.argv[1:2] != ["-m"] or not sys.argv[2].startswith("stages."):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    asked = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(asked).to_bytes(8, "big")], [1, 2])
    server.sendall(asked)
    said = server.recv(8)
sys.exit(int(said or b"1"))
"""


class PreloadedPython:
    """The process that forks, as a context; `folder` holds the `python` that asks it."""

    def __enter__(self) -> "PreloadedPython":
        self._temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self._temporary.name)
        address = str(self.folder / "socket")
        client = self.folder / "python"
        client.write_text(CLIENT.format(python=sys.executable, address=address), encoding="utf-8")
        client.chmod(0o755)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "study.preloaded", address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1", "APO_THREADS": "1"},
        )
        assert self._server.stdout is not None
        if not self._server.stdout.readline():
            raise UserError(
                "python -m study.preloaded",
                found="that it does not start",
                expected="a process that imports the stages",
                do="look at what it said above",
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.communicate()  # its input ends, and so does it
        self._temporary.cleanup()


def serve(address: str) -> None:
    """Imports what stages import, and forks for every one that is asked for, until its input ends."""
    for name in STAGES:
        importlib.import_module(f"stages.{name}")
    _forget_project()
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
                asked, _ = server.accept()
                if os.fork() == 0:
                    _answer(asked)
                asked.close()


def _answer(asked: socket.socket) -> None:
    """Runs the stage in this fork, sends its exit code and ends the process."""
    code = 1
    try:
        size, outputs, _, _ = socket.recv_fds(asked, 8, 2)
        arguments, folder, environment = _received(asked, int.from_bytes(size, "big"))
        for number, output in enumerate(outputs, start=1):
            os.dup2(output, number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = arguments
        sys.path[0] = folder
        code = _run(arguments[0])
    finally:
        if sys.exc_info()[0]:  # nobody else is left to say it
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        with contextlib.suppress(OSError):  # the caller has been killed
            asked.sendall(str(code).encode())
        os._exit(code)


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


def _received(asked: socket.socket, size: int) -> Any:
    data = b""
    while len(data) < size:
        data += asked.recv(size - len(data))
    return json.loads(data)


def _forget_project() -> None:
    for name in [one for one in sys.modules if one.partition(".")[0] in PROJECT]:
        del sys.modules[name]


if __name__ == "__main__":
    serve(sys.argv[1])
