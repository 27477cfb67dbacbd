"""The one exception that a user is meant to see."""


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
