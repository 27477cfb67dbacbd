"""split: parts that share no query, stay where they are when rows come, and keep aside what measures."""

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from apo.dialogue import normalise_query, query_id_of
from apo.errors import UserError
from apo.records import read_rows, write_rows
from stages.data import main as bring
from stages.split import main

ROOT = Path(__file__).parents[1]
PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
PARTS = ("rm_train", "llm_train", "rm_valid", "test")
OUTS = {*PARTS, "rm_queries", "llm_queries", "test_queries", "demonstrations", "documents"}
RAW = ("comparisons", "golden", "demonstrations", "documents")

Rows = list[dict[str, Any]]


def query(name: object) -> str:
    return f"\n\nHuman: question {name}\n\nAssistant:"


def comparison(name: object, split: str = "", text: str = "") -> dict[str, Any]:
    own = text or query(name)
    return {
        "query_id": query_id_of(own),
        "query": own,
        "responses": ["a", f"b {name}"],
        "scores": [1.0, 0.0],
        "type": "t",
        "split": split,
    }


def golden(row: dict[str, Any]) -> dict[str, Any]:
    return {"query_id": row["query_id"], "query": row["query"], "golden": "g", "type": ""}


def write_params(folder: Path, *, seed: int = 1, **split: Any) -> Path:
    (folder / "params.yaml").write_text(json.dumps({"seed": seed, "split": PARAMS["split"] | split}))
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
    found = {name: list(read_rows(folder / "split" / f"{name}.jsonl")) for name in OUTS}
    metrics: dict[str, dict[str, Any]] = json.loads((folder / "metrics.json").read_text())
    assert metrics.keys() == {"split"}
    return found, metrics["split"]


def world(size: int = 200, start: int = 0) -> dict[str, Rows]:
    rows = [comparison(n) for n in range(start, start + size)]
    return {"comparisons": rows, "golden": [golden(row) for row in rows]}


def keys(rows: Rows) -> set[str]:
    return {normalise_query(row["query"]) for row in rows}


FRACTIONS = {"test_fraction": 0.2, "valid_fraction": 0.2}


def test_the_demo_is_split_as_the_parameters_say(tmp_path: Path) -> None:
    demo = {"comparisons": 300, "test_comparisons": 50, "documents": 100, "demonstrations": 60}
    data = PARAMS["data"] | {"demo": demo | {"temperature": 1.0}}
    (tmp_path / "params.yaml").write_text(json.dumps({"seed": 1, "data": data, "split": PARAMS["split"]}))
    (tmp_path / "input").mkdir()
    params = tmp_path / "params.yaml"
    bring(tmp_path / "input", tmp_path / "raw", tmp_path / "data.json", params)
    split(tmp_path, params)
    found, metrics = written(tmp_path)
    sizes = [len(found[part]) for part in PARTS]
    assert sum(sizes) == 350 - metrics.get("dropped_in_test", 0)
    assert sizes[3] == 50
    assert abs(sizes[0] / 300 - PARAMS["split"]["rm_fraction"]) < 0.1
    aside = keys(found["test"]) | keys(found["rm_valid"])
    for name in ("documents", "demonstrations"):
        # The whole text, lower case and without signs, so that no rule about turns decides.
        texts = [normalise_query(row.get("text") or row["query"] + row["response"]) for row in found[name]]
        assert not [(text, key) for text in texts for key in aside if text.startswith(key)]
    assert len(found["documents"]) + metrics.get("documents_dropped", 0) == 200


def test_parts_share_no_query_and_together_are_everything(tmp_path: Path) -> None:
    rows = world()
    shouted = [f"\n\nHuman: QUESTION  {n}?\n\nAssistant:" for n in range(0, 200, 3)]
    rows["comparisons"] += [comparison(n, text=text) for n, text in enumerate(shouted)]
    found, metrics = play(tmp_path, rows, **FRACTIONS)
    parts = [keys(found[part]) for part in PARTS]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 200
    assert sum(len(found[part]) for part in PARTS) == len(rows["comparisons"])
    assert min(len(part) for part in parts) > 10
    assert set(metrics["overlaps"].values()) == {0} and len(metrics["overlaps"]) == 6
    for part, name in zip(("rm", "llm", "valid", "test"), PARTS, strict=True):
        assert metrics[f"rows_{part}"] == len(found[name])


def test_rows_are_those_of_the_source_in_their_order_without_the_part(tmp_path: Path) -> None:
    rows = world()
    found, _ = play(tmp_path, rows, **FRACTIONS)
    for part in PARTS:
        own = keys(found[part])
        wanted = [row for row in rows["comparisons"] if normalise_query(row["query"]) in own]
        assert found[part] == [{k: v for k, v in row.items() if k != "split"} for row in wanted]


