"""Splitting: stable draws, given parts that win, no query in two parts."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import combinations

import pytest

from apo.core.errors import UserError
from apo.splits.leakage import Leaks, prove_disjoint, unseen
from apo.splits.near_duplicates import near_duplicates_among
from apo.splits.queries import KINDS, Queries, with_golden
from apo.splits.splitting import PARTS, assign, beginning_of, split_rows
from apo.text.dialogue import normalize_query

FRACTIONS = {"seed": 1, "rm_fraction": 0.5, "valid_fraction": 0.1, "test_fraction": 0.2}


def _query(name: object, tail: str = "") -> str:
    return f"\n\nHuman: question {name}\n\nAssistant:{tail}"


def _row(name: object, split: str = "", tail: str = "") -> dict:
    return {"query": _query(name, tail), "split": split}


def _split(rows: list[dict], **changes: float) -> tuple[list[tuple[str, dict]], Counter[str]]:
    counts: Counter[str] = Counter()
    settings = {"near_duplicate": 0.9, "shared_first_turn": "keep", **FRACTIONS, **changes}
    return list(split_rows(lambda: iter(rows), **settings, counts=counts)), counts


def _drawn(part: str, **changes: float) -> object:
    """A question that is drawn into a part."""
    return next(n for n in range(1000) if assign(_query(n), "", **{**FRACTIONS, **changes}) == part)


def test_fractions_are_met() -> None:
    size = 5000
    parts = Counter(assign(_query(n), "", **FRACTIONS) for n in range(size))
    expected = {"test": 0.2, "rm": 0.8 * 0.5, "valid": 0.8 * 0.5 * 0.1, "llm": 0.8 * 0.5 * 0.9}
    for part, share in expected.items():
        assert abs(parts[part] / size - share) < 4 * (share * (1 - share) / size) ** 0.5


def test_the_extremes_leave_nothing_over() -> None:
    for changes, part in [
        ({"test_fraction": 1.0}, "test"),
        ({"test_fraction": 0.0, "rm_fraction": 1.0}, "rm"),
        ({"test_fraction": 0.0, "rm_fraction": 0.0, "valid_fraction": 0.0}, "llm"),
        ({"test_fraction": 0.0, "rm_fraction": 0.0, "valid_fraction": 1.0}, "valid"),
    ]:
        assert {assign(_query(n), "", **{**FRACTIONS, **changes}) for n in range(50)} == {part}


def test_draws_never_change_for_a_seed_and_change_with_it() -> None:
    parts = [assign(_query(n), "", **FRACTIONS) for n in range(12)]
    assert parts == ["rm", "test", "rm", "llm", "test", "rm", "rm", "rm", "llm", "llm", "rm", "test"]
    assert parts != [assign(_query(n), "", **{**FRACTIONS, "seed": 2}) for n in range(12)]


def test_a_fraction_moves_only_what_it_is_about() -> None:
    for n in range(200):
        before = assign(_query(n), "", **FRACTIONS)
        more_test = assign(_query(n), "", **{**FRACTIONS, "test_fraction": 0.4})
        assert more_test in (before, "test")
        more_valid = assign(_query(n), "", **{**FRACTIONS, "valid_fraction": 0.5})
        assert more_valid == before or (before, more_valid) == ("llm", "valid")


def test_dialogues_with_one_beginning_stay_together() -> None:
    for n in range(50):
        branches = [_query(n), _query(n, " Yes\n\nHuman: why?\n\nAssistant:"), _query(f"{n}!")]
        assert len({assign(branch, "", **FRACTIONS) for branch in branches}) == 1


@pytest.mark.parametrize("given", ["rm", "test"])
def test_a_given_part_wins(given: str) -> None:
    assert {assign(_query(n), given, **FRACTIONS) for n in range(50)} == {given}


def test_validation_is_drawn_from_a_given_llm_part_too() -> None:
    parts = Counter(assign(_query(n), "llm", **FRACTIONS) for n in range(500))
    assert parts.keys() == {"llm", "valid"}
    assert 20 < parts["valid"] < 80


def test_other_rows_change_nothing() -> None:
    alone, _ = _split([_row(n) for n in range(40)])
    among, _ = _split([_row(n) for n in range(-40, 80)])
    assert [pair for pair in among if pair in alone] == alone


def test_every_row_is_given_or_counted_and_parts_are_disjoint() -> None:
    rows = [_row(n % 70, ("", "rm", "llm", "test")[n % 4 if n % 3 else 0]) for n in range(400)]
    pairs, counts = _split(rows)
    assert counts["rows"] == 400 == len(pairs) + counts["dropped_in_test"]
    assert counts["dropped_in_test"] > 0
    keys: dict[str, set[str]] = {"rm": set(), "llm": set(), "valid": set(), "test": set()}
    for part, row in pairs:
        keys[part].add(normalize_query(row["query"]))
    assert all(counts[f"rows_{part}"] == sum(p == part for p, _ in pairs) for part in keys)
    assert not [pair for pair in combinations(keys, 2) if keys[pair[0]] & keys[pair[1]]]


@pytest.mark.parametrize(
    ("splits", "parts", "counted"),
    [
        (("rm", "llm"), ["llm", "llm"], {"moved_rm_to_llm": 1, "rows_llm": 2}),
        (("llm", "rm"), ["llm", "llm"], {"moved_rm_to_llm": 1, "rows_llm": 2}),
        (("rm", "test"), ["test"], {"dropped_in_test": 1, "rows_test": 1}),
        (("test", "llm"), ["test"], {"dropped_in_test": 1, "rows_test": 1}),
        (("rm", "rm"), ["rm", "rm"], {"rows_rm": 2}),
    ],
)
def test_precedence_of_given_parts(splits: tuple, parts: list, counted: dict) -> None:
    pairs, counts = _split([_row("x", split) for split in splits], valid_fraction=0.0)
    assert [part for part, _ in pairs] == parts
    assert counts == {"rows": 2, **counted}


def test_validation_wins_over_rm() -> None:
    pairs, counts = _split([_row("x", "rm"), _row("x", "llm")], valid_fraction=1.0)
    assert [part for part, _ in pairs] == ["valid", "valid"]
    assert counts["moved_rm_to_valid"] == 1


def test_a_drawn_row_follows_a_given_one_whatever_the_draw() -> None:
    for drawn in ("rm", "llm", "test"):
        name = _drawn(drawn, valid_fraction=0.0)
        for given in ("rm", "llm"):
            pairs, counts = _split([_row(name), _row(f"{name}?", given)], valid_fraction=0.0)
            assert [part for part, _ in pairs] == [given, given]
            assert counts[f"moved_{drawn}_to_{given}"] == (drawn != given)


def test_a_drawn_training_row_of_a_given_test_query_is_dropped() -> None:
    pairs, counts = _split([_row(_drawn("rm")), _row(_drawn("rm"), "test")])
    assert [part for part, _ in pairs] == ["test"]
    assert counts["dropped_in_test"] == 1


@pytest.mark.parametrize("split", ["valid", "train", None, 1])
def test_an_unknown_part_names_the_row(split: object) -> None:
    with pytest.raises(UserError, match="comparison 2: found split"):
        _split([_row(1), {"query": _query(2), "split": split}])


@pytest.mark.parametrize("name", ["rm_fraction", "valid_fraction", "test_fraction"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_fraction_outside_its_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{name}: found"):
        _split([_row(1)], **{name: value})


def test_an_overlap_names_an_example() -> None:
    _, queries = _watched([("rm", "a"), ("llm", "b"), ("test", "c"), ("rm", "A")])
    assert prove_disjoint(queries.shared) == {
        f"{one}_and_{other}": 0 for one, other in combinations(PARTS, 2)
    }
    _, queries = _watched(
        [("test", "d"), ("rm", "a"), ("test", "b"), ("llm", "b"), ("llm", "D!"), ("llm", "c")]
    )
    assert {pair for pair, shared in queries.shared.items() if shared} == {("llm", "test")}
    wanted = r"llm and test: found 2 queries in both, such as 'human question b assistant'"
    with pytest.raises(UserError, match=wanted):
        prove_disjoint(queries.shared)


def test_the_rows_are_read_as_a_stream_and_twice() -> None:
    read: list[int] = []

    def rows() -> Iterator[dict]:
        for n in range(100):
            read.append(n)
            yield _row(n)

    pairs = split_rows(rows, **FRACTIONS, near_duplicate=0.9, shared_first_turn="keep", counts=Counter())
    next(pairs)
    assert len(read) == 101
    assert sum(1 for _ in pairs) == 99
    assert len(read) == 200


def _numbered(rows: list[tuple[str, str]]) -> list[tuple[str, dict]]:
    """Rows (part, name of the question) as a split gives them."""
    return [
        (part, {"query_id": f"{part}{n}", "query": _query(name), "type": "t", "split": "", "scores": [n]})
        for n, (part, name) in enumerate(rows)
    ]


def _watched(rows: list[tuple[str, str]]) -> tuple[list[tuple[str, dict]], Queries]:
    """The rows, seen by `Queries`."""
    queries = Queries()
    return list(queries.watch(_numbered(rows))), queries


def test_watching_passes_rows_on_without_their_given_part() -> None:
    rows, _ = _watched([("rm", "x"), ("test", "y")])
    assert rows == [
        ("rm", {"query_id": "rm0", "query": _query("x"), "type": "t", "scores": [0]}),
        ("rm_queries", {"query_id": "rm0", "query": _query("x"), "type": "t"}),
        ("test", {"query_id": "test1", "query": _query("y"), "type": "t", "scores": [1]}),
        ("test_queries", {"query_id": "test1", "query": _query("y"), "type": "t"}),
    ]


def test_the_queries_of_a_part_are_distinct_and_in_order() -> None:
    rows = [("rm", "b"), ("llm", "c"), ("rm", "a"), ("rm", "B!"), ("rm", "a"), ("test", "f"), ("test", "e")]
    found, queries = _watched([*rows, ("valid", "d"), ("valid", "D")])
    assert [(name, row["query_id"]) for name, row in found if name not in PARTS] == [
        ("rm_queries", "rm0"),
        ("llm_queries", "llm1"),
        ("rm_queries", "rm2"),
        ("test_queries", "test5"),
        ("test_queries", "test6"),
    ]
    assert {part: list(keys) for part, keys in queries.measuring.items()} == {
        "valid": [normalize_query(_query("d"))],
        "test": [normalize_query(_query("f")), normalize_query(_query("e"))],
    }
    raw = [{"query": _query(name)} for name in ("z", "a", "b", "B", "c", "d", "e", "f")]
    parts = [("rm", "a"), ("rm", "b"), ("llm", "c"), ("valid", "d"), ("test", "e"), ("test", "f")]
    assert list(queries.again(raw)) == [(part, normalize_query(_query(name))) for part, name in parts]


@pytest.mark.parametrize("lacking", PARTS)
def test_an_empty_part_is_named(lacking: str) -> None:
    _, queries = _watched([(part, part) for part in PARTS if part != lacking])
    with pytest.raises(UserError, match=rf"part {lacking}: found no comparisons"):
        queries.prove_none_is_empty()


def test_no_empty_part_is_well() -> None:
    _watched([(part, part) for part in PARTS])[1].prove_none_is_empty()


def test_queries_without_golden_answer() -> None:
    queries = [("rm_queries", {"query_id": name}) for name in "abcd"]
    golden = [{"query_id": name, "golden": "g"} for name in "dbz"]
    counts: Counter[str] = Counter()
    assert list(with_golden(queries, golden, without="skip", counts=counts)) == [queries[1], queries[3]]
    assert counts == {"rm_queries_without_golden": 2}
    with pytest.raises(UserError, match=r"query 'a' of the RM part: found no golden answer.*skip"):
        list(with_golden(queries, golden, without="error", counts=Counter()))
    others = [("rm", {"query_id": "a"}), ("llm_queries", {"query_id": "a"}), queries[1]]
    assert list(with_golden(others, golden, without="error", counts=Counter())) == others


def _aside(*texts: str, shared_first_turn: str = "keep") -> Leaks:
    """What is set aside where the queries of test are these."""
    parts = {part: set(map(normalize_query, texts if part == "test" else ())) for part in PARTS}
    begun = {part: Counter(map(beginning_of, texts if part == "test" else ())) for part in PARTS}
    return Leaks(parts, _trained(parts), begun, near_duplicate=0.9, shared_first_turn=shared_first_turn)


def _trained(parts: dict[str, set[str]]) -> Iterator[tuple[str, str]]:
    return ((part, key) for part, keys in parts.items() for key in keys)


ASIDE = _aside(_query("x"))


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        ({"query": _query("x"), "response": "r"}, False),
        ({"query": _query("X !"), "response": "r"}, False),
        ({"query": _query("y"), "response": "about question x"}, True),
        ({"query": _query("x", " Yes\n\nHuman: why?\n\nAssistant:"), "response": "r"}, False),
        ({"query": _query("y", f" Yes{_query('x')}"), "response": "r"}, True),
        ({"text": _query("x", " Yes")}, False),
        ({"text": _query("x")}, False),
        ({"text": _query("x", " Yes\n\nHuman: why?\n\nAssistant: so")}, False),
        ({"text": _query("x", " Yes\n\nAssistant: invented")}, False),
        ({"text": _query("x", " Yes\n\nHuman: and")}, False),
        ({"text": _query("y", " Yes")}, True),
        ({"text": _query("xy", " Yes")}, True),
        ({"text": "Human question x assistant"}, True),
        ({"text": ""}, True),
    ],
)
def test_what_holds_a_query_that_is_set_aside_is_not_seen(row: dict, kept: bool) -> None:
    counts: Counter[str] = Counter()
    assert list(unseen([row], ASIDE, name="documents", counts=counts)) == [row] * kept
    assert counts == ({} if kept else {"documents_dropped": 1})


def test_a_later_turn_that_is_set_aside_is_not_seen_either() -> None:
    later = _query("x", " Yes\n\nHuman: why?\n\nAssistant:")
    rows = [{"text": f"{_query('x')} Yes"}, {"text": f"{later} so"}, {"query": later, "response": "so"}]
    kept = list(unseen(rows, _aside(later), name="documents", counts=Counter()))
    assert kept == rows[:1]


# Nearly the same ----------------------------------------------------------------------------------


def _long(name: object, word: str = "here") -> str:
    """A question of 80 words: with another word in its middle it is a near-duplicate, 75 of 81 3-grams."""
    words = [f"{name} {n}" for n in range(40)]
    return _query(" ".join([*words[:20], word, *words[20:]]))


@pytest.mark.parametrize(
    ("one", "other", "dropped"),
    [
        ("rm", "test", "dropped_near_test_rm"),
        ("llm", "test", "dropped_near_test_llm"),
        ("valid", "test", "dropped_near_test_valid"),
        ("rm", "valid", "dropped_near_valid_rm"),
        ("llm", "valid", ""),  # what learns from the LLM part is measured on test only
        ("rm", "llm", ""),
        ("rm", "rm", ""),
        ("test", "test", ""),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_what_is_near_a_query_that_measures_it_is_left_out(
    one: str, other: str, dropped: str, turned: bool
) -> None:
    name = _drawn("llm", valid_fraction=0.5) if "valid" in (one, other) else 0
    first, second = _in_part(one, name, "here"), _in_part(other, name, "there")
    pairs, counts = _split([second, first] if turned else [first, second], valid_fraction=0.5)
    if dropped:
        assert pairs == [(other, second)]
        assert counts == {"rows": 2, dropped: 1, f"rows_{other}": 1}
    else:
        assert sorted(part for part, _ in pairs) == sorted([one, other])
        assert counts["rows"] == counts[f"rows_{one}"] + counts[f"rows_{other}"] * (one != other) == 2


def _in_part(part: str, name: object, word: str) -> dict:
    """A long question given to a part, or as it comes into valid."""
    given = "llm" if part == "valid" else part
    for n in range(1000):
        row = {"query": _long(name, f"{word}{n}"), "split": given}
        if assign(row["query"], given, **{**FRACTIONS, "valid_fraction": 0.5}) == part:
            return row
    raise AssertionError(part)


def test_a_validation_query_that_is_left_out_measures_nothing() -> None:
    """The RM row is near the row of valid, which is near that of test; the RM row is not near test's."""
    words = [f"w{n}" for n in range(100)]

    def text(*changed: int) -> str:
        return _query(" ".join("x" if n in changed else word for n, word in enumerate(words)))

    rows = [
        {"query": text(), "split": "rm"},
        {"query": text(30), "split": "llm"},
        {"query": text(30, 60), "split": "test"},
    ]
    pairs, counts = _split(rows, valid_fraction=1 - 1e-9)
    assert [part for part, _ in pairs] == ["rm", "test"]
    assert counts == {"rows": 3, "rows_rm": 1, "rows_test": 1, "dropped_near_test_valid": 1}
    pairs, _ = _split(rows[:2], valid_fraction=1 - 1e-9)
    assert [part for part, _ in pairs] == ["valid"]


