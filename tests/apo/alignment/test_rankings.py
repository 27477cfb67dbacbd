"""alignment/rankings.py: which responses are learned from, in which order, and what is dropped is counted."""

from collections import Counter
from typing import Any

from apo.alignment.rankings import COUNTS, ranked_queries, select_responses
from apo.model.encoding import Encoder
from apo.sampling.prompts import encode_prompts
from apo.training.ranked_responses import RankedResponses
from tests.helpers import tiny_models as tiny

QUERY = tiny.query("Who are you?")
EOS = 2


def encoder(max_length: int = 64) -> Encoder:
    return Encoder(tiny.shared_tokenizer(), max_length, "last", "", "left", ends=(EOS,))


def ranked(
    *rows: tuple[list[str], list[float]], max_length: int = 64, method: str = "rrhf"
) -> tuple[list[RankedResponses], Counter[str]]:
    counts: Counter[str] = Counter()
    records: list[dict[str, Any]] = [{"query": QUERY, "samples": a, "scores": b} for a, b in rows]
    return list(ranked_queries(records, encoder(max_length), counts, method=method, where="rows")), counts


def texts(one: RankedResponses) -> list[str]:
    decoded = []
    for ids in one.item.responses:
        assert ids[-1] == EOS
        decoded.append(tiny.shared_tokenizer().decode(ids[:-1]).strip())
    return decoded


def test_ranked_queries_puts_the_best_first_and_keeps_the_order_of_ties() -> None:
    [one], counts = ranked((["No.", "A dog.", "9?", "A fox."], [0.5, 2.0, 0.5, -1.0]))
    assert texts(one) == ["A dog.", "No.", "9?", "A fox."]
    assert one.labels == [2.0, 0.5, 0.5, -1.0]
    assert one.pairs == 5  # six pairs, one of them a tie
    assert counts["queries"] == counts["queries_used"] == 1 and counts["samples"] == 4


def test_ranked_queries_drops_blank_and_repeated_samples() -> None:
    [one], counts = ranked((["A dog.", " ", "No.", " A dog. ", "No."], [1.0, 9.0, 0.0, 1.5, -2.0]))
    assert texts(one) == ["A dog.", "No."] and one.labels == [1.5, 0.0]
    assert (counts["samples"], counts["samples_blank"], counts["samples_identical"]) == (5, 1, 2)


def test_ranked_queries_drops_and_counts_queries_without_an_order() -> None:
    rankings, counts = ranked(
        (["", "\n"], [1.0, 2.0]),
        (["No.", "No.", ""], [1.0, 0.0, 5.0]),
        (["No.", "9?"], [1.0, 1.0]),
        (["No."], [1.0]),
        (["No.", "9?"], [0.0, 1.0]),
    )
    assert [texts(one) for one in rankings] == [["9?", "No."]]
    assert {name: counts[name] for name in COUNTS} == {
        "queries": 5,
        "samples": 10,
        "samples_blank": 3,
        "samples_identical": 1,
        "queries_dropped_blank": 1,
        "queries_dropped_identical": 2,
        "queries_dropped_tied": 1,
        "queries_dropped_cut_away": 0,
        "samples_as_drawn": 0,
        "prompts_cut": 0,
        "queries_used": 1,
    }


def test_ranked_queries_drops_a_query_rather_than_cut_a_sample() -> None:
    story = "Once upon a time a quick brown fox jumped over the lazy dog."
    row = ([story, "No."], [1.0, 0.0])
    [whole], _ = ranked(row)
    query = len(whole.item.prefix) - 2  # beside BOS and the turn mark
    assert ranked(row, max_length=whole.item.longest)[0] == [whole]
    [cut], counts = ranked(row, max_length=whole.item.longest - query + 1)
    assert cut.item.responses == whole.item.responses
    assert cut.item.prefix == [1, *whole.item.prefix[-2:]]
    assert (counts["queries_cut"], counts["queries_used"]) == (1, 1)
    rankings, counts = ranked(row, (["No.", "9?"], [0.0, 1.0]), max_length=whole.item.longest - query)
    assert [texts(one) for one in rankings] == [["9?", "No."]]
    assert (counts["queries_dropped_cut_away"], counts["queries_used"], counts["queries"]) == (1, 1, 2)
    assert "responses_cut" not in counts


