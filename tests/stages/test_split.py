"""stages/split.py: disjoint and stable parts, by the parameters and the seed."""

import json
from pathlib import Path

from apo.core.dialogue import normalize_query
from stages.data import main as bring
from tests.helpers.split_stage import (
    FRACTIONS,
    PARAMS,
    PARTS,
    comparison,
    golden,
    keys,
    play,
    query,
    split,
    world,
    written,
)


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
