"""Rewards of tokenized responses, in the order of the input."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from tqdm import tqdm

from apo.chunks.resumable import Chunks, values_of
from apo.core.errors import UserError
from apo.core.records import Row, read_rows
from apo.model import runtime
from apo.model.batching import micro_batches
from apo.model.encoding import ResponseSet
from apo.model.reward_model import RewardModel

WINDOW = 2048  # items that are sorted by length together; memory is bounded by it


def rewards_of(
    model: RewardModel,
    items: Iterable[ResponseSet],
    *,
    desc: str,
    total: int | None = None,
    chunks: Chunks | None = None,
) -> Iterator[list[float]]:
    """One list of rewards an item, in float32 written out in full.

    Args:
        model: In evaluation mode.
        items: Encoded items, read as a stream.
        desc: Name on the progress line, "" for none.
        total: How many items there are, for the time left.
        chunks: What is in them already is not computed again.

    Raises:
        UserError: A reward is not a finite number.
    """
    stream = iter(items)
    done = 0  # the progress line counts only where it is shown
    with tqdm(total=total, desc=desc, unit="query", disable=None if desc else True) as progress:
        while window := list(islice(stream, WINDOW)):
            rewards: list[list[float]] = [[] for _ in window]
            lengths = [model.tokens(item) for item in window]
            budget = runtime.token_budget()
            groups = list(micro_batches(lengths, budget="APO_TOKEN_BUDGET", tokens=budget))

            def reward(
                number: int, groups: list[list[int]] = groups, window: list[ResponseSet] = window
            ) -> list[list[float]]:
                return _rewards(model, [window[i] for i in groups[number]], desc)

            values = values_of([[desc, done, *indices] for indices in groups], reward, chunks)
            for indices, found in zip(groups, values, strict=True):
                for index, row in zip(indices, found, strict=True):
                    rewards[index] = row
                progress.update(len(indices))
            done += len(window)
            yield from rewards


@torch.inference_mode()
def _rewards(model: RewardModel, items: Sequence[ResponseSet], desc: str) -> list[list[float]]:
    """The rewards of one micro-batch."""
    with runtime.explain_oom("APO_TOKEN_BUDGET", runtime.token_budget()):
        found = model.rewards(items).float()
    if not torch.isfinite(found).all():
        raise UserError(
            desc or "rewards",
            found="a reward that is NaN or infinite",
            expected="finite rewards",
            do="the reward model diverged: lower `rm.lr` and train it again",
        )
    return [row[: len(item.responses)] for item, row in zip(items, found.tolist(), strict=True)]


def score_samples(
    model: RewardModel,
    samples: Path,
    *,
    extra_answers: bool,
    desc: str,
    counts: Counter[str],
    chunks: Chunks | None = None,
) -> Iterator[Row]:
    """Rows `{query_id, scores}` in the order of the samples, `extra` by name for other answers.

    Args:
        samples: Records `{query_id, query, samples, extra?}`; a blank sample is rated as saying nothing.
        extra_answers: Whether answers under `extra` get a reward.
        counts: Filled while the rows are drawn: `responses` and the encoder's (`items` are queries).
    """

    def texts() -> Iterator[tuple[str, list[str]]]:
        for row in read_rows(samples):
            yield row["query"], [*row["samples"], *extras(row).values()]

    def extras(row: Row) -> dict[str, str]:
        return dict(sorted(row.get("extra", {}).items())) if extra_answers else {}

    total = sum(1 for _ in read_rows(samples))
    items = model.encoder.items(texts(), counts, where=str(samples), allow_blank=True)
    rewards = rewards_of(model, items, desc=desc, total=total, chunks=chunks)
    for row, found in zip(read_rows(samples), rewards, strict=True):
        count = len(row["samples"])
        counts["responses"] += len(found)
        named = dict(zip(extras(row), found[count:], strict=True))
        yield {"query_id": row["query_id"], "scores": found[:count], **({"extra": named} if named else {})}


def score_answers(
    model: RewardModel,
    rows: Sequence[Row],
    *,
    desc: str,
    key: str,
    counts: Counter[str],
    chunks: Chunks | None = None,
) -> list[Row]:
    """Answers `{query, samples}` with the reward of each under `key`.

    Args:
        counts: Updated in place with what the encoder counts: `queries_cut` and `responses_cut` among it.
    """
    texts = ((row["query"], row["samples"]) for row in rows)
    items = model.encoder.items(texts, counts, where=desc, allow_blank=True)
    rewards = rewards_of(model, items, desc=desc, total=len(rows), chunks=chunks)
    return [{**row, key: found} for row, found in zip(rows, rewards, strict=True)]
