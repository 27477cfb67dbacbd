"""apo/chunks/resumable.py: a killed sampling or scoring ends in the same numbers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apo.chunks.resumable import open_chunks
from apo.core.errors import UserError
from apo.sampling.generation import sample_responses
from apo.sampling.prompts import Prompt
from apo.scoring.rewards import rewards_of
from tests.helpers import tiny_models as tiny
from tests.helpers.ranks import run_ranks
from tests.helpers.square_chunks import Killed, chunks_file, expected, squares

QUERIES = [(f"q{i}", tiny.query(f"What is {i} plus {i}?")) for i in range(9)]


@pytest.mark.parametrize("stop_at", range(6))
def test_it_goes_on_where_it_was(stop_at: int) -> None:
    computed: list[int] = []
    with pytest.raises(Killed):
        squares(computed, 6, stop_at=stop_at)
    assert squares(computed, 6) == expected(6)  # floats to the last bit
    assert computed == list(range(6))
    assert squares(computed, 6) == expected(6) and len(computed) == 6


TORN: dict[str, Callable[[list[bytes]], bytes]] = {
    "half a line": lambda lines: lines[5][:12],
    "no end of the line": lambda lines: lines[5][:-1],
    "zeros after a loss of power, and a line": lambda lines: b"\0" * 20 + b"\n" + lines[6],
    "empty lines": lambda lines: b"\n\n",
}


@pytest.mark.parametrize("torn", TORN)
@pytest.mark.parametrize("world", [1, 3])
def test_what_is_torn_is_computed_again(
    own_root: Path, world: int, torn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    squares([], 7)
    path = chunks_file(own_root)
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]) + TORN[torn](lines))
    computed: list[int] = []
    assert run_ranks(monkeypatch, world, lambda: squares(computed, 7)) == [expected(7)] * world
    assert sorted(computed) == [5, 6] and path.read_bytes() == content


def test_another_key_or_name_is_another_computation() -> None:
    computed: list[int] = []
    for key, name in (("k", "n"), ("other", "n"), ("k", "m")):
        assert squares(computed, 6, key=key, name=name) == expected(6)
    assert computed == [*range(6)] * 3


def test_a_full_disk_is_one_message(own_root: Path) -> None:
    """Neither the write nor the close of the file behind it raises anything else."""
    folder = own_root / ".cache" / "checkpoints" / "test-k"
    folder.mkdir(parents=True)
    (folder / "chunks.jsonl").symlink_to("/dev/full")
    message = r"chunks.jsonl: found No space left.*make room"
    with pytest.raises(UserError, match=message), open_chunks("test", "k") as chunks:
        chunks._is_reading = False  # /dev/full reads as zeros without end
        list(chunks.values([[1]], lambda index: 1))


def test_a_folder_that_can_not_be_made_is_one_message(own_root: Path) -> None:
    (own_root / ".cache").write_text("a file")
    with pytest.raises(UserError, match=r"test-k: found (Not a directory|File exists)"):
        squares([], 6)


def sample(stop_after: int | None, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, int]:
    """Responses, and how many batches were decoded."""
    import apo.sampling.generation as module

    decoded = 0
    true_decode = module.decode

    def decode(*arguments: Any, **options: Any) -> Any:
        nonlocal decoded
        if decoded == stop_after:
            raise Killed
        decoded += 1
        return true_decode(*arguments, **options)

    ids = tiny.shared_tokenizer()([query for _, query in QUERIES], add_special_tokens=False)["input_ids"]
    prompts = [Prompt(name, [1, *one], {}) for (name, _), one in zip(QUERIES, ids, strict=True)]
    with monkeypatch.context() as patch, open_chunks("sample", "key") as chunks:
        patch.setattr(module, "decode", decode)
        patch.setenv("APO_SAMPLE_BUDGET", "40")
        found = sample_responses(
            tiny.language_model().eval(),
            prompts,
            tiny.sampling(max_new_tokens=8),
            seed=1,
            ends=[2],
            desc="sample",
            chunks=chunks,
        )
    return found, decoded


def test_a_killed_sampling_goes_on(own_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Killed):
        sample(3, monkeypatch)
    found, decoded = sample(None, monkeypatch)
    [path] = own_root.glob(".cache/checkpoints/sample-key/chunks.jsonl")
    batches = len(path.read_text().splitlines())
    assert batches > 5 and decoded == batches - 3
    path.unlink()
    whole, all_decoded = sample(None, monkeypatch)
    assert (found, all_decoded) == (whole, batches)


def test_a_killed_scoring_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.reward_model(tmp_path / "backbone").eval()
    items = tiny.random_items(1, [2, 3, 1, 4, 2, 2, 3])
    monkeypatch.setenv("APO_TOKEN_BUDGET", "40")
    calls = 0
    forward = type(model).forward

    def counted(self: Any, batch: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Killed
        return forward(self, batch)

    def rewards() -> list[list[float]]:
        with open_chunks("score", "key") as chunks:
            return list(rewards_of(model, items, desc="score", chunks=chunks))

    monkeypatch.setattr(type(model), "forward", counted)
    with pytest.raises(Killed):
        rewards()
    found = rewards()
    assert calls > 4
    before = calls
    assert rewards() == found and calls == before  # all read back
    assert found == list(rewards_of(model, items, desc=""))


def test_what_was_scored_is_found_again_with_or_without_a_progress_line(
    own_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same keys in a terminal and in a log, and other keys in each window of items."""
    monkeypatch.setattr("apo.scoring.rewards.WINDOW", 3)
    model = tiny.reward_model(tmp_path / "backbone").eval()
    items = tiny.random_items(1, [2, 2, 2, 2, 2, 2])
    for desc in ("score", ""):  # a name shows a line in a terminal, no name shows none
        with open_chunks("score", f"key{desc}") as chunks:
            list(rewards_of(model, items, desc=desc, chunks=chunks))
    keys = [
        [json.loads(line)[0][1:] for line in path.read_text().splitlines()]
        for path in sorted(own_root.glob(".cache/checkpoints/score-key*/chunks.jsonl"))
    ]
    assert keys[0] == keys[1]
    assert [key[0] for key in keys[0]] == [0, 3]
