"""Sampling and scoring over several processes: the bytes of one, whatever their number, killed or not."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil
import pytest
from ruamel.yaml import YAML

import stages.answer
import stages.payoff
import stages.sample
import stages.score
from apo.chunks.resumable import open_chunks
from apo.chunks.worker_shards import known_queries, new_queries
from apo.core import distributed
from apo.core.errors import UserError
from apo.core.records import read_rows, write_rows
from apo.model.checkpoint import save_reward_model
from tests.helpers import tiny_models as tiny

ROOT = Path(__file__).parents[3]
PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))


class Killed(Exception):
    """Stands for the end of a process."""


@pytest.fixture(autouse=True)
def own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def share(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Calls `work` with a launcher whose ranks are calls of it, one after the other, in this process."""

    def run(
        work: Callable[[], Any], ranks: Iterable[int], world: int, then: Any = lambda folder: None
    ) -> Any:
        def start(piece: str, folder: Path) -> None:
            for rank in ranks:
                with monkeypatch.context() as patch:
                    patch.setenv(distributed.PIECE, piece)
                    patch.setenv("RANK", str(rank))
                    patch.setenv("WORLD_SIZE", str(world))
                    with pytest.raises(distributed.WorkerDone):
                        work()
            then(folder)

        with monkeypatch.context() as patch:
            patch.setattr(distributed, "run_workers", start)
            patch.setenv("APO_LAUNCH", "a launcher")
            return work()

    return run


def numbers(computed: list[int], count: int, *, stop_at: int = -1, key: str = "k") -> list[Any]:
    """Squares as pieces of two queries each; `computed` receives those that were not read."""

    def square(i: int) -> list[float]:
        if i == stop_at:
            raise Killed
        computed.append(i)
        return [i * i / 3]

    with open_chunks("test", key, queries=2 * count) as chunks:
        return [
            chunks.get(["n", i], lambda i=i: square(i), queries=2, elsewhere=lambda: [-1.0])
            for i in range(count)
        ]


def whole(count: int) -> list[list[float]]:
    return [[i * i / 3] for i in range(count)]


@pytest.mark.parametrize(("count", "world"), list(itertools.product([0, 1, 2, 5, 9], [1, 2, 3, 8])))
def test_every_piece_is_computed_once_by_one_rank(
    share: Any, own_root: Path, count: int, world: int, capsys: pytest.CaptureFixture[str]
) -> None:
    by_rank: list[list[int]] = []

    def work() -> list[Any]:
        by_rank.append([])
        return numbers(by_rank[-1], count)

    # The process that starts the ranks comes first, and computes nothing.
    assert share(work, reversed(range(world)), world) == whole(count)
    outer, *ranks = by_rank
    assert outer == []
    assert ranks == ([list(range(rank, count, world)) for rank in reversed(range(world))] if count else [])
    idle = [rank for rank in range(world) if rank >= count > 0]
    said = capsys.readouterr().err
    assert all(f"test-k: rank {rank} of {world} had nothing to do" in said for rank in idle)
    assert said.count("nothing to do") == len(idle)
    # One process finds it all, and so does another launcher, which starts nothing.
    alone: list[int] = []
    assert numbers(alone, count) == whole(count) and alone == []
    assert share(lambda: numbers(alone, count), [], 5) == whole(count)
    assert {path.name for path in own_root.glob(".cache/checkpoints/test-k/*")} == {"lock", "chunks.jsonl"}


