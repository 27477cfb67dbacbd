"""stages/split.py: disjoint and stable parts, and evaluation queries in nothing that trains."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import stages.split
from apo.core.dialogue import normalize_query, query_id_of
from apo.core.errors import UserError
from apo.core.records import read_rows, write_rows
from apo.splits.splitting import split_rows
from stages.data import main as bring
from stages.split import main

ROOT = Path(__file__).parents[2]
PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
PARTS = ("rm_train", "llm_train", "rm_valid", "test")
OUTS = {*PARTS, "rm_queries", "llm_queries", "test_queries", "demonstrations", "documents"}
RAW = ("comparisons", "golden", "demonstrations", "documents")

Rows = list[dict[str, Any]]


def query(name: object) -> str:
    return f"\n\nHuman: question {name}\n\nAssistant:"


def comparison(name: object, split: str = "", text: str = "") -> dict[str, Any]:
    text = text or query(name)
    return {
        "query_id": query_id_of(text),
        "query": text,
        "responses": ["a", f"b {name}"],
        "scores": [1.0, 0.0],
        "type": "t",
        "split": split,
    }


def golden(row: dict[str, Any]) -> dict[str, Any]:
    return {"query_id": row["query_id"], "query": row["query"], "golden": "g", "type": ""}


def write_params(
    folder: Path, *, seed: int = 1, golden: str = "files", starts: str = "checkpoint", **split: Any
) -> Path:
    """Parameters; backbone and actor start from a checkpoint, or from what is split ("texts")."""
    start = {"backbone": "documents", "actor": "demonstrations"}
    params = {"seed": seed, "split": PARAMS["split"] | split, "data": {"golden": golden}}
    for model, name in start.items():
        texts = str(folder / "split" / f"{name}.jsonl")
        params[model] = {"start": texts if starts == "texts" else "checkpoint"}
    (folder / "params.yaml").write_text(json.dumps(params))
    return folder / "params.yaml"


def play(folder: Path, rows: dict[str, Rows], **settings: Any) -> tuple[dict[str, Rows], dict[str, Any]]:
    """Runs the stage on raw records; the rows by file, and the metrics."""
    for name in RAW:
        write_rows(folder / "raw" / f"{name}.jsonl", rows.get(name, []))
    split(folder, write_params(folder, **settings))
    return written(folder)


def split(folder: Path, params: Path) -> None:
    """Calls the stage on the files of `raw`."""
    main(
        *(folder / "raw" / f"{name}.jsonl" for name in RAW), folder / "split", folder / "metrics.json", params
    )


def written(folder: Path) -> tuple[dict[str, Rows], dict[str, Any]]:
    assert {path.name for path in (folder / "split").iterdir()} == {f"{name}.jsonl" for name in OUTS}
    files = {name: list(read_rows(folder / "split" / f"{name}.jsonl")) for name in OUTS}
    metrics: dict[str, dict[str, Any]] = json.loads((folder / "metrics.json").read_text())
    assert metrics.keys() == {"split"}
    return files, metrics["split"]


def world(size: int = 200, start: int = 0) -> dict[str, Rows]:
    rows = [comparison(n) for n in range(start, start + size)]
    return {"comparisons": rows, "golden": [golden(row) for row in rows]}


def keys(rows: Rows) -> set[str]:
    return {normalize_query(row["query"]) for row in rows}


FRACTIONS = {"test_fraction": 0.2, "valid_fraction": 0.2}


def test_split_of_the_demo_follows_the_parameters(tmp_path: Path) -> None:
    demo = {"comparisons": 300, "test_comparisons": 50, "documents": 100, "demonstrations": 60}
    data = PARAMS["data"] | {"demo": demo | {"temperature": 1.0, "golden_flaws": 0.0}}
    params = {"seed": 1, "data": data} | {name: PARAMS[name] for name in ("split", "backbone", "actor")}
    (tmp_path / "params.yaml").write_text(json.dumps(params))
    (tmp_path / "input").mkdir()
    params = tmp_path / "params.yaml"
    bring(tmp_path / "input", tmp_path / "raw", tmp_path / "data.json", params)
    split(tmp_path, params)
    files, metrics = written(tmp_path)
    sizes = [len(files[part]) for part in PARTS]
    assert sum(sizes) == 350 - metrics.get("dropped_in_test", 0)
    assert sizes[3] == 50
    assert abs(sizes[0] / 300 - PARAMS["split"]["rm_fraction"]) < 0.1
    evaluation_keys = keys(files["test"]) | keys(files["rm_valid"])
    for name in ("documents", "demonstrations"):
        # The whole text, lower case and without signs, so that no rule about turns decides.
        texts = [normalize_query(row.get("text") or row["query"] + row["response"]) for row in files[name]]
        assert not [(text, key) for text in texts for key in evaluation_keys if text.startswith(key)]
    assert len(files["documents"]) + metrics.get("documents_dropped", 0) == 200


def test_split_gives_disjoint_parts_of_undropped(tmp_path: Path) -> None:
    rows = world()
    shouted = [f"\n\nHuman: QUESTION  {n}?\n\nAssistant:" for n in range(0, 200, 3)]
    rows["comparisons"] += [comparison(n, text=text) for n, text in enumerate(shouted)]
    files, metrics = play(tmp_path, rows, **FRACTIONS)
    parts = [keys(files[part]) for part in PARTS]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 200
    assert sum(len(files[part]) for part in PARTS) == len(rows["comparisons"])
    assert min(len(part) for part in parts) > 10
    assert set(metrics["overlaps"].values()) == {0} and len(metrics["overlaps"]) == 6 + 4
    assert set(metrics["near_duplicates"].values()) == {0} and len(metrics["near_duplicates"]) == 4 + 4
    for part, name in zip(("rm", "llm", "valid", "test"), PARTS, strict=True):
        assert metrics[f"rows_{part}"] == len(files[name])


def test_split_keeps_rows_and_their_order(tmp_path: Path) -> None:
    rows = world()
    files, _ = play(tmp_path, rows, **FRACTIONS)
    for part in PARTS:
        part_keys = keys(files[part])
        expected = [row for row in rows["comparisons"] if normalize_query(row["query"]) in part_keys]
        assert files[part] == [{k: v for k, v in row.items() if k != "split"} for row in expected]


def test_split_writes_the_distinct_queries_of_each_part(tmp_path: Path) -> None:
    rows = world()
    rows["comparisons"] = rows["comparisons"] * 2
    files, metrics = play(tmp_path, rows, **FRACTIONS)
    for name, part in (("rm_queries", "rm_train"), ("llm_queries", "llm_train"), ("test_queries", "test")):
        assert len(files[name]) * 2 == len(files[part])
        assert [row["query_id"] for row in files[name]] == list(
            dict.fromkeys(row["query_id"] for row in files[part])
        )
        assert all(list(row) == ["query_id", "query", "type"] for row in files[name])
        assert metrics[name] == len(files[name])


def test_split_depends_on_the_seed_alone(tmp_path: Path) -> None:
    contents = []
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        (tmp_path / name).mkdir()
        play(tmp_path / name, world(), seed=seed, **FRACTIONS)
        contents.append({p.name: p.read_bytes() for p in (tmp_path / name / "split").iterdir()})
    assert contents[0] == contents[1]
    assert contents[0]["rm_train.jsonl"] != contents[2]["rm_train.jsonl"]


def test_split_prefers_given_parts_to_drawn_ones(tmp_path: Path) -> None:
    given = [comparison(n, ("rm", "llm", "test")[n % 3]) for n in range(90)]
    drawn = [comparison(n, text=query(f"{n}.")) for n in range(90)]
    rows = {"comparisons": [*drawn, *given], "golden": [golden(row) for row in given]}
    files, metrics = play(tmp_path, rows, **FRACTIONS)
    assert keys(files["rm_train"]) == keys(given[0::3])
    assert keys(files["llm_train"]) | keys(files["rm_valid"]) == keys(given[1::3])
    assert keys(files["test"]) == keys(given[2::3])
    moved = sum(count for name, count in metrics.items() if name.startswith("moved_"))
    assert moved > 0 < metrics["dropped_in_test"]
    assert metrics["rows"] == 180 == sum(len(files[part]) for part in PARTS) + metrics["dropped_in_test"]


def test_split_drops_demonstrations_and_documents_with_evaluation_queries(tmp_path: Path) -> None:
    rows = world()
    texts = [row["query"] for row in rows["comparisons"]]
    rows["demonstrations"] = [{"query_id": "d", "query": text, "response": "r"} for text in texts]
    rows["documents"] = [
        *({"text": f"{text} plain"} for text in texts),
        *({"text": f"{text} more\n\nHuman: and then?\n\nAssistant: that"} for text in texts),
        *({"text": f"{text} invents\n\nAssistant: a turn"} for text in texts),
        *({"text": f"{text.replace('question', 'QUESTION ')} written differently"} for text in texts),
        {"text": "A fact, which has no query."},
        {"text": ""},
    ]
    files, metrics = play(tmp_path, rows, **FRACTIONS)
    evaluation_keys = keys(files["test"]) | keys(files["rm_valid"])
    training_keys = keys(files["rm_train"]) | keys(files["llm_train"])
    assert keys(files["demonstrations"]) == training_keys
    assert metrics["demonstrations_dropped"] == len(evaluation_keys)
    assert len(files["documents"]) == 4 * len(training_keys) + 2
    assert metrics["documents_dropped"] == 4 * len(evaluation_keys)
    starts = {normalize_query(row["text"].partition(" plain")[0]) for row in files["documents"]}
    assert not evaluation_keys & starts


def long(name: object, word: str = "here") -> str:
    """A question of 81 words or more; with another word in its middle it is a near-duplicate."""
    words = [f"{name} {n}" for n in range(40)]
    return query(" ".join([*words[:20], word, *words[20:]]))


CHINESE = (
    "请用三句话告诉我怎样才能在家里做出一碗好吃的牛肉面另外还需要准备哪些调料和蔬菜以及每一步大概要花多少时间"
)


@pytest.mark.parametrize(
    ("test", "other", "counted"),
    [
        (long("x"), long("x").upper().replace("HUMAN", "Human").replace("ASSISTANT", "Assistant"), "in"),
        (long("x"), long("x").replace(" x ", "   x\n"), "in"),
        (long("x"), long("x").replace(" x ", "... 'x'? "), "in"),
        (long("x"), long("x", "there"), "near"),
        (long("x"), long("x", "HERE!  there"), "near"),
        (long("x"), long("x").replace("x 20", "y 20").replace("x 30", "y 30"), ""),
        (query("你好吗"), query("你好吗。"), "in"),
        (query(CHINESE * 2), query(CHINESE + CHINESE.replace("牛", "羊")), "near"),
        (query(CHINESE), query(CHINESE[::-1]), ""),
        (query("👍"), query("👎"), ""),
        ("\n\nHuman: ?\n\nAssistant:", "\n\nHuman:\n\nAssistant:", "in"),  # nothing but punctuation: nothing
        ("\n\nHuman: ?\n\nAssistant:", "\n\nHuman: 👎\n\nAssistant:", ""),
        ("\n\nHuman: ?\n\nAssistant:", "\n\nHuman: 吗\n\nAssistant:", ""),
    ],
)
def test_split_drops_a_training_row_of_a_slightly_different_test_query(
    tmp_path: Path, test: str, other: str, counted: str
) -> None:
    rows = [*world()["comparisons"], comparison("t", "test", test), comparison("r", "rm", other)]
    files, metrics = play(
        tmp_path, {"comparisons": rows, "golden": [golden(row) for row in rows]}, **FRACTIONS
    )
    assert other not in {row["query"] for part in PARTS[1:3] for row in files[part]}
    assert (other in {row["query"] for row in files["rm_train"]}) == (not counted)
    assert test in {row["query"] for row in files["test"]}
    assert metrics.get("dropped_in_test", 0) == (counted == "in")
    assert metrics.get("dropped_near_test_rm", 0) == (counted == "near")


def leaking_rows() -> dict[str, Rows]:
    """Rows of which some of each file are nearly a query of test."""
    rows = world()
    rows["comparisons"] += [comparison("t", "test", long("x")), comparison("t", "test", query("x"))]
    rows["comparisons"] += [comparison("r", "rm", query("X!"))]
    rows["comparisons"] += [
        comparison(n, part, long("x", f"{part}{n}")) for n in range(20) for part in ("rm", "llm")
    ]
    rows["golden"] = [golden(row) for row in rows["comparisons"]]
    texts = [long("x", "then"), query("x"), query("X ?"), query("fine")]
    rows["demonstrations"] = [{"query_id": "d", "query": text, "response": "r"} for text in texts]
    later = "\n\nHuman: and then?\n\nAssistant: that"
    rows["documents"] = [{"text": f"{text} plain{later}"} for text in texts]
    return rows


def test_split_drops_and_counts_near_duplicates_in_all_that_trains(tmp_path: Path) -> None:
    files, metrics = play(tmp_path, leaking_rows(), **FRACTIONS)
    assert metrics["dropped_near_test_rm"] == 20
    assert metrics["dropped_near_test_llm"] + metrics["dropped_near_test_valid"] == 20
    assert metrics["dropped_in_test"] == 1
    assert metrics["rows"] == sum(len(files[part]) for part in PARTS) + 41
    for name in ("demonstrations", "documents"):
        assert len(files[name]) == 1
        assert (metrics[f"{name}_dropped"], metrics[f"{name}_dropped_near"]) == (2, 1)
    assert not [
        row for name in ("rm_queries", "llm_queries") for row in files[name] if "question x" in row["query"]
    ]
    assert {*metrics["overlaps"].values(), *metrics["near_duplicates"].values()} == {0}


def test_split_with_threshold_one_drops_equal_sets_only(tmp_path: Path) -> None:
    files, metrics = play(tmp_path, leaking_rows(), near_duplicate=1.0, **FRACTIONS)
    assert not [name for name in metrics if "dropped_near" in name]
    assert sum(len(files[part]) for part in PARTS) == metrics["rows"] - 1
    assert metrics["demonstrations_dropped"] == metrics["documents_dropped"] == 2


def _undropped(rows: Iterable[dict[str, Any]], *_: Any, **__: Any) -> Iterator[dict[str, Any]]:
    return iter(rows)


def _parts_with_near_duplicates(*args: Any, near_duplicate: float, **kwargs: Any) -> Iterator[Any]:
    return split_rows(*args, near_duplicate=1.0, **kwargs)


def _parts_without_a_check(rows: Callable[[], Iterable[dict[str, Any]]], **_: Any) -> Iterator[Any]:
    parts = ("rm", "llm", "valid", "test")
    return ((row["split"] or parts[n % 4], row) for n, row in enumerate(rows()))


@pytest.mark.parametrize(
    ("function", "broken", "message"),
    [
        (
            "drop_leaked",
            _undropped,
            r"demonstrations and test: found 2 equal queries and 1 near-duplicates, such as",
        ),
        (
            "split_rows",
            _parts_with_near_duplicates,
            r"rm and test: found 0 equal queries and 20 near-duplicates, such as",
        ),
        (
            "split_rows",
            _parts_without_a_check,
            r"rm and test: found 1 queries in both, such as 'human question x assistant'",
        ),
    ],
)
def test_split_fails_if_a_row_that_leaks_is_not_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, broken: Any, message: str
) -> None:
    """The check reads the rows that are written."""
    monkeypatch.setattr(stages.split, function, broken)
    with pytest.raises(UserError, match=message):
        play(tmp_path, leaking_rows(), **FRACTIONS)
    assert not list((tmp_path / "split").iterdir())
    assert not (tmp_path / "metrics.json").exists()


def test_split_refuses_or_skips_an_rm_query_without_golden_answer(tmp_path: Path) -> None:
    rows = world()
    complete, _ = play(tmp_path, rows, **FRACTIONS)
    query_id = complete["rm_train"][3]["query_id"]
    rows["golden"] = [row for row in rows["golden"] if row["query_id"] != query_id]
    with pytest.raises(UserError, match=rf"query '{query_id}' of the RM part: found no golden answer"):
        play(tmp_path, rows, **FRACTIONS)
    assert written(tmp_path)[0] == complete  # what was there stays
    files, metrics = play(tmp_path, rows, without_golden="skip", **FRACTIONS)
    assert metrics["rm_queries_without_golden"] == 1
    assert files["rm_train"] == complete["rm_train"]
    assert files["rm_queries"] == [row for row in complete["rm_queries"] if row["query_id"] != query_id]


def test_split_needs_golden_answers_of_the_rm_part_only(tmp_path: Path) -> None:
    rows = world()
    complete, _ = play(tmp_path, rows, **FRACTIONS)
    rows["golden"] = [golden(row) for row in complete["rm_train"]]
    assert play(tmp_path, rows, **FRACTIONS)[0] == complete


@pytest.mark.parametrize("without_golden", ["error", "skip"])
def test_split_refuses_to_play_without_a_golden_answer(tmp_path: Path, without_golden: str) -> None:
    """What a set of comparisons alone gives; the advice names the parameter that helps."""
    rows = world() | {"golden": []}
    message = r"RM part: found no golden answer.*set data\.golden: chosen .* or data\.golden: endpoint"
    with pytest.raises(UserError, match=message) as caught:
        play(tmp_path, rows, without_golden=without_golden, **FRACTIONS)
    assert "without_golden" not in str(caught.value)  # with it no RM query would be left
    assert not list((tmp_path / "split").iterdir())
    with pytest.raises(UserError, match=r"set data\.golden: endpoint \(a model's answers\) in params"):
        play(tmp_path, rows, without_golden=without_golden, golden="chosen", **FRACTIONS)
    files, metrics = play(tmp_path, rows, without_golden=without_golden, golden="endpoint", **FRACTIONS)
    assert len(files["rm_queries"]) == len(files["rm_train"]) == metrics["rm_queries_without_golden"] > 0


def given_parts(*parts: str) -> dict[str, Rows]:
    """A hundred comparisons with parts of their own, in turn."""
    rows = [comparison(n, parts[n % len(parts)]) for n in range(100)]
    return {"comparisons": rows, "golden": [golden(row) for row in rows]}


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"test_fraction": 0.0}, "test"),
        ({"valid_fraction": 0.0}, "valid"),
        ({"rm_fraction": 0.0}, "rm"),
    ],
)
def test_split_refuses_an_empty_part_with_advice_that_works(
    tmp_path: Path, changes: dict[str, float], part: str
) -> None:
    with pytest.raises(UserError, match=rf"part {part}: found no comparisons; ") as caught:
        play(tmp_path, world(), **FRACTIONS | changes)
    assert not list((tmp_path / "split").iterdir())
    assert not (tmp_path / "metrics.json").exists()
    advice = re.search(r"set split\.(\w+) to more than 0, for example (\S+?)(,|$)", str(caught.value))
    assert advice
    files, _ = play(tmp_path, world(), **FRACTIONS | {advice[1]: float(advice[2])})
    assert all(files[name] for name in PARTS)


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [
        (
            world(),
            {"rm_fraction": 0.999999},
            r"part llm: .*below 0\.2 or a split\.rm_fraction below 0\.999999",
        ),
        (
            given_parts("rm", "llm"),
            {},
            r"part test: .*; name comparisons of other queries under data\.files\.test \(",
        ),
        (
            given_parts("llm", "test"),
            {},
            r"part rm: .*; name comparisons of other queries under data\.files\.rm$",
        ),
        (
            given_parts("rm", "test"),
            {},
            r"part llm: .*below 0\.2, or name more comparisons under data\.files\.llm",
        ),
    ],
    ids=["few are left", "no test", "no rm", "no llm"],
)
def test_split_refuses_an_empty_part_that_no_larger_fraction_fills(
    tmp_path: Path, rows: dict[str, Rows], changes: dict[str, float], message: str
) -> None:
    """Where the source gives the parts, the fractions draw nothing."""
    with pytest.raises(UserError, match=message):
        play(tmp_path, rows, **FRACTIONS | changes)


def test_split_says_what_left_a_part_empty(tmp_path: Path) -> None:
    rows = [comparison(n, "rm", long("x", f"rm{n}")) for n in range(9)]
    rows += [comparison("t", "test", long("x")), *(comparison(n, "llm") for n in range(50))]
    message = (
        r"part rm: found no comparisons \(left out: near_test_rm 9\).*; or a larger split\.near_duplicate"
    )
    with pytest.raises(UserError, match=message):
        play(tmp_path, {"comparisons": rows, "golden": [golden(row) for row in rows]}, **FRACTIONS)
    files, _ = play(
        tmp_path,
        {"comparisons": rows, "golden": [golden(row) for row in rows]},
        near_duplicate=1.0,
        **FRACTIONS,
    )
    assert len(files["rm_train"]) == 9


@pytest.mark.parametrize(
    ("missing", "parameter"), [("demonstrations", "actor.start"), ("documents", "backbone.start")]
)
def test_split_refuses_a_model_that_starts_from_nothing(tmp_path: Path, missing: str, parameter: str) -> None:
    """A data set of a hub has no demonstrations: an actor has to be brought, before a backbone is trained."""
    texts = {
        "demonstrations": [{"query_id": "d", "query": query("d"), "response": "r"}],
        "documents": [{"text": "a fact"}],
    }
    rows = world() | texts | {missing: []}
    with pytest.raises(UserError, match=rf"params\.yaml: {parameter}: found .*set {parameter} to a folder"):
        play(tmp_path, rows, starts="texts", **FRACTIONS)
    play(tmp_path, rows, **FRACTIONS)
    play(tmp_path, world() | texts, starts="texts", **FRACTIONS)
