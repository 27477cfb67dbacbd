"""Collation of response sets into tensors, with shared-prefix packing, and micro-batches of a token budget.

A packed sequence is the query followed by all its responses. The position ids of each response continue
those of the query. The attention mask lets a response attend to the query and to itself. So every reward and
every gradient equals that of separate sequences, and the query is computed once.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from apo.model.encoding import ResponseSet


@dataclass(frozen=True)
class Batch:
    """Packed sequences, padded to the longest one.

    Attributes:
        position_ids: The same as in separate sequences.
        segments: Segment of each token: 0 for the query, k for the k-th response, -1 for padding.
        mask: True for real responses, False for padding.
    """

    input_ids: Int[Tensor, "item tok"]
    position_ids: Int[Tensor, "item tok"]
    segments: Int[Tensor, "item tok"]
    mask: Bool[Tensor, "item resp"]

    @cached_property
    def attention(self) -> Bool[Tensor, "item 1 tok tok"]:
        """True where a token (row) attends to another (column). Only padding attends to padding."""
        keys, queries = self.segments[:, None, :], self.segments[:, :, None]
        causal = torch.ones(keys.shape[-1], keys.shape[-1], dtype=torch.bool, device=keys.device).tril()
        return (causal & ((keys == queries) | (keys == 0)))[:, None]

    @cached_property
    def response_mask(self) -> Bool[Tensor, "item resp tok"]:
        """True for the tokens of each response's sequence: those of the query and of the response."""
        keys = self.segments[:, None, :]
        responses = torch.arange(1, self.mask.shape[1] + 1, device=keys.device)[None, :, None]
        return ((keys == responses) | (keys == 0)) & self.mask[:, :, None]

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return Batch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def packed_length(item: ResponseSet) -> int:
    """Number of tokens of the query and all its responses."""
    return len(item.prefix) + sum(map(len, item.responses))


def unpacked(item: ResponseSet) -> list[ResponseSet]:
    """The layout without a shared prefix: one item per response."""
    return [ResponseSet(item.prefix, [response]) for response in item.responses]


def input_tokens(item: ResponseSet, *, packed: bool) -> int:
    """Tokens of an item in a token budget, as one packed sequence or as padded separate sequences."""
    return packed_length(item) if packed else len(item.responses) * item.longest


def input_sequences(items: Sequence[ResponseSet], *, packed: bool) -> Sequence[ResponseSet]:
    """What a model reads: the packed items, or one separate sequence per response."""
    return items if packed else [sequence for item in items for sequence in unpacked(item)]


def pad_by_item(values: Float[Tensor, "total"], items: Sequence[ResponseSet]) -> Float[Tensor, "item resp"]:
    """Values of the responses of all items, in order, as a row per item, padded with 0."""
    return pad_sequence(values.split([len(item.responses) for item in items]), batch_first=True)


def collate(items: Sequence[ResponseSet], *, pad_id: int) -> Batch:
    """Packs each item into one sequence and pads the sequences on the right."""
    length = max(map(packed_length, items))
    max_responses = max(len(item.responses) for item in items)
    input_ids = torch.full((len(items), length), pad_id, dtype=torch.long)
    position_ids = torch.zeros((len(items), length), dtype=torch.long)
    segments = torch.full((len(items), length), -1, dtype=torch.long)
    mask = torch.zeros((len(items), max_responses), dtype=torch.bool)
    for row, item in enumerate(items):
        ids = list(item.prefix)
        positions = list(range(len(item.prefix)))
        item_segments = [0] * len(item.prefix)
        for number, response in enumerate(item.responses, start=1):
            ids += response
            positions += range(len(item.prefix), len(item.prefix) + len(response))
            item_segments += [number] * len(response)
        input_ids[row, : len(ids)] = torch.tensor(ids)
        position_ids[row, : len(ids)] = torch.tensor(positions)
        segments[row, : len(ids)] = torch.tensor(item_segments)
        mask[row, : len(item.responses)] = True
    return Batch(input_ids, position_ids, segments, mask)


def pad_responses(
    rows: Sequence[Sequence[float]], fill: float, dtype: torch.dtype
) -> Shaped[Tensor, "item resp"]:
    """Values per response as a tensor, padded with `fill` to the largest number of responses."""
    return pad_sequence([torch.tensor(row, dtype=dtype) for row in rows], True, fill)


def micro_batches(lengths: Sequence[int], *, budget: str, tokens: int) -> Iterator[list[int]]:
    """Yields the indices of each micro-batch: similar lengths, with a padded size within the budget.

    An item longer than the budget becomes a micro-batch of its own, with a warning on stderr.

    Args:
        lengths: Tokens of each item.
        budget: Name of the environment variable that holds the budget.
        tokens: Value of the budget.
    """
    if lengths and max(lengths) > tokens:
        _warn_oversized(budget, tokens, max(lengths))
    indices: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if indices and (len(indices) + 1) * lengths[indices[0]] > tokens:
            yield indices
            indices = []
        indices.append(index)
    if indices:
        yield indices


_warned: set[str] = set()


def _warn_oversized(budget: str, tokens: int, longest: int) -> None:
    """Warns once per process and budget."""
    if budget not in _warned:
        _warned.add(budget)
        print(
            f"{budget} is {tokens} tokens and an item has {longest}: such an item is a micro-batch alone",
            file=sys.stderr,
        )


IGNORED = -100  # a label that the loss ignores


def collate_texts(items: Sequence[ResponseSet], *, pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, attention mask and labels, padded on the right. Only tokens of the response have labels."""
    length = max(item.longest for item in items)
    ids = torch.full((len(items), length), pad_id)
    labels = torch.full((len(items), length), IGNORED)
    attention = torch.zeros((len(items), length), dtype=torch.bool)
    for row, item in enumerate(items):
        sequence = torch.tensor(item.sequence(0))
        ids[row, : len(sequence)] = sequence
        attention[row, : len(sequence)] = True
        labels[row, len(item.prefix) : len(sequence)] = sequence[len(item.prefix) :]
    return ids, attention, labels
