"""Issues in rows of data: codes, the action that params.yaml sets for each, counts, examples."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, GetPydanticSchema, create_model
from pydantic_core import PydanticCustomError

from apo.core.config import Section
from apo.core.errors import UserError
from apo.core.records import Row

Action = Literal["error", "drop", "keep", "cut"]
EXAMPLES = 10  # of each code that are kept as examples
NO_ADVICE = "fix the row"  # what to do where nothing more is known

MALFORMED: tuple[Action, ...] = ("error", "drop")  # such a row has nothing to keep
SUSPICIOUS: tuple[Action, ...] = ("error", "drop", "keep")


class IssueCode(NamedTuple):
    """A kind of issue: its code, one sentence about it, and the actions that it allows."""

    code: str
    description: str
    actions: tuple[Action, ...]


class OnIssue(Section):
    """A block `on_issue` of params.yaml: a default action, and the codes that have another one."""

    def actions(self) -> dict[str, Action]:
        """The action for each code, in the order of the table."""
        values = self.model_dump()
        default = values.pop("default")
        return {code: action or default for code, action in values.items()}


class IssueTable:
    """The codes of one block `on_issue`, and the section type that checks it.

    Args:
        section: The name of the block in params.yaml: `data.on_issue`.

    Attributes:
        settings: The type of the section. It refuses an unknown code, an action that a code does not allow,
            and a default that is not allowed for a code without an action. The error names the key.
    """

    def __init__(self, section: str, codes: Iterable[IssueCode]) -> None:
        self.section = section
        self.codes = {issue.code: issue for issue in codes}
        fields: dict[str, Any] = {
            issue.code: (Annotated[Literal[issue.actions], Field(description=issue.description)], "")
            for issue in self.codes.values()
        }
        self.settings: type[OnIssue] = create_model(
            "OnIssue",
            __base__=OnIssue,
            **fields,
            default=(Annotated[Action, AfterValidator(self._check_default)], ...),  # after all codes
        )
        self.annotation = GetPydanticSchema(lambda _, handler: handler(self.settings))

    def _check_default(self, default: Action, info: Any) -> Action:
        refusing = [
            code
            for code, issue in self.codes.items()
            if not info.data.get(code, "invalid") and default not in issue.actions
        ]
        if refusing:
            raise PydanticCustomError(
                "default_action",
                "{expected}",
                {"expected": f"an action that {', '.join(refusing)} allows, or one for each of these codes"},
            )
        return default


class DataIssues:
    """The issues in a stream of rows.

    Args:
        actions: For each code: `error` ends the stage, `drop` leaves the row out, `keep` does not,
            `cut` keeps it without the part that is the issue.

    Attributes:
        counts: Rows by code, for every code of the table.
        examples: Rows {code, action, where, found}, the first `EXAMPLES` of each code.
        advice: By code, what its first row should be and what to do.
    """

    def __init__(self, table: IssueTable, actions: Mapping[str, Action]) -> None:
        self._table, self._actions = table, dict(actions)
        self.counts: Counter[str] = Counter(dict.fromkeys(table.codes, 0))
        self.examples: list[Row] = []
        self.advice: dict[str, str] = {}

    def action(self, code: str) -> Action:
        """The action for a code."""
        return self._actions[code]

    def report(self, code: str, *, where: str, found: str, expected: str = "", do: str = NO_ADVICE) -> bool:
        """Counts an issue; returns whether its row is kept.

        Args:
            where: The row: `data/input/pairs.jsonl:17`.
            expected: The expected value, if it says more than the code.
            do: The fix, apart from another action.

        Raises:
            UserError: The action for the code is `error`.
        """
        action = self._actions[code]
        if action == "error":
            allowed = self._table.codes[code].actions
            others = " or ".join(other for other in allowed if other != "error")
            setting = f", or set {self._table.section}.{code} to {others} in params.yaml" if others else ""
            expected = expected or f"no row with {code}"
            raise UserError(where, found=found, expected=expected, do=do + setting)
        self.advice.setdefault(code, f"expected {expected}; {do}" if expected else do)
        self.counts[code] += 1
        if self.counts[code] <= EXAMPLES:
            self.examples.append({"code": code, "action": action, "where": where, "found": found})
        return action != "drop"