def test_the_threshold_decides_what_is_near() -> None:
    rows = [{"query": _long(1, word), "split": part} for word, part in (("here", "rm"), ("there", "test"))]
    assert len(_split(rows, near_duplicate=0.93)[0]) == 2  # 80 words of the question and two marks: 77 of 83
    assert len(_split(rows, near_duplicate=0.92)[0]) == 1


def test_rows_near_what_is_set_aside_are_counted_for_themselves() -> None:
    aside = _aside(_long("x"))
    rows = [
        {"query": _long("x", "there"), "response": "r"},
        {"text": _long("x", "there") + " Yes\n\nHuman: why?\n\nAssistant: so"},
        {"text": _long("x", "there") + " Yes" + _long("x")},
        {"text": _long("x") + " Yes"},
        {"text": _long("y") + " Yes"},
    ]
    counts: Counter[str] = Counter()
    assert list(unseen(rows, aside, name="demonstrations", counts=counts)) == rows[-1:]
    assert counts == {"demonstrations_dropped_near": 3, "demonstrations_dropped": 1}


def _leaks(shared_first_turn: str = "keep", **parts: str) -> Leaks:
    """Of parts with one query each."""
    own = {part: _query(part) for part in PARTS} | parts
    keys = {part: {normalize_query(query)} for part, query in own.items()}
    begun = {part: Counter([beginning_of(query)]) for part, query in own.items()}
    return Leaks(keys, _trained(keys), begun, near_duplicate=0.9, shared_first_turn=shared_first_turn)


