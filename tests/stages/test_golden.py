"""stages/golden.py: every RM query that is sampled has a golden answer, whoever wrote it."""

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import stages.convert
import stages.data
import stages.split
from apo.core.errors import UserError
from apo.core.records import read_rows, write_rows
from apo.core.subset import subsample
from stages.golden import main
from tests.helpers.fake_endpoint import Response, completion, serving, use_fast_retries

ROOT = Path(__file__).parents[2]
PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
NOT_ODD = {"asked_truncated": 0, "asked_thoughts": 0}
Rows = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder for each test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    use_fast_retries(monkeypatch)


def query(name: object) -> dict[str, Any]:
    return {"query_id": f"q{name}", "query": f"\n\nHuman: question {name}\n\nAssistant:", "type": "t"}


def golden(name: object, **more: str) -> dict[str, Any]:
    text = query(name)
    return {"query_id": text["query_id"], "query": text["query"], "golden": "g", "type": "t"} | more


def write_params(*, max_queries: int = 0, model: str = "m", **data: Any) -> None:
    params = PARAMS | {"golden": PARAMS["golden"] | {"model": model}}
    params["sample"] = PARAMS["sample"] | {"rm": {"max_queries": max_queries, "num_samples": 2}}
    params["split"] = PARAMS["split"] | {"test_fraction": 0.2, "valid_fraction": 0.2}
    params["apo"] = PARAMS["apo"] | {"num_samples": 2}
    params["actor"] = PARAMS["actor"] | {"start": "pretrained/actor"}
    params["data"] = PARAMS["data"] | data
    Path("params.yaml").write_text(json.dumps(params))


def play(queries: Rows, answers: Rows, **changes: Any) -> tuple[Rows, dict[str, int]]:
    """Runs the stage; its rows and metrics."""
    write_params(**changes)
    write_rows(Path("queries.jsonl"), queries)
    write_rows(Path("raw.jsonl"), answers)
    return run("queries.jsonl", "raw.jsonl")


def run(queries: str, answers: str) -> tuple[Rows, dict[str, int]]:
    main(Path(queries), Path(answers), Path("data/golden.jsonl"), Path("metrics/golden.json"))
    metrics = json.loads(Path("metrics/golden.json").read_text())
    assert metrics.keys() == {"golden"}
    return list(read_rows(Path("data/golden.jsonl"))), metrics["golden"]


def test_golden_takes_the_answers_of_the_queries_that_are_sampled() -> None:
    queries = [query(n) for n in range(9)]
    rows, counts = play(queries, [golden(n) for n in range(20)], max_queries=4)
    asked = subsample(queries, max_queries=4, seed=PARAMS["seed"])
    assert rows == [row | {"golden": "g"} for row in asked]
    assert list(rows[0]) == ["query_id", "query", "golden", "type"]
    assert counts == {"queries": 4, "of_source": 4, "asked": 0, "unused": 16} | NOT_ODD
    assert not Path(".cache").exists()


def test_golden_asks_for_the_answers_that_lack_and_says_who_made_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def respond(request: dict[str, Any], _: int) -> Response:
        return completion("answer to " + request["messages"][0]["content"])

    with serving(respond) as server:
        monkeypatch.setenv("APO_GOLDEN_URL", server.url)
        rows, counts = play([query(n) for n in range(4)], [golden(1), golden(3)])
        assert rows == [
            golden(0, golden="answer to question 0", made_by="m"),
            golden(1),
            golden(2, golden="answer to question 2", made_by="m"),
            golden(3),
        ]
        assert counts == {"queries": 4, "of_source": 2, "asked": 2, "unused": 0} | NOT_ODD
        before = Path("data/golden.jsonl").read_bytes()
        asked = len(server.requests)
        play([query(n) for n in range(4)], [golden(1), golden(3)], max_queries=0)
        assert Path("data/golden.jsonl").read_bytes() == before and len(server.requests) == asked == 2
        play([query(n) for n in range(99)], [], max_queries=5)
        assert len(server.requests) <= asked + 5  # of the queries that are sampled alone


