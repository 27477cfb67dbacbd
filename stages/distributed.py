"""Starts a stage that computes with a model, under the launcher in APO_LAUNCH if there is one.

`python -m stages.distributed NAME --option value` becomes `$APO_LAUNCH -m stages.NAME --option value`, or the
same with this Python. It replaces this process, whatever shell DVC uses.
"""

import os
import shlex
import shutil
import sys

VARIABLE = "APO_LAUNCH"


def command(stage: str, options: list[str]) -> list[str]:
    """The command of a stage.

    Raises:
        SystemExit: The launcher is not a command, or not on the path.
    """
    text = os.environ.get(VARIABLE, "")
    try:
        words = shlex.split(text)
    except ValueError as error:
        sys.exit(_message(f"{text!r} ({error})"))
    if words and shutil.which(words[0]) is None:
        sys.exit(_message(f"{words[0]!r}, which is no program on the PATH"))
    return [*(words or [sys.executable]), "-m", f"stages.{stage}", *options]


def _message(value: str) -> str:
    return (
        f"error: {VARIABLE}: found {value}, expected a launcher with its options, such as "
        "'torchrun --standalone --nproc_per_node 8'; fix it, or unset it for a single process"
    )


if __name__ == "__main__":
    words = command(sys.argv[1], sys.argv[2:])
    os.execvp(words[0], words)