def test_no_leak_is_zero_for_all_that_is_trained_and_measured() -> None:
    leaks = _leaks()
    rows = [{"text": _query("another") + " Yes"}, {"text": _query("llm") + " Yes"}, {"text": "no dialogue"}]
    assert list(leaks.watch("documents", rows)) == [("documents", row) for row in rows]
    pairs = ["rm_and_test", "rm_and_valid", "llm_and_test", "valid_and_test"]
    pairs += [f"{name}_and_{part}" for name in ("demonstrations", "documents") for part in ("test", "valid")]
    names = ("overlaps", "near_duplicates", "shared_first_turns")
    assert leaks.prove_none() == {name: dict.fromkeys(pairs, 0) for name in names}


@pytest.mark.parametrize(
    ("one", "other"), [("rm", "test"), ("llm", "test"), ("valid", "test"), ("rm", "valid")]
)
def test_parts_that_leak_are_refused_with_an_example(one: str, other: str) -> None:
    leaks = _leaks(**{one: _long("x"), other: _long("x", "there")})
    wanted = (
        rf"^{one} and {other}: found 0 equal queries and 1 near-duplicates, such as 'human question x 0 .*x"
    )
    with pytest.raises(UserError, match=wanted):
        leaks.prove_none()


def test_parts_that_measure_nothing_of_each_other_may_be_near() -> None:
    _leaks(llm=_long("x"), valid=_long("x", "there")).prove_none()
    _leaks(llm=_long("x"), rm=_long("x", "there")).prove_none()


