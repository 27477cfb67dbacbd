"""The one exception that a user is meant to see, and its kind for one row, for which there is an action."""


class UserError(Exception):
    """Something outside this code is wrong: a file, a parameter, a checkpoint, the machine.

    The message says where, what was found, what was expected and what to do; a stage prints it
    without a traceback and ends with exit code 1.

    Args:
        where: A file with a line (`data/pairs.jsonl:17`), a parameter (`params.yaml: rm.lr`), a folder.
        found: What is there.
        expected: What should be there.
        do: What the user can do about it.
    """

    def __init__(self, where: str, *, found: str, expected: str, do: str) -> None:
        super().__init__(f"{where}: found {found}; expected {expected}; {do}")
        self.where, self.found, self.expected, self.do = where, found, expected, do


class RowError(UserError):
    """One row is wrong and the rows after it can still be read.

    Args:
        code: The issue, a code of `data.on_issue` in params.yaml.
        where: The row: `data/input/pairs.jsonl:17`.
        found: What it has, shortened for a reader.
        expected: What it should have.
        do: What the user can do about it.
    """

    def __init__(
        self, code: str, where: str, *, found: str, expected: str, do: str = "mend or remove the row"
    ) -> None:
        super().__init__(where, found=found, expected=expected, do=do)
        self.code = code
