"""Sets up `.venv`: `python install.py requirements.lock`, and then `python install.py requirements-dev.lock`.

`make` calls it before everything else. A lock pins all packages, so pip resolves nothing. Only torch is asked
what it needs in turn: on a machine with a GPU that is CUDA, in packages of its own.

`.venv/installed` (`.venv/installed-dev`) is written last, and says what was installed, where and with which
Python. While it says the same, there is nothing to do. Where it does not, `.venv` is made afresh: an install
that failed or was interrupted is never taken for a whole one.
"""

import hashlib
import os
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import NoReturn

VENV = Path(".venv").absolute()
BASE = Path("requirements.lock")  # what the other lock stands on
PYTHON = VENV / "bin" / "python"
BUILDER = VENV / "builder"  # the setuptools of the lock, which source packages are built with
CONSTRAINT = BUILDER.as_uri()  # pip splits what it reads from its environment at spaces
# What the pipeline never loads is not compiled: a third of the modules.
NOT_COMPILED = r"/(tests?|testing|transformers/models/(?!auto|llama)\w+)/"
# What it does load has all its bytecode after this. -E: also where PYTHONDONTWRITEBYTECODE is set, as in many
# containers, where every stage would compile its own modules again.
LOADED = "import dvc.cli, stages.backbone, stages.train_apo_rm, stages.answer, stages.data, stages.tables"
LAST_LINES = 25  # of a command that failed


def main(lock: Path) -> None:
    """Installs a lock, unless it is installed."""
    mark, state = VENV / lock.stem.replace("requirements", "installed"), wanted(lock)
    if mark.is_file() and mark.read_text(encoding="utf-8") == state:
        return
    refuse_environment_of_another(mark)
    mark.unlink(missing_ok=True)
    started = time.monotonic()
    pins = [line for line in lock.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    torch = [pin for pin in pins if pin.startswith("torch==")]
    rest = [pin for pin in pins if pin not in torch]
    pip = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-compile"]
    print(f"{lock.name}: {len(pins)} packages into .venv, Python {sys.version.split()[0]}", file=sys.stderr)
    if lock == BASE:
        step("a fresh environment", [interpreter(), "-m", "venv", "--clear", str(VENV)])
        BUILDER.write_text("".join(f"{pin}\n" for pin in pins if pin.startswith("setuptools==")))
    step(f"{len(rest)} packages", [*pip, "--no-deps", *rest], count=len(rest))
    if torch:
        step(f"{torch[0]}, and CUDA where it asks for it", [*pip, *torch])
    step("whether they fit together", [str(PYTHON), "-m", "pip", "check"])
    compilation = [str(PYTHON), "-m", "compileall", "-qq", "-j", "0", "-x", NOT_COMPILED, str(VENV / "lib")]
    step("bytecode", compilation, may_fail=True)  # some packages hold files that no Python 3 reads
    step("bytecode of what the stages import", [str(PYTHON), "-E", "-c", LOADED], may_fail=True)
    mark.write_text(state, encoding="utf-8")
    print(f"{lock.name}: installed in {time.monotonic() - started:.0f} s", file=sys.stderr)


def refuse_environment_of_another(mark: Path) -> None:
    """Ends if `.venv` is a link to the environment of another checkout, which would be emptied."""
    if not (VENV.is_symlink() and mark.is_file()):
        return
    owner = mark.read_text(encoding="utf-8").splitlines()[1]
    if owner != str(VENV):
        sys.exit(
            f"error: .venv: found a link to the environment of {owner}, expected one of this checkout's own "
            "(it is emptied first); remove the link"
        )


def wanted(lock: Path) -> str:
    """What the mark of a complete install says."""
    locks = dict.fromkeys((BASE, lock))
    digests = [f"{each.name} {hashlib.sha256(each.read_bytes()).hexdigest()}" for each in locks]
    return "\n".join([f"Python {sys.version}", str(VENV), *digests, ""])


def interpreter() -> str:
    """The Python outside of `.venv`, where this one is that of `.venv`, which is about to be removed."""
    return str(getattr(sys, "_base_executable", sys.executable))


def step(what: str, command: list[str], count: int = 0, may_fail: bool = False) -> None:
    """Runs a command, and says in one line what it does, how far it is and how long it took.

    Args:
        what: What it does.
        command: Its words.
        count: How many packages pip collects.
        may_fail: Whether its exit code is of no interest.
    """
    print(f"  {what}: ", end="", file=sys.stderr, flush=True)
    started, collected = time.monotonic(), 0
    last: deque[str] = deque(maxlen=LAST_LINES)
    # The second name is that of newer pips. And deepspeed builds a kernel when it needs one, not here.
    environment = dict.fromkeys(("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"), CONSTRAINT) | {
        "DS_BUILD_OPS": "0"
    }
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | environment,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            last.append(line)
            collected += line.startswith("Collecting ")
            if count and sys.stderr.isatty():
                print(f"\r  {what}: {collected} fetched ", end="", file=sys.stderr, flush=True)
    print(f"{time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
    if process.returncode and not may_fail:
        failed(what, "".join(last))


def failed(what: str, said: str) -> NoReturn:
    """Ends with what the command said last, and one message."""
    sys.exit(f"{said}error: .venv: the step {what!r} failed, and says why above; mend it and run this again")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit("\nerror: .venv: interrupted; the next run installs it from the beginning")