@pytest.mark.parametrize("name", ["demonstrations", "documents"])
@pytest.mark.parametrize("part", ["test", "valid"])
def test_rows_that_leak_are_counted_and_refused(name: str, part: str) -> None:
    leaks = _leaks(**{part: _long("x")})
    rows = [
        {"text": _long("x", "there") + " Yes"},
        {"text": _long("y") + " Yes"},
        {"text": _long("x") + " Yes" + _long("z") + " why"},
        {"text": _long("x", "then")},
    ]
    assert [row for _, row in leaks.watch(name, rows)] == rows
    with pytest.raises(UserError, match=rf"^{name} and {part}: found 1 equal queries and 2 near-duplicates,"):
        leaks.prove_none()


def test_texts_of_an_index_made_for_more_of_them_measure_nothing() -> None:
    parts = {part: normalize_query(_query(part)) for part in PARTS}
    near_duplicates_among([*parts.values(), normalize_query(_long("x"))], 0.9)
    leaks = _leaks(rm=_long("x", "there"))
    rows = [{"text": _long("x", "there") + " Yes"}, {"text": _long("x") + " Yes"}]
    assert list(unseen(rows, leaks, name="documents", counts=Counter())) == rows
    assert [row for _, row in leaks.watch("documents", rows)] == rows
    leaks.prove_none()


