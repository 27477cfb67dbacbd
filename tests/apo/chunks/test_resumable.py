"""apo/chunks/resumable.py: a killed sampling or scoring ends in the same numbers."""

import json
from pathlib import Path
from typing import Any

import pytest

from apo.chunks.resumable import open_chunks
from apo.core.errors import UserError
from apo.sampling.generation import sample_responses
from apo.sampling.prompts import Prompt
from apo.scoring.rewards import rewards_of
from tests.helpers import tiny_models as tiny

QUERIES = [(f"q{i}", tiny.query(f"What is {i} plus {i}?")) for i in range(9)]


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


def numbers(computed: list[int], *, key: str = "k", stop_at: int | None = None, name: str = "n") -> list[Any]:
    """The squares of 0 to 5 as pieces; `computed` receives those that were not read."""

    def square(i: int) -> list[float]:
        if i == stop_at:
            raise Killed
        computed.append(i)
        return [i * i / 3]

    with open_chunks("test", key) as chunks:
        return list(chunks.values([[name, i] for i in range(6)], square))


WHOLE = [[i * i / 3] for i in range(6)]


@pytest.mark.parametrize("stop_at", range(6))
def test_it_goes_on_where_it_was(stop_at: int) -> None:
    computed: list[int] = []
    with pytest.raises(Killed):
        numbers(computed, stop_at=stop_at)
    assert numbers(computed) == WHOLE  # floats to the last bit
    assert computed == list(range(6))
    assert numbers(computed) == WHOLE and len(computed) == 6


@pytest.mark.parametrize("cut", [1, 5, 12])
def test_a_torn_line_is_computed_again(own_root: Path, cut: int) -> None:
    numbers([])
    [path] = own_root.glob(".cache/checkpoints/test-k/chunks.jsonl")
    path.write_bytes(path.read_bytes()[:-cut])
    computed: list[int] = []
    assert numbers(computed) == WHOLE
    assert computed == [5]
    assert [json.loads(line)[1] for line in path.read_text().splitlines()] == WHOLE


def test_zeros_after_a_loss_of_power_are_computed_again(own_root: Path) -> None:
    numbers([])
    [path] = own_root.glob(".cache/checkpoints/test-k/chunks.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]) + b"\0" * 20 + b"\n" + b"".join(lines[4:]))
    computed: list[int] = []
    assert numbers(computed) == WHOLE
    assert computed == [3, 4, 5]


def test_another_key_or_name_is_another_computation() -> None:
    computed: list[int] = []
    for key, name in (("k", "n"), ("other", "n"), ("k", "m")):
        assert numbers(computed, key=key, name=name) == WHOLE
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
        numbers([])


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
