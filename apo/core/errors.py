"""The exceptions that a user sees: `UserError`, and `RowError` for one row, whose action params.yaml sets."""

import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]


class UserError(Exception):
    """An input of the user is wrong: a file, a parameter, a checkpoint, the environment.

    The message has four parts: location, actual value, expected value, fix. A stage prints it
    without a traceback and exits with code 1.

    Args:
        where: A file with a line (`data/pairs.jsonl:17`), a parameter (`params.yaml: rm.lr`) or a folder.
        found: The actual value.
        expected: The expected value.
        do: The fix.
    """

    def __init__(self, where: str, *, found: str, expected: str, do: str) -> None:
        super().__init__(f"{where}: found {found}; expected {expected}; {do}")
        self.where, self.found, self.expected, self.do = where, found, expected, do


class RowError(UserError):
    """One row is invalid; the rows after it are still readable.

    Args:
        code: The kind of data issue, a key of `data.on_issue` in params.yaml.
        where, found, expected, do: See `UserError`; `found` is truncated.
    """

    def __init__(
        self, code: str, where: str, *, found: str, expected: str, do: str = "fix or remove the row"
    ) -> None:
        super().__init__(where, found=found, expected=expected, do=do)
        self.code = code


def explain_unexpected(error: BaseException, stage: str) -> UserError:
    """The error message for an unexpected exception, with the last line of this project in its traceback."""
    locations = [
        f"{path.relative_to(ROOT)}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if (path := Path(frame.filename)).is_relative_to(ROOT) and ".venv" not in path.parts
    ]
    text = " ".join(str(error).split())
    return UserError(
        f"stage {stage}",
        found=f"{type(error).__name__}{': ' if text else ''}{text[:300]} (at {[stage, *locations][-1]})",
        expected="inputs and parameters that the stage can work with",
        do="look at what the message names; APO_TRACEBACK=1 shows where it comes from, for a report",
    )