def test_ranked_queries_truncates_a_query_as_the_prompt_of_its_samples() -> None:
    reading = Encoder(tiny.tokenizer(), 12, "last", "", "left", ends=(2,))
    row = {"query_id": "a", "query": tiny.query("Tell me a story about a good dog.")}
    [prompt] = encode_prompts(reading, [row], Counter(), where="queries.jsonl")
    assert prompt.row == row | {"prompt_tokens": 12} and len(prompt.ids) == 12
    sampled = prompt.row | {"samples": ["No.", "9?"], "scores": [1.0, 0.0]}
    for max_length, prefix, cut in ((64, prompt.ids, 0), (14, [1, *prompt.ids[-9:]], 1)):
        counts: Counter[str] = Counter()
        wide = Encoder(tiny.tokenizer(), max_length, "last", "", "left", ends=(2,))
        [one] = ranked_queries([sampled], wide, counts, method="rrhf", where="rjs.jsonl")
        assert len(one.item.prefix) == (12 if not cut else max_length - max(map(len, one.item.responses)))
        assert one.item.prefix[-5:] == prefix[-5:]
        assert (counts["prompts_cut"], counts["queries_cut"]) == (1, cut)


def test_ranked_queries_keeps_the_query_whole_beside_a_sample_that_is_not_trained_on() -> None:
    story = "Once upon a time a quick brown fox jumped over the lazy dog."
    row = (["No.", story, "9?"], [2.0, 1.0, 0.0])
    [whole], _ = ranked(row)
    max_length = whole.item.longest - 1
    [best], counts = ranked(row, max_length=max_length, method="rjs")
    assert best.item == whole.item.only([0]) and counts["queries_cut"] == 0
    [pair], counts = ranked(row, max_length=max_length, method="dpo")
    assert pair.item == whole.item.only([0, 2]) and counts["queries_cut"] == 0
    [every], counts = ranked(row, max_length=max_length)
    assert every.item.prefix != whole.item.prefix and counts["queries_cut"] == 1


def test_select_responses_by_method() -> None:
    [one], _ = ranked((["No.", "9?", "A dog.", "A fox."], [2.0, 1.0, 0.5, -1.0]))
    assert select_responses(one, "rjs").item.responses == one.item.responses[:1]
    assert select_responses(one, "dpo").item.responses == [one.item.responses[0], one.item.responses[3]]
    assert select_responses(one, "dpo").labels == [2.0, -1.0]
    assert select_responses(one, "rrhf") == one


def with_ids(samples: list[str], scores: list[float], ids: list[list[int] | None]) -> Any:
    counts: Counter[str] = Counter()
    row = {"query": QUERY, "samples": samples, "scores": scores, "sample_ids": ids}
    return list(ranked_queries([row], encoder(), counts, method="rrhf", where="rows")), counts


def test_ranked_queries_keeps_drawn_ids_with_their_samples() -> None:
    """Sorted as the samples; without an end where none was drawn."""
    ids = [[100, 101], None, [102, EOS], None]
    [one], counts = with_ids(["a", "", "b", "No."], [0.0, 9.0, 2.0, 1.0], ids)
    assert one.item.responses[0] == [102, EOS] and one.item.responses[2] == [100, 101]
    assert texts(one.only(1)) == ["No."] and one.labels == [2.0, 1.0, 0.0]
    assert counts["samples_as_drawn"] == 2


def test_ranked_queries_compares_ids_not_texts() -> None:
    [same] = encoder().tokenizer(["No."], add_special_tokens=False)["input_ids"]
    [one], counts = with_ids(["No.", "No.", "9?"], [1.0, 0.0, -1.0], [[*same, 7, EOS], None, None])
    assert len(one.item.responses) == 3 and counts["samples_identical"] == 0  # drawn otherwise
    [one], counts = with_ids(["No.", "No.", "9?"], [1.0, 0.0, -1.0], [[*same, EOS], [*same, EOS], None])
    assert len(one.item.responses) == 2 and counts["samples_identical"] == 1


def test_ranked_queries_drops_a_refused_dialogue_with_its_scores() -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system text') }}{% endif %}"
        "{% for m in messages %}{{ bos_token + m['role'] + ':' + m['content'] + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ bos_token + 'assistant:' }}{% endif %}"
    )
    tokenizer.init_kwargs["refused_dialogues"] = "drop"
    reading = Encoder(tokenizer, 64, "last", "", "left", ends=(EOS,))
    counts: Counter[str] = Counter()
    rows = [
        {"query": "Be brief." + QUERY, "samples": ["No.", "9?"], "scores": [1.0, 0.0]},
        {"query": QUERY, "samples": ["No.", "9?"], "scores": [2.0, 3.0]},
    ]
    [one] = ranked_queries(rows, reading, counts, method="rrhf", where="rows")
    assert texts(one) == ["9?", "No."] and one.labels == [3.0, 2.0]
    assert (counts["dialogues_dropped"], counts["queries_used"]) == (1, 1)


def test_ranked_queries_has_every_count_for_no_rows() -> None:
    rankings, counts = ranked()
    assert rankings == [] and counts.keys() >= set(COUNTS) and not any(counts.values())
