"""apo/datasets/columns.py: columns that the user maps keep their partners; names in other languages."""

from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.datasets.readers import read_demonstrations, read_golden, read_samples
from tests.helpers.reading import PAIR, WHY, read


def test_mapping_the_instruction_keeps_its_input(tmp_path: Path) -> None:
    rows = [{"instruction": "Add.", "input": about, **PAIR} for about in ("1 and 2", "", None)]
    columns = {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"}
    found = read(tmp_path, rows, columns=columns)
    assert [query for query, _ in found.said] == [
        "\n\nHuman: Add.\n\n1 and 2\n\nAssistant:",
        *["\n\nHuman: Add.\n\nAssistant:"] * 2,
    ]


PARTNERS: list[tuple[dict[str, Any], dict[str, str], str]] = [
    (
        {"q": "Add.", "about": "1 and 2", "a": "good", "b": "bad"},
        {"prompt": "q", "input": "about", "chosen": "a", "rejected": "b"},
        "\n\nHuman: Add.\n\n1 and 2\n\nAssistant:",
    ),
    (
        {"q": "Why?", "system": "Be brief.", "a": "good", "b": "bad"},
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        f"Be brief.{WHY}",
    ),
    (
        {"q": "Why?", "before": [["Hi", "Ho"]], "a": "good", "b": "bad"},
        {"prompt": "q", "history": "before", "chosen": "a", "rejected": "b"},
        f"\n\nHuman: Hi\n\nAssistant: Ho{WHY}",
    ),
    (
        {"x": {"instruction": "Add."}, "input": "1 and 2", "a": "good", "b": "bad"},
        {"prompt": "x.instruction", "chosen": "a", "rejected": "b"},
        "\n\nHuman: Add.\n\n1 and 2\n\nAssistant:",
    ),
    ({"prompt": "Why?", "a": "good", "b": "bad"}, {"chosen": "a", "rejected": "b"}, WHY),
]


@pytest.mark.parametrize(("row", "columns", "query"), PARTNERS)
def test_what_belongs_to_a_mapped_column_stays_beside_it(
    tmp_path: Path, row: dict[str, Any], columns: dict[str, str], query: str
) -> None:
    assert read(tmp_path, [row], columns=columns).said == [(query, "good > bad")]


def test_every_kind_of_file_has_columns_of_its_own(tmp_path: Path) -> None:
    golden = read(
        tmp_path, [{"q": "Why?", "best": "so"}], read_golden, columns={"query": "q", "golden": "best"}
    )
    assert [(row["query"], row["golden"]) for row in golden.records] == [(WHY, "so")]
    columns = {"query": "q", "samples": "answers"}
    samples = read(tmp_path, [{"q": "Why?", "answers": ["a", "b"]}], read_samples, columns=columns)
    assert samples.records[0]["samples"] == ["a", "b"]
    columns = {"prompt": "q", "completion": "said"}
    shown = read(tmp_path, [{"q": "Why?", "said": "so"}], read_demonstrations, columns=columns)
    assert shown.records[0]["response"] == "so"


LANGUAGES = [
    {"指令": "Why?", "输入": "", "选择": "good", "拒绝": "bad"},
    {"frage": "Why?", "gewählt": "good", "abgelehnt": "bad"},
    {"pregunta": "Why?", "elegida": "good", "rechazada": "bad"},
    {"质问": "", "问题": "Why?", "chosen": "good", "rejected": "bad"},
]


@pytest.mark.parametrize("row", LANGUAGES)
def test_common_names_in_other_languages_are_known(tmp_path: Path, row: dict[str, Any]) -> None:
    found = read(tmp_path, [row])
    assert found.said == [(WHY, "good > bad")]
    assert list(found.columns) == list(row)


def test_a_path_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a column 'a\.9'"):
        read(
            tmp_path,
            [{"a": ["x"], **PAIR}],
            columns={"prompt": "a.9", "chosen": "chosen", "rejected": "rejected"},
        )
