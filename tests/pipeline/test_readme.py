"""README.md: the table 'change this, and these stages run again', and the experiments that it queues."""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.helpers.played_repo import dvc, stages
from tests.helpers.small_repo import ROOT, run

README = (ROOT / "README.md").read_text(encoding="utf-8")
PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
STAGES = stages(ROOT)
TRAININGS = {"train_base_rm", "train_apo_rm", "test_rm"}


def table() -> list[tuple[str, str]]:
    """The rows of the table."""
    text = re.split(r"^\| change \|.*\n\|---\|---\|\n", README, flags=re.MULTILINE)[1].split("\n\n")[0]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in text.splitlines()]  # type: ignore[misc]


def names(cell: str) -> list[str]:
    return re.findall(r"`([\w.]+)`", cell)


def leaves(node: Any, above: str = "") -> list[str]:
    """Dotted names of all values of the parameters."""
    if not isinstance(node, dict):
        return [above]
    return [leaf for key, value in node.items() for leaf in leaves(value, f"{above}.{key}".strip("."))]


def row_of(leaf: str) -> str:
    """The first cell with the longest name that the leaf has, or is below."""
    rows = {name: cell for cell, _ in table() for name in names(cell) if f"{leaf}.".startswith(f"{name}.")}
    return rows[max(rows, key=len)] if rows else ""


def readers(leaf: str) -> set[str]:
    """The stages that declare a parameter, or a section that it is in."""
    return {
        address.split("@")[0]
        for address, stage in STAGES.items()
        if any(f"{leaf}.".startswith(f"{name}.") for name in stage["params"])
    }


def test_every_parameter_is_in_the_table() -> None:
    assert not [leaf for leaf in leaves(PARAMS) if not row_of(leaf)]


@pytest.mark.parametrize(("change", "expected"), [row for row in table() if row[0] != "`rounds`"])
def test_the_table_names_the_stages_that_read_a_parameter(change: str, expected: str) -> None:
    """A changed parameter runs the stages that declare it again, as DVC sees it, and what depends on them."""
    read = set().union(*(readers(leaf) for leaf in leaves(PARAMS) if row_of(leaf) == change))
    named = {name for name in names(expected) if "." not in name}
    if "the three RM trainings" in expected:
        named |= TRAININGS
    if expected == "all":
        named = {address.split("@")[0] for address, stage in STAGES.items() if "seed" in stage["params"]}
        assert {"data", "split", "backbone"} <= named  # all others depend on these
    elif expected.startswith("none"):
        named = set()
    assert read == named


def test_more_rounds_run_the_start_the_tables_and_the_new_rounds() -> None:
    [expected] = [cell for change, cell in table() if change == "`rounds`"]
    assert set(names(expected)) == readers("rounds") == {"start", "tables"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_ablations_can_be_queued(played: Path) -> None:
    """Each line as it stands there."""
    lines = [line for line in README.splitlines() if line.startswith("dvc exp run --queue")]
    assert len(lines) > 6
    done = run(["bash", "-ec", "\n".join(lines)], played)
    assert done.returncode == 0, done.stderr
    queued = dvc(played, "queue", "status")
    assert queued.count("Queued") == len(lines) + 3  # the sweep of coeff is four
    assert all(name in queued for name in ("gail", "wgan", "sequential", "rrhf", "dpo", "no-samples"))
    dvc(played, "queue", "remove", "--queued")


def test_hashes_on_the_page_of_promises_are_those_of_the_lock() -> None:
    page = (ROOT / "docs/promises.md").read_text(encoding="utf-8")
    shown = re.findall(r"(?:wrote|read) +ok +(\S+)  (\w+(?:\.dir)?)", page)
    lock = YAML(typ="safe").load((ROOT / "dvc.lock").read_text(encoding="utf-8"))
    files = [file for stage in lock["stages"].values() for kind in ("deps", "outs") for file in stage[kind]]
    recorded = {(file["path"], file.get("md5")) for file in files}
    assert len(shown) == 6 and set(shown) <= recorded
