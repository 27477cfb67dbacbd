"""The exceptions that a user sees: `UserError`, and `RowError` for one row, whose action params.yaml sets."""


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
        where: The row: `data/input/pairs.jsonl:17`.
        found: The actual value, truncated.
        expected: The expected value.
        do: The fix.
    """

    def __init__(
        self, code: str, where: str, *, found: str, expected: str, do: str = "fix or remove the row"
    ) -> None:
        super().__init__(where, found=found, expected=expected, do=do)
        self.code = code
