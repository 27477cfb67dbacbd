"""Many rows in little memory: what each stage keeps of a row is bounded, whatever its texts are."""

import ast
import json
import os
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import stages.convert
import stages.data
import stages.rjs
import stages.split
from apo.core.dialogue import normalize_query, query_id_of, turn_out_of_order
from apo.core.records import Row, read_rows, write_parts
from benchmarks import big, many

ROOT = Path(__file__).parents[2]
PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
KEPT = 2000  # bytes of a row: digests, ids and places, and of one in twenty the query, which measures
RAW = ("comparisons", "golden", "demonstrations", "documents")
TEXT = 3000  # characters of each text of a row, of which there are five and more


def text(draw: random.Random) -> str:
    return " ".join(f"{draw.getrandbits(40):010x}" for _ in range(TEXT // 11))


def rows(number: int) -> Iterator[tuple[str, Row]]:
    """Comparisons, golden answers, samples and scores; all texts are different and long."""
    draw = random.Random(1)
    for _ in range(number):
        query, responses = f"\n\nHuman: {text(draw)}\n\nAssistant:", [text(draw) for _ in range(3)]
        yield "pairs", {"chosen": f"{query} {responses[0]}", "rejected": f"{query} {responses[1]}"}
        yield "golden", {"query": query, "golden": responses[2]}
        yield "samples", {"query_id": query_id_of(query), "query": query, "samples": responses}
        yield "scores", {"query_id": query_id_of(query), "scores": [0.5, -1.0, 0.25]}


def prepare(folder: Path, number: int) -> None:
    """What all the stages read."""
    paths = {name: folder / "input" / f"{name}.jsonl" for name in ("pairs", "golden")}
    paths |= {name: folder / f"{name}.jsonl" for name in ("samples", "scores")}
    write_parts(paths, rows(number))
    files = PARAMS["data"]["files"] | {"comparisons": ["pairs.jsonl"], "golden": ["golden.jsonl"]}
    params = PARAMS | {"data": PARAMS["data"] | {"source": "files", "files": files}}
    params |= {"split": PARAMS["split"] | {"test_fraction": 0.02, "valid_fraction": 0.03}}
    params |= {"apo": PARAMS["apo"] | {"num_samples": 3}}
    (folder / "params.yaml").write_text(json.dumps(params))


def bring(folder: Path) -> None:
    stages.data.main(folder / "input", folder / "raw", folder / "m.json", folder / "params.yaml")


def split(folder: Path) -> None:
    raw = [folder / "raw" / f"{name}.jsonl" for name in RAW]
    stages.split.main(*raw, folder / "split", folder / "m.json", folder / "params.yaml")


def convert(folder: Path) -> None:
    golden, samples = folder / "raw" / "golden.jsonl", folder / "samples.jsonl"
    stages.convert.main(
        "r1", golden, samples, folder / "apo.jsonl", folder / "m.json", folder / "params.yaml"
    )


def rjs(folder: Path) -> None:
    samples, scores = folder / "samples.jsonl", folder / "scores.jsonl"
    stages.rjs.main("a", samples, scores, folder / "rjs.jsonl", folder / "m.json", folder / "params.yaml")


def peak(stage: Callable[[Path], None], folder: Path) -> int:
    """Bytes that Python and numpy held at most, above what they held before."""
    tracemalloc.start()
    try:
        stage(folder)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def growth(folder: Path) -> dict[str, float]:
    """Bytes that each stage holds more for each row more."""
    sizes = (250, 500)
    bytes_kept: dict[str, list[int]] = {}
    for number in (150, *sizes):  # the first time more is imported and remembered
        prepare(folder / str(number), number)
        for stage in (bring, split, convert, rjs):
            bytes_kept.setdefault(stage.__name__, []).append(peak(stage, folder / str(number)))
        for name in ("apo", "rjs"):
            assert sum(1 for _ in read_rows(folder / str(number) / f"{name}.jsonl")) == number
    return {name: (more - less) / (sizes[1] - sizes[0]) for name, (_, less, more) in bytes_kept.items()}


@pytest.mark.slow
def test_what_a_stage_keeps_of_a_row_is_bounded_and_holds_no_text(tmp_path: Path) -> None:
    # In a process of its own, without the type checks of the tests.
    command = f"import pathlib, {__name__} as us; print(us.growth(pathlib.Path({str(tmp_path)!r})))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    kept = ast.literal_eval(done.stdout)
    assert kept.keys() == {"bring", "split", "convert", "rjs"}
    assert max(kept.values()) < KEPT, kept


# What the benchmark reads


def test_made_up_dialogues_are_of_several_turns_and_some_nearly_the_same() -> None:
    texts = list(many.dialogues(2000, seed=3))
    assert texts == list(many.dialogues(2000, seed=3))
    assert not any(turn_out_of_order(query) for query, _ in texts)
    keys = [normalize_query(query) for query, _ in texts]
    assert 0.9 < len(set(keys)) / len(keys) < 0.99
    assert 0.15 < sum(query.count("Human:") > 1 for query, _ in texts) / len(texts) < 0.5
    words = [key.split() for key in keys]
    near = sum(len(a) == len(b) and sum(map(str.__ne__, a, b)) == 1 for a, b in pairwise(words))
    assert 20 < near < 100


def test_as_many_samples_as_golden_answers_and_the_same_queries() -> None:
    queries: dict[str, list[Any]] = {}
    for name, row in many.rows(300):
        queries.setdefault(name, []).append(row)
    golden, samples = queries["golden"], queries["samples"]
    assert [row["query"] for row in golden] == [row["query"] for row in samples]
    assert [row["query_id"] for row in samples] == [row["query_id"] for row in queries["scores"]]
    assert len(queries["comparisons"]) == len({row["query_id"] for row in samples}) == 300
    assert all(len(row["samples"]) == 4 and all(row["samples"]) for row in samples)
    compared = {row["chosen"].rpartition("Assistant:")[0] for row in queries["comparisons"]}
    assert compared <= {row["query"].removesuffix("Assistant:") for row in golden}


def test_the_table_has_a_line_for_each_stage() -> None:
    measurements: dict[int, dict[str, Any]] = {
        n: dict.fromkeys(big.STAGES, (n / 1000, 99.6)) for n in (1000, 10**6)
    }
    lines = big.table(measurements).splitlines()
    assert lines[0] == "| stage | 1,000 rows | 1,000,000 rows |"
    assert lines[2] == "| data | 1.0 s, 100 MB | 1,000.0 s, 100 MB |"
    assert len(lines) == 2 + len(big.STAGES)


@pytest.mark.parametrize("stage", big.STAGES)
def test_the_stages_take_the_arguments_that_are_given(stage: str, tmp_path: Path) -> None:
    import importlib
    import inspect

    words = big.arguments(stage, tmp_path)
    parameters = inspect.signature(importlib.import_module(f"stages.{stage}").main).parameters
    assert {word.removeprefix("--") for word in words[::2]} == set(parameters)
    assert len(list(islice(words, 1, None, 2))) == len(parameters)
