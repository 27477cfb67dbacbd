"""apo/export/trainers.py: what each of TRL's trainers gets of a record, and what it can't hold."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.core.records import read_rows, write_rows
from apo.datasets.readers import read_samples
from apo.export.authors import to_authors
from apo.export.trainers import to_chat, to_chat_pairs, to_chat_sft, to_dialogues, to_pairs, to_sft
from apo.export.write import export, main
from tests.helpers.exported_rows import APO, COMPARISONS, DIALOGUE, GOLDEN, OTHER, SAMPLES, SELECTION, Q
from tests.helpers.reading import read


def test_to_pairs_writes_one_pair_per_sample_of_an_adversarial_row() -> None:
    assert list(to_authors(APO, where="x:1")) == [
        {"text": [f"{Q}<sep>g", f"{Q}<sep>{sample}"], "scores": [1.0, 0.0], "type": "apo"} for sample in "xy"
    ]


def test_to_pairs_writes_the_pairs_of_the_ranking_loss() -> None:
    pairs = [(pair["chosen"], pair["rejected"]) for pair in to_pairs(COMPARISONS[0], where="x:1")]
    assert pairs == [(" x", " y"), (" x", " z"), (" z", " y")]
    expected = [{"prompt": Q, "chosen": " g", "rejected": f" {s}"} for s in "xy"]
    assert list(to_pairs(APO, where="x:1")) == expected


def test_to_pairs_writes_no_pair_of_equal_texts(tmp_path: Path) -> None:
    row = {**COMPARISONS[0], "responses": ["A", "A", "B"], "scores": [-1, -2, -3]}
    pairs = [(pair["chosen"], pair["rejected"]) for pair in to_pairs(row, where="x:1")]
    assert pairs == [(" A", " B"), (" A", " B")]
    write_rows(tmp_path / "in.jsonl", [row, row | {"responses": ["A"] * 3}])
    counts = Counter[str]()
    assert export(tmp_path / "in.jsonl", tmp_path / "out.jsonl", to="pairs", counts=counts) == 2
    assert counts["rows_without_pair"] == 1


def test_to_pairs_is_read_back_as_comparisons(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_rows(source, COMPARISONS)
    assert export(source, target, to="pairs", counts=Counter()) == 4
    assert list(read_rows(target))[-1] == {"prompt": OTHER, "chosen": " y", "rejected": " x\n\ny"}
    assert all(row["scores"] == [1.0, 0.0] for row in read(target).records)


def test_to_pairs_refuses_rows_without_an_order(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", GOLDEN)
    with pytest.raises(UserError, match=r"in\.jsonl:1: found golden with keys \['golden'"):
        export(tmp_path / "in.jsonl", tmp_path / "out.jsonl", to="pairs", counts=Counter())


def test_to_pairs_of_a_selection_is_best_against_worst() -> None:
    assert list(to_pairs(SELECTION, where="x:1")) == [{"prompt": Q, "chosen": " s1", "rejected": " s3"}]
    assert list(to_chat_pairs({**SELECTION, "query": OTHER}, where="x:1")) == [
        {
            "prompt": DIALOGUE,
            "chosen": [{"role": "assistant", "content": "s1"}],
            "rejected": [{"role": "assistant", "content": "s3"}],
        }
    ]
    assert list(to_dialogues({**SELECTION, "query": OTHER}, where="x:1")) == [
        {
            "chosen": [*DIALOGUE, {"role": "assistant", "content": "s1"}],
            "rejected": [*DIALOGUE, {"role": "assistant", "content": "s3"}],
        }
    ]


@pytest.mark.parametrize(
    "changes",
    [{"scores": [1.0] * 4}, {"samples": ["", "s1", " ", ""]}, {"samples": ["s", "s", "s", "s"]}],
)
def test_to_pairs_drops_and_counts_a_selection_without_preference(
    tmp_path: Path, changes: dict, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path / "in.jsonl", [SELECTION, SELECTION | changes])
    assert main(["--to", "pairs", str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")]) == 0
    assert capsys.readouterr().out.endswith("out.jsonl: 1 rows; 1 of 2 have no pair\n")


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ({**SELECTION, "query": OTHER}, "s1"),
        ({"query_id": "b", "query": OTHER, "golden": "g"}, "g"),
        ({"query_id": "b", "query": OTHER, "response": "r"}, "r"),
    ],
)
def test_to_sft_writes_one_answer_per_row(row: dict, answer: str) -> None:
    message = {"role": "assistant", "content": answer}
    assert list(to_sft(row, where="x:1")) == [{"prompt": OTHER, "completion": f" {answer}"}]
    assert list(to_chat_sft(row, where="x:1")) == [{"prompt": DIALOGUE, "completion": [message]}]
    assert list(to_chat(row, where="x:1")) == [{"messages": [*DIALOGUE, message]}]


@pytest.mark.parametrize("to", ["sft", "sft-chat", "chat"])
def test_to_sft_refuses_comparisons_and_samples(tmp_path: Path, to: str) -> None:
    for rows in (COMPARISONS, SAMPLES, [{"query_id": "a", "scores": [1.0]}]):
        write_rows(tmp_path / "in.jsonl", rows)
        with pytest.raises(UserError, match="expected a selection, a golden answer or a demonstration"):
            export(tmp_path / "in.jsonl", tmp_path / "out.jsonl", to=to, counts=Counter())


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("\n\nHuman:Why?\n\nAssistant:", "x"),  # no space behind the mark
        ("\n\nHuman: a\n\nHuman: b\n\nAssistant:", "x"),  # twice the same
        (Q, "x\n\nHuman: y"),
    ],
)
def test_to_chat_refuses_what_messages_can_not_hold(query: str, answer: str) -> None:
    row = {"query_id": "a", "query": query, "golden": answer}
    assert list(to_sft(row, where="x:1")) == [{"prompt": query, "completion": f" {answer}"}]
    with pytest.raises(UserError, match=r"^x:1"):
        list(to_chat(row, where="x:1"))


def test_to_answers_is_read_back_with_scores(tmp_path: Path) -> None:
    """Samples with the rewards of their source, as they entered; a selection; a comparison."""
    query = "\n\nHuman: Why?\n\nAssistant:"
    samples: dict[str, Any] = {
        "query_id": "a",
        "query": query,
        "samples": ["x", "y"],
        "extra": {},
        "source_rewards": [0.5, -1.0],
    }
    selection = {"query_id": "a", "query": query, "target": "x", "samples": ["x", "y"], "scores": [0.5, -1.0]}
    comparison = {"query_id": "a", "query": query, "responses": ["x", "y"], "scores": [0.5, -1.0]}
    for row in (samples, selection, comparison):
        write_rows(tmp_path / "in.jsonl", [row])
        export(tmp_path / "in.jsonl", tmp_path / "out.jsonl", to="answers", counts=Counter())
        assert list(read_rows(tmp_path / "out.jsonl")) == [
            {
                "query_id": "a",
                "prompt": query,
                "answers": [{"text": "x", "score": 0.5}, {"text": "y", "score": -1.0}],
            }
        ]
        again = read(tmp_path / "out.jsonl", reader=read_samples).records
        assert again == [samples]
    unscored = {"query_id": "a", "query": query, "samples": ["x"]}
    write_rows(tmp_path / "in.jsonl", [unscored])
    with pytest.raises(UserError, match="samples with the rewards of their source"):
        export(tmp_path / "in.jsonl", tmp_path / "no.jsonl", to="answers", counts=Counter())
    assert not (tmp_path / "no.jsonl").exists()
