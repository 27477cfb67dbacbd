"""Items to tensors: one tree per query, in micro-batches of a token budget.

A tree is the query followed by all its responses. Position ids restart behind the query and the
attention mask lets a response see the query and itself, so that every reward and every gradient is
the one that separate sequences would give, while the query is computed once.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from apo.model.encoding import ResponseSet


@dataclass(frozen=True)
class Batch:
    """Trees padded to the longest one.

    Attributes:
        input_ids: Token ids.
        position_ids: Positions as in the separate sequences.
        segments: What a token belongs to: 0 the query, k the k-th response, -1 padding.
        mask: Which responses are there.
    """

    input_ids: Int[Tensor, "item tok"]
    position_ids: Int[Tensor, "item tok"]
    segments: Int[Tensor, "item tok"]
    mask: Bool[Tensor, "item resp"]

    @cached_property
    def attention(self) -> Bool[Tensor, "item 1 tok tok"]:
        """Which token (row) sees which (column); nothing sees padding but padding."""
        keys, queries = self.segments[:, None, :], self.segments[:, :, None]
        causal = torch.ones(keys.shape[-1], keys.shape[-1], dtype=torch.bool, device=keys.device).tril()
        return (causal & ((keys == queries) | (keys == 0)))[:, None]

    @cached_property
    def response_mask(self) -> Bool[Tensor, "item resp tok"]:
        """Which tokens make up the sequence of each response."""
        keys = self.segments[:, None, :]
        numbers = torch.arange(1, self.mask.shape[1] + 1, device=keys.device)[None, :, None]
        return ((keys == numbers) | (keys == 0)) & self.mask[:, :, None]

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return Batch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def packed_length(item: ResponseSet) -> int:
    """Tokens of the query and of all its responses."""
    return len(item.prefix) + sum(map(len, item.responses))


def unpacked(item: ResponseSet) -> list[ResponseSet]:
    """The layout without sharing: one item for each response."""
    return [ResponseSet(item.prefix, [response]) for response in item.responses]


def collate(items: Sequence[ResponseSet], *, pad_id: int) -> Batch:
    """Pads trees on the right."""
    length = max(map(packed_length, items))
    widest = max(len(item.responses) for item in items)
    input_ids = torch.full((len(items), length), pad_id, dtype=torch.long)
    position_ids = torch.zeros((len(items), length), dtype=torch.long)
    segments = torch.full((len(items), length), -1, dtype=torch.long)
    mask = torch.zeros((len(items), widest), dtype=torch.bool)
    for row, item in enumerate(items):
        ids = list(item.prefix)
        positions = list(range(len(item.prefix)))
        numbers = [0] * len(item.prefix)
        for number, response in enumerate(item.responses, start=1):
            ids += response
            positions += range(len(item.prefix), len(item.prefix) + len(response))
            numbers += [number] * len(response)
        input_ids[row, : len(ids)] = torch.tensor(ids)
        position_ids[row, : len(ids)] = torch.tensor(positions)
        segments[row, : len(ids)] = torch.tensor(numbers)
        mask[row, : len(item.responses)] = True
    return Batch(input_ids, position_ids, segments, mask)


def pad_responses(
    rows: Sequence[Sequence[float]], fill: float, dtype: torch.dtype
) -> Shaped[Tensor, "item resp"]:
    """Numbers of the responses of each item, with `fill` where an item has no more responses."""
    return pad_sequence([torch.tensor(row, dtype=dtype) for row in rows], True, fill)


def micro_batches(lengths: Sequence[int], *, budget: str, tokens: int) -> Iterator[list[int]]:
    """Indices in groups of similar length whose padded size stays within the budget.

    One that is longer than the budget makes a group of its own, and a line on the terminal says so.

    Args:
        budget: The variable of the environment that holds the budget.
        tokens: Its value.
    """
    if lengths and max(lengths) > tokens:
        _say_larger(budget, tokens, max(lengths))
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if group and (len(group) + 1) * lengths[group[0]] > tokens:
            yield group
            group = []
        group.append(index)
    if group:
        yield group


_told: set[str] = set()


def _say_larger(budget: str, tokens: int, longest: int) -> None:
    """One line a process."""
    if budget not in _told:
        _told.add(budget)
        print(
            f"{budget} is {tokens} tokens and an item has {longest}: such an item is a micro-batch alone",
            file=sys.stderr,
        )


IGNORED = -100  # a label that costs nothing


def collate_texts(items: Sequence[ResponseSet], *, pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, attention mask and labels (the response's tokens alone), padded on the right."""
    length = max(item.longest for item in items)
    ids = torch.full((len(items), length), pad_id)
    labels = torch.full((len(items), length), IGNORED)
    attention = torch.zeros((len(items), length), dtype=torch.bool)
    for row, item in enumerate(items):
        sequence = torch.tensor(item.prefix + item.responses[0])
        ids[row, : len(sequence)] = sequence
        attention[row, : len(sequence)] = True
        labels[row, len(item.prefix) : len(sequence)] = sequence[len(item.prefix) :]
    return ids, attention, labels