TIMED = """
import time
from collections import Counter
from apo.splits.splitting import split_rows

tail = " an answer\\n\\nHuman: and another question\\n\\nAssistant:" * 8
rows = [{"query": f"\\n\\nHuman: question {n}\\n\\nAssistant:{tail}", "split": ""} for n in range(10_000)]
start = time.process_time()
settings = {"rm_fraction": 0.5, "valid_fraction": 0.1, "test_fraction": 0.1, "near_duplicate": 0.9}
for _ in split_rows(lambda: rows, seed=1, shared_first_turn="keep", counts=Counter(), **settings):
    pass
print(time.process_time() - start)
"""


def test_ten_thousand_rows_take_less_than_a_second() -> None:
    # In a process of its own, without the type checks of the tests.
    seconds = subprocess.run([sys.executable, "-c", TIMED], check=True, capture_output=True, text=True).stdout
    assert float(seconds) < 1.0


def _branch(name: object, turn: str) -> str:
    return _query(name, f" Yes\n\nHuman: {turn}\n\nAssistant:")


@pytest.mark.parametrize(("given", "own"), [("rm", "rm"), ("llm", "llm"), ("llm", "valid")])
def test_a_given_row_that_shares_its_first_turn_with_a_test_row_stays_or_goes(given: str, own: str) -> None:
    valid_fraction = float(own == "valid")
    rows = [_row(1, "test"), {"query": _branch(1, "why?"), "split": given}, _row(2, given)]
    pairs, counts = _split(rows, valid_fraction=valid_fraction)
    assert [part for part, _ in pairs] == ["test", own, own]
    assert not [name for name in counts if "dropped" in name]
    pairs, counts = _split(rows, valid_fraction=valid_fraction, shared_first_turn="drop")
    assert pairs == [("test", rows[0]), (own, rows[2])]
    assert counts == {"rows": 3, "rows_test": 1, f"rows_{own}": 1, f"dropped_first_turn_test_{own}": 1}


