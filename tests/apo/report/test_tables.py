"""apo/report/tables.py: the rows of the tables; no metric is lost."""

from pathlib import Path
from typing import Any

from apo.report.run import read_run
from apo.report.tables import all_metrics, tables


def test_tables_hold_the_metrics(folder: Path) -> None:
    tables_by_title = {table.title: table for table in tables(read_run(["r1"]).metrics, ["r1"])}
    assert list(tables_by_title) == [
        "Who wins",
        "Language models",
        "Reward models",
        "Reward models by kind of query",
        "Payoff matrix",
    ]
    counts = ["4", "1", "1", "0.750 (0.500 to 0.875)", "0.250"]
    assert tables_by_title["Who wins"].rows == [
        ["llm_apo_r1 against llm_base_r1", "testing RM", "0.500 (0.250 to 0.750)", *counts],
        ["llm_apo_r1 against actor", "testing RM", "0.750 (0.250 to 0.750)", *counts],
    ]
    llms = {name: cells for name, *cells in tables_by_title["Language models"].rows}
    assert list(llms) == ["actor", "llm_base_r1", "llm_apo_r1", "golden"]
    assert llms["actor"][0] == "0.250 (0.900 to 1.100)"
    assert "true reward" not in tables_by_title["Language models"].head  # a column without values
    rms = {name: cells[0] for name, *cells in tables_by_title["Reward models"].rows}
    assert rms == {
        "base_rm, test": "0.700 (0.650 to 0.750)",
        "base_rm, valid": "0.700 (0.650 to 0.750)",
        "apo_rm_r1, test": "0.720 (0.650 to 0.750)",
        "test_rm, test": "0.700 (0.650 to 0.750)",
    }
    gains = {name: cells for name, *cells in tables_by_title["Payoff matrix"].rows}
    assert gains == {  # llm_base_r1, llm_apo_r1, golden
        "testing RM": ["+0.750", "+0.750 (+0.250 to +0.750)", "+8.750"],
        "base_rm": ["", "+0.250", ""],
        "apo_rm_r1": ["", "+2.000 (+1.500 to +2.500)", ""],
    }
    rms = tables_by_title["Reward models"]
    minus_base = {row[0]: row[rms.head.index("minus base RM")] for row in rms.rows}
    assert minus_base.pop("apo_rm_r1, test") == "+0.020 (-0.010 to +0.050)"
    assert not any(minus_base.values())


def test_all_metrics_loses_no_metric(folder: Path) -> None:
    """Every number of every file is a value or an end of an interval."""
    metrics = read_run(["r1"]).metrics

    def leaves(node: Any) -> int:
        return sum(map(leaves, node.values())) if isinstance(node, dict) else 1

    rows = [cells for table in all_metrics(metrics) for cells in table.rows]
    assert sum(1 + 2 * bool(ends) for _, _, ends in rows) == leaves(metrics)
    assert ["test.by_type.helpful.accuracy", "0.800", "0.700 to 0.900"] in rows
