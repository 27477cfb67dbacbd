"""apo/datasets/readers.py: what every kind of row gives as demonstrations."""

from pathlib import Path
from typing import Any

import pytest

from apo.core.dialogue import query_id_of
from apo.datasets.readers import read_demonstrations, read_golden
from tests.helpers.reading import TALK, WHY, answer, read, read_by, sharegpt, talk, user, write


def test_read_demonstrations_never_cuts_what_a_person_wrote(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [{"query": WHY, "golden": "a\n\nHuman: b"}])
    assert read_by(read_golden, path, runaway_response="cut")[0][0]["golden"] == "a\n\nHuman: b"
    play = "Two mammals:\nHuman\nWhale"
    for row in (
        {"prompt": "Why?", "completion": play},
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": play}]},
        {"prompt": "Why?", "chosen": play, "rejected": "c"},
    ):
        rows, counts, _ = read_by(read_demonstrations, write(tmp_path / "x.jsonl", [row]))
        assert [row["response"] for row in rows] == [play] and "cut_runaway" not in counts
    sampled = write(tmp_path / "x.jsonl", [{"query": WHY, "sample_0": play}])
    rows, counts, _ = read_by(read_demonstrations, sampled)
    assert (rows[0]["response"], counts["cut_runaway"]) == ("Two mammals:", 1)


DEMONSTRATIONS: list[tuple[dict, list[str]]] = [
    ({"prompt": "Why?", "completion": " so"}, ["so"]),
    ({"prompt": [user("Why?")], "completion": [answer("so")]}, ["so"]),
    ({"query": WHY, "response": "so\n\nHuman: and?"}, ["so\n\nHuman: and?"]),
    ({"messages": [user("Why?"), answer("so")]}, ["so"]),
    ({"query": WHY, "golden": "so"}, ["so"]),
    ({"query": WHY, "sample_0": "so", "sample_1": " ", "sample_2": "thus"}, ["so", "thus"]),
    ({"query": WHY, "samples": ["so", "thus"], "extra": {"hh_best": "no"}}, ["so", "thus"]),
    ({"query": WHY, "responses": ["a", "so", "thus"], "scores": [0, 2, 2]}, ["so"]),
    ({"prompt": WHY, "chosen": "so", "rejected": "no"}, ["so"]),
    ({"query": WHY, "responses": ["a", "b"], "scores": [1, 1]}, []),
    (
        {"query": WHY, "prompt": WHY, "completion": "so", "samples": ["no", "so"], "scores": [0.1, 0.2]},
        ["so"],
    ),
]


@pytest.mark.parametrize(("row", "responses"), DEMONSTRATIONS)
def test_read_demonstrations_reads_every_kind_of_row(tmp_path: Path, row: dict, responses: list[str]) -> None:
    rows, counts, _ = read_by(read_demonstrations, write(tmp_path / "x.jsonl", [row]))
    assert rows == [
        {"query_id": query_id_of(WHY), "query": WHY, "response": response} for response in responses
    ]
    assert counts.get("kept", 0) == len(responses)


ASKED = talk("")[:-1]

ANSWERED: list[tuple[dict[str, Any], str, str]] = [
    (
        {"instruction": "Add.", "input": "1 and 2", "output": "3"},
        "\n\nHuman: Add.\n\n1 and 2\n\nAssistant:",
        "3",
    ),
    ({"instruction": "Why?", "input": "", "output": "so"}, WHY, "so"),
    ({"conversations": [sharegpt("human", "Why?"), sharegpt("gpt", "so")]}, WHY, "so"),
    ({"system_prompt": "Be brief.", "question": "Why?", "response": "so"}, f"Be brief.{WHY}", "so"),
    ({"prompt": "Why?", "response": "so", "helpfulness": 3}, WHY, "so"),
    ({"question": "Why?", "answer": "so"}, WHY, "so"),
    ({"prompt": ASKED, "completion": "so"}, TALK, "so"),
]


@pytest.mark.parametrize(("row", "query", "response"), ANSWERED)
def test_read_demonstrations_reads_public_formats(
    tmp_path: Path, row: dict[str, Any], query: str, response: str
) -> None:
    [record] = read(tmp_path, [row], read_demonstrations).records
    assert (record["query"], record["response"]) == (query, response)