def test_queries_are_distinct_and_those_of_their_part(tmp_path: Path) -> None:
    rows = world()
    rows["comparisons"] = rows["comparisons"] * 2
    found, metrics = play(tmp_path, rows, **FRACTIONS)
    for name, part in (("rm_queries", "rm_train"), ("llm_queries", "llm_train"), ("test_queries", "test")):
        assert len(found[name]) * 2 == len(found[part])
        assert [row["query_id"] for row in found[name]] == list(
            dict.fromkeys(row["query_id"] for row in found[part])
        )
        assert all(list(row) == ["query_id", "query", "type"] for row in found[name])
        assert metrics[name] == len(found[name])


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(tmp_path: Path) -> None:
    contents = []
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        (tmp_path / name).mkdir()
        play(tmp_path / name, world(), seed=seed, **FRACTIONS)
        contents.append({p.name: p.read_bytes() for p in (tmp_path / name / "split").iterdir()})
    assert contents[0] == contents[1]
    assert contents[0]["rm_train.jsonl"] != contents[2]["rm_train.jsonl"]


def test_rows_that_come_or_go_move_no_other_row(tmp_path: Path) -> None:
    few, _ = play(tmp_path, world(100, start=50), **FRACTIONS)
    many, _ = play(tmp_path, world(300), **FRACTIONS)
    for part in PARTS:
        assert keys(few[part]) == keys(many[part]) & set.union(*(keys(few[other]) for other in PARTS))


def test_given_parts_win_over_drawn_ones(tmp_path: Path) -> None:
    given = [comparison(n, ("rm", "llm", "test")[n % 3]) for n in range(90)]
    drawn = [comparison(n, text=query(f"{n}.")) for n in range(90)]
    rows = {"comparisons": [*drawn, *given], "golden": [golden(row) for row in given]}
    found, metrics = play(tmp_path, rows, **FRACTIONS)
    assert keys(found["rm_train"]) == keys(given[0::3])
    assert keys(found["llm_train"]) | keys(found["rm_valid"]) == keys(given[1::3])
    assert keys(found["test"]) == keys(given[2::3])
    moved = sum(count for name, count in metrics.items() if name.startswith("moved_"))
    assert moved > 0 < metrics["dropped_in_test"]
    assert metrics["rows"] == 180 == sum(len(found[part]) for part in PARTS) + metrics["dropped_in_test"]


def test_what_is_kept_aside_is_in_no_demonstration_and_no_document(tmp_path: Path) -> None:
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
    found, metrics = play(tmp_path, rows, **FRACTIONS)
    aside = keys(found["test"]) | keys(found["rm_valid"])
    shown = keys(found["rm_train"]) | keys(found["llm_train"])
    assert keys(found["demonstrations"]) == shown
    assert metrics["demonstrations_dropped"] == len(aside)
    assert len(found["documents"]) == 4 * len(shown) + 2
    assert metrics["documents_dropped"] == 4 * len(aside)
    starts = {normalise_query(row["text"].partition(" plain")[0]) for row in found["documents"]}
    assert not aside & starts


def test_a_query_without_golden_answer_is_an_error_or_only_trains_the_base_rm(tmp_path: Path) -> None:
    rows = world()
    complete, _ = play(tmp_path, rows, **FRACTIONS)
    lacking = complete["rm_train"][3]["query_id"]
    rows["golden"] = [row for row in rows["golden"] if row["query_id"] != lacking]
    with pytest.raises(UserError, match=rf"query '{lacking}' of the RM part: found no golden answer"):
        play(tmp_path, rows, **FRACTIONS)
    assert written(tmp_path)[0] == complete  # what was there stays
    found, metrics = play(tmp_path, rows, without_golden="skip", **FRACTIONS)
    assert metrics["rm_queries_without_golden"] == 1
    assert found["rm_train"] == complete["rm_train"]
    assert found["rm_queries"] == [row for row in complete["rm_queries"] if row["query_id"] != lacking]


def test_only_the_rm_part_needs_golden_answers(tmp_path: Path) -> None:
    rows = world()
    complete, _ = play(tmp_path, rows, **FRACTIONS)
    rows["golden"] = [golden(row) for row in complete["rm_train"]]
    assert play(tmp_path, rows, **FRACTIONS)[0] == complete


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"test_fraction": 0.0}, "test"),
        ({"valid_fraction": 0.0}, "valid"),
        ({"rm_fraction": 0.0}, "rm"),
    ],
)
def test_a_part_without_a_query_is_refused_before_anything_is_trained(
    tmp_path: Path, changes: dict[str, float], part: str
) -> None:
    with pytest.raises(UserError, match=rf"part {part}: found no comparisons.*data\.files"):
        play(tmp_path, world(), **FRACTIONS | changes)
    assert not list((tmp_path / "split").iterdir())
    assert not (tmp_path / "metrics.json").exists()