@pytest.mark.parametrize(("world", "again"), [(2, 2), (2, 3), (3, 2), (3, 1)])
@pytest.mark.parametrize("stop_at", [0, 4, 7])
def test_a_rerun_with_any_number_of_ranks_goes_on_where_it_was(
    share: Any, world: int, again: int, stop_at: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever rank dies, first by an order in which ranks come, then alone, in one process or in ranks."""
    count = 9
    computed: list[int] = []
    with pytest.raises(Killed):
        share(lambda: numbers(computed, count, stop_at=stop_at), range(world), world)
    before = len(computed)
    capsys.readouterr()
    work = lambda: numbers(computed, count)  # noqa: E731
    assert (work() if again == 1 else share(work, range(again), again)) == whole(count)
    assert Counter(computed) == Counter(range(count))
    if before and again > 1:
        assert f"test-k: resumes after {2 * before} of 18 queries" in capsys.readouterr().err


def test_ranks_go_on_behind_one_process_and_deal_what_is_missing(share: Any) -> None:
    computed: list[int] = []
    with pytest.raises(Killed):
        numbers(computed, 9, stop_at=5)
    by_rank: list[list[int]] = []

    def work() -> list[Any]:
        by_rank.append([])
        return numbers(by_rank[-1], 9)

    assert share(work, range(2), 2) == whole(9)
    assert by_rank == [[], [5, 7], [6, 8]]


@pytest.mark.parametrize("tail", [b'[["n", 1], [0.33', b"\0\0\0\0\n", b"\n\n"])
def test_what_is_torn_is_computed_again(share: Any, own_root: Path, tail: bytes) -> None:
    computed: list[int] = []
    with pytest.raises(Killed):
        share(lambda: numbers(computed, 7, stop_at=5), range(2), 2)
    assert computed == [0, 2, 4, 6, 1, 3]
    [path] = own_root.glob(".cache/checkpoints/test-k/share-1.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + tail)
    assert share(lambda: numbers(computed, 7), range(3), 3) == whole(7)
    assert computed[6:] == [3, 5]


def _without(folder: Path, piece: int) -> None:
    for path in folder.glob("share-*.jsonl"):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(line for line in lines if json.loads(line)[0][1] != piece))


@pytest.mark.parametrize(("piece", "rank"), [(0, 0), (4, 1), (8, 2)])
def test_a_missing_piece_is_an_error_that_names_its_rank(
    share: Any, own_root: Path, piece: int, rank: int
) -> None:
    message = rf"test-k: found no piece \['n', {piece}\], which rank {rank} of 3 had"
    computed: list[int] = []
    with pytest.raises(UserError, match=message):
        share(lambda: numbers(computed, 9), range(3), 3, then=lambda folder: _without(folder, piece))
    assert numbers(computed, 9) == whole(9)
    assert computed[9:] == [piece]


def test_ranks_that_leave_nothing_are_an_error(share: Any) -> None:
    with pytest.raises(UserError, match="found no piece"):
        share(lambda: numbers([], 3), [], 2)


def test_the_progress_counts_whole_lines_once(tmp_path: Path) -> None:
    paths = [tmp_path / f"share-{rank}.jsonl" for rank in (0, 1)]
    places: dict[Path, int] = {}
    assert new_queries(tmp_path, places) == 0
    paths[0].write_bytes(b'[["a"], [1], 3]\n[["b"], [')
    assert new_queries(tmp_path, places) == 3
    paths[0].write_bytes(b'[["a"], [1], 3]\n[["b"], [2], 4]\n')
    paths[1].write_bytes(b'[["c"], [1], 10]\n')
    assert new_queries(tmp_path, places) == 14
    assert new_queries(tmp_path, places) == 0
    paths[0].rename(tmp_path / "chunks.jsonl")
    (tmp_path / "found.jsonl").write_bytes(b'\n[["c"], [1], 10]\n[["a"], [1], 3]\n[["torn"], [1], 9]')
    assert known_queries(tmp_path) == 17


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
    for arm, start in (("actor", 0), ("apo", 3)):
        write_rows(tmp_path / "answers" / f"{arm}.jsonl", samples[start:])
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
    Path(f"{out}.answers", "llm.jsonl").rename(f"{out}.jsonl")


def forget(folder: Path) -> None:
    """Removes what was computed."""
    for path in folder.glob(".cache/checkpoints/*/*.jsonl"):
        path.unlink()


@pytest.mark.parametrize("stage", [sample, score, payoff, answer])
def test_a_stage_writes_the_same_bytes_in_any_number_of_ranks(
    models: Path, share: Any, stage: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    stage("one")
    wanted = (models / "one.jsonl").read_bytes(), (models / "one.json").read_bytes()
    paths = list(models.glob(".cache/checkpoints/*/chunks.jsonl"))
    chunks = [path.read_bytes() for path in paths]
    assert len(paths) == (2 if stage is payoff else 1)  # payoff has one for each RM
    assert all(content.count(b"\n") >= 6 for content in chunks)
    for world in (3, 30):
        forget(models)
        share(lambda world=world: stage(f"of_{world}"), range(world), world)
        for kind, content in zip(("jsonl", "json"), wanted, strict=True):
            assert (models / f"of_{world}.{kind}").read_bytes() == content
        assert [path.read_bytes() for path in paths] == chunks
    said = capsys.readouterr().err
    assert "rank 29 of 30 had nothing to do" in said and "of 3 had nothing" not in said
    assert not list(models.glob("*.tmp"))


# Processes -----------------------------------------------------------------------------------------


def started(models: Path, stage: str, out: str, ranks: int) -> subprocess.Popen[str]:
    words = {
        "sample": "--name rm_r1 --part rm --llm llm/r0 --queries queries.jsonl --raw raw.jsonl",
        "score": "--name apo_r1 --model rm --evaluation evaluation.json --samples samples.jsonl",
    }[stage]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "APO_DEVICE": "cpu"}
    environment |= {"APO_LAUNCH": f"torchrun --standalone --nproc_per_node {ranks}" if ranks else ""}
    command = [sys.executable, "-m", f"stages.{stage}", *words.split()]
    command += ["--out", f"{out}.jsonl", "--metrics", f"{out}.json"]
    return subprocess.Popen(command, cwd=models, env=environment, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    said = process.communicate()[1]  # the test has a time limit
    return process.returncode, said


def rank_of(process: subprocess.Popen[str], rank: int) -> psutil.Process | None:
    """A rank below the process that was started."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                environment = child.environ()
                if environment.get("RANK") == str(rank) and "APO_RANK_PIECE" in environment:
                    return child
    return None


def ask_more(models: Path) -> None:
    """So many queries that a rank is at work for some seconds."""
    rows = list(read_rows(models / "queries.jsonl"))
    write_rows(
        models / "queries.jsonl",
        (row | {"query_id": f"{n} {row['query_id']}"} for n in range(40) for row in rows),
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_rank_killed_while_it_samples_and_run_again(models: Path) -> None:
    ask_more(models)
    process = started(models, "sample", "two", 2)
    began = time.monotonic()
    while not (share := list(models.glob(".cache/checkpoints/sample_rm-*/share-1.jsonl"))) or (
        share[0].read_bytes().count(b"\n") < 3
    ):
        assert process.poll() is None and time.monotonic() - began < 240
        time.sleep(0.01)
    victim = rank_of(process, 1)
    assert victim is not None
    victim.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    code, said = ended(process)
    assert code == 1 and time.monotonic() - killed < 60
    assert "error: APO_LAUNCH: found rank 1 killed by SIGKILL" in said
    assert not list(models.glob("two.*"))
    code, said = ended(started(models, "sample", "two", 3))
    assert code == 0 and "queries" in said and "resumes after" in said
    found = {path: path.read_bytes() for path in (models / "two.jsonl", models / "two.json")}
    forget(models)
    assert ended(started(models, "sample", "one", 0))[0] == 0
    for path, content in found.items():
        assert (models / path.name.replace("two", "one")).read_bytes() == content


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_score_as_one(models: Path) -> None:
    for out, ranks in (("one", 0), ("two", 2)):
        forget(models)
        assert ended(started(models, "score", out, ranks))[0] == 0
    for kind in ("jsonl", "json"):
        assert (models / f"one.{kind}").read_bytes() == (models / f"two.{kind}").read_bytes()
