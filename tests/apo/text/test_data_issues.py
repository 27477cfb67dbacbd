"""reading/findings.py: every finding is counted, the first ten of a code are shown, its policy decides."""

import pytest

from apo.core.errors import UserError
from apo.text.data_issues import Findings


def test_policies_decide_and_all_are_counted() -> None:
    findings = Findings({"blank": "drop", "equal": "keep", "torn": "error"}, set_in="data.findings")
    assert not findings.keeps("blank", where="a.jsonl:1", found="''")
    assert findings.keeps("equal", where="a.jsonl:2", found="'x' twice")
    assert findings.counts == {"blank": 1, "equal": 1, "torn": 0}
    assert findings.examples == [
        {"code": "blank", "policy": "drop", "where": "a.jsonl:1", "found": "''"},
        {"code": "equal", "policy": "keep", "where": "a.jsonl:2", "found": "'x' twice"},
    ]
    with pytest.raises(UserError, match=r"a.jsonl:3: found half a row; .*data.findings.torn to drop or keep"):
        findings.keeps("torn", where="a.jsonl:3", found="half a row")


def test_ten_examples_of_each_code() -> None:
    findings = Findings({"one": "drop", "other": "drop"}, set_in="x")
    for number in range(25):
        findings.keeps("one", where=str(number), found="")
    findings.keeps("other", where="25", found="")
    assert findings.counts == {"one": 25, "other": 1}
    assert [row["where"] for row in findings.examples] == [*map(str, range(10)), "25"]