def test_a_validation_query_that_goes_for_its_first_turn_keeps_nothing_aside() -> None:
    rows = [_row(1, "test"), {"query": _branch(1, "why?"), "split": "llm"}]
    rows += [{"query": _branch(1, "how?"), "split": "rm"}, {"query": _branch(2, "how?"), "split": "rm"}]
    rows += [_row(2, "llm")]
    pairs, counts = _split(rows, valid_fraction=1.0, shared_first_turn="drop")
    assert pairs == [("test", rows[0]), ("valid", rows[4])]
    dropped = {name: count for name, count in counts.items() if "dropped" in name}
    assert dropped == {
        "dropped_first_turn_test_valid": 1,
        "dropped_first_turn_test_rm": 1,
        "dropped_first_turn_valid_rm": 1,
    }


def test_first_turns_that_are_shared_are_counted_or_refused() -> None:
    own = {"rm": _branch("x", "why?"), "valid": _branch("x", "how?"), "test": _branch("x", "who?")}
    rows = [{"text": _query("x") + " Yes"}, {"text": _query("y") + " Yes"}, {"text": "question x"}]
    leaks = _leaks(**own)
    assert [row for _, row in leaks.watch("documents", rows)] == rows
    shared = leaks.prove_none()["shared_first_turns"]
    assert {pair for pair, count in shared.items() if count} == {
        "rm_and_test",
        "rm_and_valid",
        "valid_and_test",
        "documents_and_test",
        "documents_and_valid",
    }
    assert set(shared.values()) == {0, 1}
    strict = _leaks(shared_first_turn="drop", **own)
    assert list(unseen(rows, strict, name="documents", counts=Counter())) == rows[1:]
    with pytest.raises(UserError, match=r"^rm and test: found 1 queries with the same first turn"):
        strict.prove_none()


