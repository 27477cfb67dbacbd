"""apo/datasets/strengths.py: a strength tells the better answer only on a scale that is centred on 0."""

from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from tests.helpers.reading import WHY, read

ROW = {"prompt": "Why?", "response_1": "good", "response_2": "bad"}
OTHER = {"prompt": "Why?", "response1": "good", "response2": "bad"}
BOTH = [(WHY, "good > bad"), (WHY, "bad > good")]


def strengths(key: str, values: Any, row: dict[str, Any] = ROW) -> list[dict[str, Any]]:
    """A row for each strength."""
    return [row | {key: value} for value in values]


@pytest.mark.parametrize("key", ["preference_strength", "overall_preference"])
@pytest.mark.parametrize("values", [(1, 7, 4), (0.1, 0.9), ("1", "5"), (0, 2)])
def test_strength_parser_refuses_a_scale_without_a_value_below_0(
    tmp_path: Path, key: str, values: Any
) -> None:
    rows = strengths(key, values)
    with pytest.raises(
        UserError, match=r"and no value below 0 in the file.*the values in the file are .*\(1\)"
    ):
        read(tmp_path, rows, actions={"bad_score": "drop"})


def test_strength_parser_takes_labels_as_advised(tmp_path: Path) -> None:
    rows = strengths("overall_preference", (1, 7, 4), OTHER)
    result = read(tmp_path, rows, labels={1: 1, 7: 2, 4: "tie"})
    assert (result.ranked, result.issues) == (BOTH, {"no_preference": 1})


@pytest.mark.parametrize("values", [(-1, 2), (2, -3), ("-1", "1")])
def test_strength_parser_keeps_values_on_a_centred_scale(tmp_path: Path, values: Any) -> None:
    result = read(tmp_path, strengths("preference_strength", values))
    assert [record["scores"] for record in result.records] == [
        [max(-float(value), 0), max(float(value), 0)] for value in values
    ]


CONTRADICTIONS = [
    ROW | {"preference_strength": 2, "preference": "response_1"},
    OTHER | {"overall_preference": -1, "winner": "response2"},
    ROW | {"preference_strength": 1, "better_response": "A"},
]


@pytest.mark.parametrize("row", CONTRADICTIONS)
def test_strength_parser_refuses_a_verdict_that_says_otherwise(tmp_path: Path, row: dict) -> None:
    with pytest.raises(UserError, match=r", but .*map the columns without the one that is wrong"):
        read(tmp_path, [row], actions={"bad_score": "drop"})
    verdict, strength = list(row)[-1], list(row)[-2]
    wanted = "bad > good" if row[verdict] == "response2" else "good > bad"
    columns = {key: key for key in row if key != strength}
    assert read(tmp_path, [row], columns=columns).ranked == [(WHY, wanted)]
    both = [row, row | {strength: -row[strength]}]
    result = read(tmp_path, both, columns={key: key for key in row if key != verdict})
    assert result.ranked == (BOTH if row[strength] < 0 else BOTH[::-1])


def test_strength_parser_takes_a_verdict_that_says_the_same(tmp_path: Path) -> None:
    rows = [ROW | {"preference_strength": 2, "preference": "response_2", "label": "safety"}]
    assert read(tmp_path, rows).ranked == [BOTH[1]]
