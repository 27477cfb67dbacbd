"""Sampling and scoring over several processes: the bytes of one, whatever their number, killed or not."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import stages.answer
import stages.payoff
import stages.sample
import stages.score
from apo.chunks.resumable import open_chunks
from apo.core import distributed
from apo.core.errors import UserError
from apo.core.records import write_rows
from apo.model.checkpoint import save_reward_model
from tests.helpers import tiny_models as tiny
from tests.helpers.ranks import run_ranks
from tests.helpers.square_chunks import Killed, expected, saved, squares

ROOT = Path(__file__).parents[3]
PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("count", "world"), list(itertools.product([0, 1, 2, 5, 9], [1, 2, 3, 8])))
def test_every_chunk_is_computed_once_and_known_to_all(
    own_root: Path, count: int, world: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fewer chunks than ranks, the last ranks compute nothing and wait for nothing."""
    by_rank: dict[int, list[int]] = {}

    def work() -> list[Any]:
        return squares(by_rank.setdefault(distributed.rank(), []), count)

    assert run_ranks(monkeypatch, world, work) == [expected(count)] * world
    assert by_rank == {rank: list(range(rank, count, world)) for rank in range(world)}
    assert saved(own_root) == list(range(count))
    # One process finds it all, and so do other ranks.
    alone: list[int] = []
    assert squares(alone, count) == expected(count)
    assert run_ranks(monkeypatch, 5, lambda: squares(alone, count)) == [expected(count)] * 5
    assert alone == []


@pytest.mark.parametrize(("world", "again"), [(1, 2), (2, 2), (2, 3), (3, 2), (3, 1)])
@pytest.mark.parametrize("stop_at", [0, 4, 7])
def test_a_rerun_with_any_number_of_ranks_resumes(
    own_root: Path,
    world: int,
    again: int,
    stop_at: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whichever rank dies: rank 0 has written the groups before it, or is about to write the last of them."""
    count, computed = 9, list[int]()
    with pytest.raises(Killed):
        run_ranks(monkeypatch, world, lambda: squares([], count, stop_at=stop_at))
    before = len(saved(own_root))
    assert saved(own_root) == list(range(before))
    assert before in (stop_at // world * world, (stop_at // world - 1) * world)
    found = run_ranks(monkeypatch, again, lambda: squares(computed, count))
    assert found == [expected(count)] * again
    assert sorted(computed) == list(range(before, count))
    if before:
        assert f"test-k: resumes after chunk {before}\n" in capsys.readouterr().err


def test_a_second_launch_is_refused(own_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[int] = []
    with (
        open_chunks("test", "k"),
        pytest.raises(UserError, match="found another process that runs this stage; expected one at a time"),
    ):
        run_ranks(monkeypatch, 2, lambda: squares(computed, 3))
    assert computed == []


# Stages --------------------------------------------------------------------------------------------


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the stages read, in the working folder: tiny models, queries, samples, answers of two arms."""
    model = tiny.reward_model(tiny.backbone(tmp_path / "llm" / "r0"))
    save_reward_model(model, tmp_path / "rm", tiny.CARD)
    queries = [tiny.query(f"What is {i} plus {i * 7 % 5}?" + " So?" * (i % 3)) for i in range(24)]
    rows = [{"query_id": f"q{i}", "query": query, "type": "t"} for i, query in enumerate(queries)]
    write_rows(tmp_path / "queries.jsonl", rows)
    samples = [row | {"samples": [f"{i} makes {k}" * k for k in range(3)]} for i, row in enumerate(rows)]
    samples[5]["extra"] = {"best": "my friend"}
    write_rows(tmp_path / "samples.jsonl", samples)
    for arm, order in (("actor", 1), ("apo", -1)):
        answers = [row | {"samples": row["samples"][::order]} for row in samples]
        write_rows(tmp_path / "answers" / f"{arm}.jsonl", answers)
    sampling = {"num_samples": 2, "max_new_tokens": 24, "max_queries": 0}
    parts = {part: PARAMS["sample"][part] | sampling for part in ("rm", "test")}
    params = PARAMS | {"sample": parts | {"common": PARAMS["sample"]["common"]}}
    (tmp_path / "truth.json").write_text("{}")
    params |= {"gate": PARAMS["gate"] | {"max_ece": 1.0}}
    (tmp_path / "evaluation.json").write_text('{"rm": {}}')
    (tmp_path / "params.yaml").write_text(json.dumps(params))
    (tmp_path / "raw.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APO_SAMPLE_BUDGET", "150")
    monkeypatch.setenv("APO_TOKEN_BUDGET", "100")
    monkeypatch.setattr("apo.scoring.rewards.WINDOW", 9)
    return tmp_path


def sample(out: str) -> None:
    at = [Path("llm/r0"), Path("queries.jsonl"), Path("raw.jsonl")]
    stages.sample.main("rm_r1", "rm", *at, Path(f"{out}.jsonl"), Path(f"{out}.json"))


def score(out: str) -> None:
    at = [Path("rm"), Path("evaluation.json"), Path("samples.jsonl")]
    stages.score.main("apo_r1", *at, Path(f"{out}.jsonl"), Path(f"{out}.json"))


def payoff(out: str) -> None:
    at = [Path("rm"), Path("rm"), Path("answers"), Path(f"{out}.jsonl"), Path(f"{out}.curves")]
    stages.payoff.main("r1", *at, Path(f"{out}.json"))


def answer(out: str) -> None:
    at = [Path("llm/r0"), Path("queries.jsonl"), Path("rm"), Path("truth.json")]
    stages.answer.main("llm", *at, Path(f"{out}.answers"), Path(f"{out}.json"))
    if distributed.is_main_process():
        Path(f"{out}.answers", "llm.jsonl").rename(f"{out}.jsonl")


def forget(folder: Path) -> None:
    """Removes what was computed."""
    for path in folder.glob(".cache/checkpoints/*/*.jsonl"):
        path.unlink()


@pytest.mark.parametrize("stage", [sample, score, payoff, answer])
def test_a_stage_writes_the_same_bytes_in_three_ranks(
    models: Path, stage: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage("one")
    wanted = (models / "one.jsonl").read_bytes(), (models / "one.json").read_bytes()
    paths = list(models.glob(".cache/checkpoints/*/chunks.jsonl"))
    chunks = [path.read_bytes() for path in paths]
    assert len(paths) == (2 if stage is payoff else 1)  # payoff has one for each RM
    assert all(content.count(b"\n") >= 6 for content in chunks)
    forget(models)
    run_ranks(monkeypatch, 3, lambda: stage("three"))
    assert ((models / "three.jsonl").read_bytes(), (models / "three.json").read_bytes()) == wanted
    assert [path.read_bytes() for path in paths] == chunks
    assert not list(models.glob("*.tmp"))