def test_what_each_kind_got_and_what_it_lacks() -> None:
    queries = Queries()
    kinds = [("rm", "a"), ("rm", "a"), ("llm", "a"), ("test", "a"), ("rm", "b"), ("valid", "")]
    rows = [
        (part, {"query_id": str(n), "query": _query(n), "type": kind, "split": ""})
        for n, (part, kind) in enumerate(kinds)
    ]
    list(queries.watch([*rows, rows[0]]))
    assert queries.by_type() == {
        "types": 3,
        "types_absent_from_rm": 1,
        "types_absent_from_llm": 2,
        "types_absent_from_valid": 2,
        "types_absent_from_test": 2,
        "by_type": {
            "": {"queries": 1, "rm": 0.0, "llm": 0.0, "valid": 1.0, "test": 0.0},
            "a": {"queries": 4, "rm": 0.5, "llm": 0.25, "valid": 0.0, "test": 0.25},
            "b": {"queries": 1, "rm": 1.0, "llm": 0.0, "valid": 0.0, "test": 0.0},
        },
    }


def test_of_many_kinds_the_largest_are_shown() -> None:
    queries = Queries()
    names = [f"k{n:03}" for n in range(KINDS + 5)]
    rows = [(n, name) for name in names for n in range(1 + (name == names[-1]))]
    list(
        queries.watch(
            ("rm", {"query_id": "", "query": _query(f"{name} {n}"), "type": name, "split": ""})
            for n, name in rows
        )
    )
    found = queries.by_type()
    assert found["types"] == KINDS + 5 == found["types_absent_from_test"]
    assert list(found["by_type"]) == [*names[: KINDS - 1], names[-1]]