def test_golden_refuses_an_endpoint_that_answers_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(lambda _, number: completion("fine" if number < 2 else "")) as server:
        monkeypatch.setenv("APO_GOLDEN_URL", server.url)
        monkeypatch.setenv("APO_GOLDEN_PARALLEL", "1")
        with pytest.raises(
            UserError, match=r"^golden answers to 3 queries \('q2', 'q3', 'q4'\): found a reply"
        ):
            play([query(n) for n in range(5)], [])
    assert not Path("data").exists() and not Path("metrics").exists()
    assert len(list(Path(".cache/golden").rglob("*.json"))) == 2
    monkeypatch.delenv("APO_GOLDEN_URL")
    with pytest.raises(UserError, match=r"^APO_GOLDEN_URL: found no address"):
        play([query(n) for n in range(5)], [])
    assert len(play([query(0), query(1)], [])[0]) == 2  # cached


# From a preference set to golden > samples ---------------------------------------------------------


def preference_set(number: int) -> Rows:
    """What a public preference set is: whole dialogues, the chosen one and the rejected one."""
    return [
        {"chosen": f"{query(n)['query']} good {n}", "rejected": f"{query(n)['query']} bad {n}"}
        for n in range(number)
    ]


def bring_and_split(rows: Rows) -> None:
    """Stages data and split on the rows as a file of the user."""
    Path("input").mkdir(exist_ok=True)
    Path("input/x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stages.data.main(Path("input"), Path("raw"), Path("metrics/data.json"))
    names = ("comparisons", "golden", "demonstrations", "documents")
    raw = [Path("raw") / f"{name}.jsonl" for name in names]
    stages.split.main(*raw, Path("split"), Path("metrics/split.json"))


FILES = {"source": "files", "files": PARAMS["data"]["files"] | {"comparisons": ["x.jsonl"]}}


def converted() -> Rows:
    """Stage convert on made-up samples of the RM queries."""
    samples = [{**row, "samples": ["s", "t"]} for row in read_rows(Path("split/rm_queries.jsonl"))]
    write_rows(Path("samples.jsonl"), samples)
    stages.convert.main(
        "r1",
        Path("data/golden.jsonl"),
        Path("samples.jsonl"),
        Path("apo.jsonl"),
        Path("metrics/convert.json"),
    )
    return list(read_rows(Path("apo.jsonl")))


def test_chosen_answers_of_a_preference_set_play_the_game() -> None:
    write_params(golden="files", **FILES)
    with pytest.raises(UserError, match=r"found no golden answer.*set data\.golden: chosen"):
        bring_and_split(preference_set(60))
    write_params(golden="chosen", **FILES)
    bring_and_split(preference_set(60))
    rows, counts = run("split/rm_queries.jsonl", "raw/golden.jsonl")
    trained = {row["query_id"]: row for row in read_rows(Path("split/rm_train.jsonl"))}
    assert counts["asked"] == 0 and len(rows) == len(trained) > 5
    for row in rows:
        assert row["golden"] == trained[row["query_id"]]["responses"][0]
    pairs = converted()
    assert [row["responses"] for row in pairs] == [[row["golden"], "s", "t"] for row in rows]


def test_answers_of_an_endpoint_play_the_game(monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(golden="endpoint", **FILES)
    bring_and_split(preference_set(60))
    with serving(lambda *_: completion("asked")) as server:
        monkeypatch.setenv("APO_GOLDEN_URL", server.url)
        rows, counts = run("split/rm_queries.jsonl", "raw/golden.jsonl")
    assert counts["asked"] == len(rows) == len(server.requests) > 5
    assert {row["golden"] for row in rows} == {"asked"} and {row["made_by"] for row in rows} == {"m"}
    assert {row["responses"][0] for row in converted()} == {"asked"}
