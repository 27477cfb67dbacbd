"""apo/core/data_issues.py: every issue is counted, the first ten of a code are shown, its action decides."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from apo.core.config import read_section
from apo.core.data_issues import MALFORMED, SUSPICIOUS, DataIssues, IssueCode, IssueTable
from apo.core.errors import UserError
from apo.datasets.issues import ROW_ISSUES
from apo.reward.token_issues import TOKEN_ISSUES

ROOT = Path(__file__).parents[3]
TABLE = IssueTable(
    "data.on_issue",
    [IssueCode(code, "A sentence.", SUSPICIOUS) for code in ("blank", "equal", "torn")]
    + [IssueCode("broken", "A sentence.", MALFORMED)],
)


def test_actions_decide_and_all_issues_are_counted() -> None:
    issues = DataIssues(TABLE, {"blank": "drop", "equal": "keep", "torn": "error", "broken": "error"})
    assert not issues.report("blank", where="a.jsonl:1", found="''")
    assert issues.report("equal", where="a.jsonl:2", found="'x' twice")
    assert issues.counts == {"blank": 1, "equal": 1, "torn": 0, "broken": 0}
    assert issues.examples == [
        {"code": "blank", "action": "drop", "where": "a.jsonl:1", "found": "''"},
        {"code": "equal", "action": "keep", "where": "a.jsonl:2", "found": "'x' twice"},
    ]
    with pytest.raises(UserError, match=r"a.jsonl:3: found half a row; .*data.on_issue.torn to drop or keep"):
        issues.report("torn", where="a.jsonl:3", found="half a row")
    with pytest.raises(UserError, match=r"set data.on_issue.broken to drop in params.yaml"):
        issues.report("broken", where="a.jsonl:3", found="half a row")


def test_data_issues_keeps_ten_examples_of_each_code() -> None:
    issues = DataIssues(TABLE, dict.fromkeys(TABLE.codes, "drop"))
    for number in range(25):
        issues.report("blank", where=str(number), found="")
    issues.report("equal", where="25", found="")
    assert +issues.counts == {"blank": 25, "equal": 1}
    assert [row["where"] for row in issues.examples] == [*map(str, range(10)), "25"]


def read(folder: Path, **block: Any) -> dict[str, str]:
    (folder / "params.yaml").write_text("data:\n  on_issue: " + str(block).replace("'", "") + "\n")
    return read_section(folder / "params.yaml", TABLE.section, TABLE.settings).actions()


def test_on_issue_default_is_the_action_of_unlisted_codes(tmp_path: Path) -> None:
    assert read(tmp_path, default="error", equal="keep") == {
        "blank": "error",
        "equal": "keep",
        "torn": "error",
        "broken": "error",
    }
    assert read(tmp_path, default="keep", broken="drop")["torn"] == "keep"


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"default": "error", "blnk": "drop"}, "data.on_issue.blnk: found a parameter that nothing reads"),
        ({"default": "error", "broken": "keep"}, "data.on_issue.broken: found 'keep'.*'error' or 'drop'"),
        ({"default": "error", "blank": "skip"}, "data.on_issue.blank: found 'skip'"),
        ({"default": "keep"}, "data.on_issue.default: found 'keep'; expected an action that broken allows"),
        ({"blank": "drop"}, "data.on_issue.default: found no such key"),
    ],
)
def test_on_issue_names_the_key_of_a_forbidden_action(tmp_path: Path, block: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, **block)


# What the committed parameters do ------------------------------------------------------------------

DROPPED = "two_queries empty_response single_response identical_responses no_preference golden_repeated"
KEPT = (
    "duplicate_responses sample_count replacement_character turn_order chat_template "
    "unread_column runaway_response json_text"
)
TOKENS = {
    "repeated_responses": "keep",
    "special_token_text": "keep",
    "special_token_id": "error",
    "lost_separator": "error",
    "pad_is_end_token": "keep",
}


def test_on_issue_of_params_yaml_by_hand() -> None:
    rows = read_section(ROOT / "params.yaml", ROW_ISSUES.section, ROW_ISSUES.settings).actions()
    wanted = dict.fromkeys(DROPPED.split(), "drop") | dict.fromkeys(KEPT.split(), "keep")
    assert {code: action for code, action in rows.items() if action != "error"} == wanted
    tokens = read_section(ROOT / "params.yaml", TOKEN_ISSUES.section, TOKEN_ISSUES.settings).actions()
    assert {code: action for code, action in tokens.items() if action != "drop"} == TOKENS


@pytest.mark.parametrize("table", [ROW_ISSUES, TOKEN_ISSUES], ids=lambda table: table.section)
def test_issue_codes_are_those_of_the_table_in_docs_data(table: IssueTable) -> None:
    """Each line: the code, its actions with the committed one in bold, the sentence."""
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    committed = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for key in table.section.split("."):
        committed = committed[key]
    for one in table.codes.values():
        action = committed.get(one.code, committed["default"])
        actions = ", ".join(f"**{name}**" if name == action else name for name in one.actions)
        assert f"| `{one.code}` | {actions} | {one.description} |" in text
