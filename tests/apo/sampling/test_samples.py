"""apo/sampling/samples.py: the source's samples in the order of the queries; what is cut and counted."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from apo.core.errors import UserError
from apo.model.encoding import Encoder
from apo.sampling.prompts import Prompt
from apo.sampling.responses import Response
from apo.sampling.samples import counted, drawn_rows, from_source, refuse_later_round
from tests.helpers import tiny_models as tiny
from tests.helpers.chat_models import tokenizer

QUERIES = [{"query_id": name, "query": f"query {name}"} for name in "cab"]


def samples(*names: str, **more: Any) -> list[dict[str, Any]]:
    return [
        {"query_id": name, "query": "as the source writes it", "samples": [f"{name}0", f"{name}1"], **more}
        for name in names
    ]


def test_from_source_follows_the_order_of_the_queries() -> None:
    rows = list(from_source(QUERIES, samples("a", "b", "c", "d"), Counter(), where="s.jsonl"))
    assert rows == [
        {"query_id": name, "query": f"query {name}", "samples": [f"{name}0", f"{name}1"]} for name in "cab"
    ]


def test_from_source_keeps_other_answers() -> None:
    rows = list(from_source(QUERIES[:1], samples("c", extra={"hh_best": "x"}), Counter(), where="s.jsonl"))
    assert rows[0]["extra"] == {"hh_best": "x"}
    assert "extra" not in next(from_source(QUERIES[:1], samples("c", extra={}), Counter(), where="s.jsonl"))


def test_from_source_refuses_a_query_without_samples() -> None:
    rows = from_source(QUERIES, samples("a", "c"), Counter(), where="s.jsonl")
    assert [next(rows)["query_id"], next(rows)["query_id"]] == ["c", "a"]
    with pytest.raises(
        UserError, match=r"s\.jsonl: found no samples of query 'b'; .*sample\.PART\.origin: actor"
    ):
        next(rows)


def test_from_source_refuses_two_rows_of_one_query() -> None:
    with pytest.raises(UserError, match=r"s\.jsonl:3: found samples of query 'a' for a second time"):
        list(from_source(QUERIES, samples("a", "b", "a", "c"), Counter(), where="s.jsonl"))


def test_from_source_cuts_an_invented_turn_and_strips() -> None:
    rows = [
        {"query_id": "a", "samples": [" yes sir\n\nHuman: more", "no", "\n\nHuman: hi", " "]},
        {"query_id": "b", "samples": ["same ", " same", "same\nHuman: x"], "extra": {"n": "e "}},
        {"query_id": "c", "samples": ["Humanity\nHumans: all of us"]},
    ]
    counts: Counter[str] = Counter()
    results = list(from_source(sorted(QUERIES, key=str), rows, counts, where="s.jsonl"))
    assert [row["samples"] for row in results] == [
        ["yes sir", "no", "", ""],
        ["same", "same", "same"],
        ["Humanity\nHumans: all of us"],
    ]
    assert results[1]["extra"] == {"n": "e "}
    assert counts == {"samples_cut": 3}


def chat_encoder() -> Encoder:
    return Encoder(tokenizer("chatml"), 64, "last", "", "left")


def test_drawn_rows_keep_ids_that_are_not_those_of_the_text() -> None:
    rows: list[dict[str, Any]] = [
        {"query_id": "a", "query": "q", "margin": 1},
        {"query_id": "b", "query": "r"},
    ]
    prompts = [Prompt(row["query_id"], [1, 2], row) for row in rows]
    drawn = [[Response("x", None), Response("y", [7, 8])], [Response("z", None), Response("", None)]]
    wanted = [
        {**rows[0], "samples": ["x", "y"], "sample_ids": [None, [7, 8]]},
        {**rows[1], "samples": ["z", ""]},
    ]
    for encoder, is_hh in ((tiny.encoder(), True), (chat_encoder(), False)):
        uncut = {} if is_hh else {"uncut": True}  # no line `Human:` is a turn
        assert list(drawn_rows(encoder, prompts, drawn)) == [row | uncut for row in wanted]


def test_counted_by_hand() -> None:
    rows = [
        {"query_id": "a", "query": "q", "samples": ["yes sir", "no", "", ""]},
        {"query_id": "b", "query": "q", "samples": ["same", "same", "same"], "extra": {"n": "e "}},
        {"query_id": "c", "query": "q", "samples": ["Humanity\nHumans: all of us"], "sample_ids": [[7]]},
    ]
    counts: Counter[str] = Counter()
    results = list(counted(rows, origin="actor", counts=counts))
    assert results == [{**row, "made_by": "actor"} for row in rows]
    assert counts == {
        "queries": 3,
        "samples": 8,
        "samples_cut": 0,
        "samples_blank": 2,
        "words": 3 + 3 + 5,
        "queries_all_equal": 1,  # one sample alone is not counted as equal
    }


def test_counted_adds_to_what_was_cut_before() -> None:
    """The counts of those who cut come first."""
    counts = Counter(samples_cut=3)
    list(counted([{"query_id": "a", "samples": ["x"]}], origin="actor", counts=counts))
    assert counts["samples_cut"] == 3


def test_counted_has_zero_for_nothing_cut() -> None:
    counts: Counter[str] = Counter()
    assert list(counted([], origin="actor", counts=counts)) == []
    assert set(counts) == {"queries", "samples", "samples_cut", "samples_blank", "words", "queries_all_equal"}
    assert not any(counts.values())


def test_refuse_later_round_allows_the_first_round_alone(tmp_path: Path) -> None:
    refuse_later_round(tmp_path / "r0", "rm")
    with pytest.raises(UserError, match=r"sample.rm.origin: found 'source' in the round after 'r1'"):
        refuse_later_round(tmp_path / "r1", "rm")
