"""Rewards of tokenized responses, in the order of the input."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
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
from apo.scoring.vllm_rewards import VLLMRewardModel

WINDOW = 2048  # items that are in memory at once and sorted by length


def rewards_of(
    model: RewardModel,
    items: Iterable[ResponseSet],
    *,
    desc: str,
    total: int | None = None,
    chunks: Chunks | None = None,
) -> Iterator[list[float]]:
    """Yields the rewards of each item, float32 values as Python floats.

    Args:
        model: The reward model in evaluation mode.
        items: Encoded items, read as a stream.
        desc: Name on the progress line; "" for none.
        total: Number of items, for the estimated time left.
        chunks: The resumable output, whose rewards are not computed again.

    Raises:
        UserError: A reward is not a finite number.
    """
    item_stream = iter(items)
    offset = 0  # of the window; `progress.n` does not count if the progress line is off
    with tqdm(total=total, desc=desc, unit="query", disable=None if desc else True) as progress:
        while window := list(islice(item_stream, WINDOW)):
            rewards: list[list[float]] = [[] for _ in window]
            lengths = [model.tokens(item) for item in window]
            budget = runtime.token_budget()
            groups = list(micro_batches(lengths, budget="APO_TOKEN_BUDGET", tokens=budget))

            def compute(
                number: int, groups: list[list[int]] = groups, window: list[ResponseSet] = window
            ) -> list[list[float]]:
                return _batch_rewards(model, [window[i] for i in groups[number]], desc)

            values = values_of([[desc, offset, *indices] for indices in groups], compute, chunks)
            for indices, rows in zip(groups, values, strict=True):
                for index, row in zip(indices, rows, strict=True):
                    rewards[index] = row
                progress.update(len(indices))
            offset += len(window)
            yield from rewards


@torch.inference_mode()
def _batch_rewards(model: RewardModel, items: Sequence[ResponseSet], desc: str) -> list[list[float]]:
    """The rewards of one micro-batch."""
    with runtime.explain_oom("APO_TOKEN_BUDGET", runtime.token_budget()):
        rewards = model.rewards(items).float()
    if not torch.isfinite(rewards).all():
        raise UserError(
            desc or "rewards",
            found="a reward that is NaN or infinite",
            expected="finite rewards",
            do="the reward model diverged: lower `rm.lr` and train it again",
        )
    return [row[: len(item.responses)] for item, row in zip(items, rewards.tolist(), strict=True)]


def score_samples(
    model: RewardModel | VLLMRewardModel,
    samples: Path,
    *,
    extra_answers: bool,
    desc: str,
    counts: Counter[str],
    chunks: Chunks | None = None,
) -> Iterator[Row]:
    """Yields rows `{query_id, scores}` in the order of the samples, with `extra`, rewards by name.

    Args:
        model, desc, chunks: See `rewards_of`.
        samples: Records `{query_id, query, samples, extra?}`; a blank sample has no tokens.
        extra_answers: Whether answers under `extra` get a reward. They are an item of their own, so that
            a long one does not shorten the query with which the samples are rated.
        counts: Updated in place: `responses`, and the counts of the encoder.
    """

    def texts() -> Iterator[tuple[str, list[str]]]:
        for row in read_rows(samples):
            yield row["query"], row["samples"]
            if extra := extra_answers_of(row):
                yield row["query"], list(extra.values())

    def extra_answers_of(row: Row) -> dict[str, str]:
        return dict(sorted(row.get("extra", {}).items())) if extra_answers else {}

    total = sum(1 + bool(extra_answers_of(row)) for row in read_rows(samples))
    items = model.encoder.items(texts(), counts, where=str(samples), allow_blank=True)
    compute = model.rewards_of if isinstance(model, VLLMRewardModel) else partial(rewards_of, model)
    rewards = iter(compute(items, desc=desc, total=total, chunks=chunks))
    for row in read_rows(samples):
        scores, extra = next(rewards), extra_answers_of(row)
        extra_rewards = dict(zip(extra, next(rewards) if extra else [], strict=True))
        counts["responses"] += len(scores) + len(extra_rewards)
        yield {
            "query_id": row["query_id"],
            "scores": scores,
            **({"extra": extra_rewards} if extra_rewards else {}),
        }


def score_answers(
    model: RewardModel,
    rows: Sequence[Row],
    *,
    desc: str,
    key: str,
    counts: Counter[str],
    chunks: Chunks | None = None,
) -> list[Row]:
    """Adds the rewards of the samples under `key` to rows `{query, samples}`.

    Args:
        model, desc, chunks: See `rewards_of`.
        key: The key of the rewards in the returned rows.
        counts: Updated in place: the counts of the encoder, such as `queries_cut` and `responses_cut`.
    """
    texts = ((row["query"], row["samples"]) for row in rows)
    items = model.encoder.items(texts, counts, where=desc, allow_blank=True)
    rewards = rewards_of(model, items, desc=desc, total=len(rows), chunks=chunks)
    return [{**row, key: row_rewards} for row, row_rewards in zip(rows, rewards, strict=True)]
