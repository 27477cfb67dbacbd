"""preferences.py: which responses are learned from, in which order, and what is dropped is counted."""

from collections import Counter
from typing import Any

from apo.alignment.rankings import COUNTS, Ranking, ranked_queries
from apo.model.encoding import Encoder, ResponseSet
from tests.helpers import tiny_models as tiny

QUERY = tiny.query("Who are you?")
EOS = 2


def encoder(max_length: int = 64) -> Encoder:
    return tiny.encoder(pooling="eos", max_length=max_length)


def ranked(*rows: tuple[list[str], list[float]], max_length: int = 64) -> tuple[list[Ranking], Counter[str]]:
    counts: Counter[str] = Counter()
    records: list[dict[str, Any]] = [{"query": QUERY, "samples": a, "scores": b} for a, b in rows]
    return list(ranked_queries(records, encoder(max_length), counts, where="rows")), counts


def texts(ranking: Ranking) -> list[str]:
    found = []
    for ids in ranking.item.responses:
        assert ids[-1] == EOS
        found.append(tiny.shared_tokenizer().decode(ids[:-1]).strip())
    return found


def test_the_best_comes_first_and_a_tie_keeps_its_order() -> None:
    [one], counts = ranked((["No.", "A dog.", "9?", "A fox."], [0.5, 2.0, 0.5, -1.0]))
    assert texts(one) == ["A dog.", "No.", "9?", "A fox."]
    assert one.scores == [2.0, 0.5, 0.5, -1.0]
    assert one.pairs == 5  # six pairs, one of them a tie
    assert counts["queries"] == counts["queries_used"] == 1 and counts["samples"] == 4
    assert one.only(0, -1) == Ranking(
        ResponseSet(one.item.prefix, [one.item.responses[0], one.item.responses[3]]), [2.0, -1.0]
    )


def test_blank_samples_are_left_out_and_identical_ones_count_once() -> None:
    [one], counts = ranked((["A dog.", " ", "No.", " A dog. ", "No."], [1.0, 9.0, 0.0, 1.5, -2.0]))
    assert texts(one) == ["A dog.", "No."] and one.scores == [1.5, 0.0]
    assert (counts["samples"], counts["samples_blank"], counts["samples_identical"]) == (5, 1, 2)


def test_what_says_nothing_is_dropped_and_counted() -> None:
    found, counts = ranked(
        (["", "\n"], [1.0, 2.0]),
        (["No.", "No.", ""], [1.0, 0.0, 5.0]),
        (["No.", "9?"], [1.0, 1.0]),
        (["No."], [1.0]),
        (["No.", "9?"], [0.0, 1.0]),
    )
    assert [texts(one) for one in found] == [["9?", "No."]]
    assert {name: counts[name] for name in COUNTS} == {
        "queries": 5,
        "samples": 10,
        "samples_blank": 3,
        "samples_identical": 1,
        "queries_dropped_blank": 1,
        "queries_dropped_identical": 2,
        "queries_dropped_tied": 1,
        "queries_dropped_cut_away": 0,
        "queries_used": 1,
    }


def test_samples_that_are_equal_once_cut_are_identical() -> None:
    story = "Once upon a time a quick brown fox jumped over the lazy dog."
    found, counts = ranked(([story, story + " That was a good day."], [1.0, 0.0]), max_length=8)
    ids = encoder().tokenizer([story, story + " That was a good day."], add_special_tokens=False)["input_ids"]
    assert ids[0][-6:] != ids[1][-6:]  # the sides that stay, left truncation
    assert len(found) == 1 and counts["responses_cut"] == 2
    assert found[0].item.longest == 8


def test_every_count_is_there_for_no_rows() -> None:
    found, counts = ranked()
    assert found == [] and counts.keys() >= set(COUNTS) and not any(counts.values())
