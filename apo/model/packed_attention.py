"""Attention in packed sequences on a CPU: between the segments that attend to each other, and no others.

The tokens of a batch are concatenated without padding. Segments of similar length share a call of torch's
flash-attention kernel: a call costs as much as the attention of a short segment.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from apo.model.batching import Batch

T = TypeVar("T")


class PackedSequence(NamedTuple):
    """The boundaries of one packed sequence in the concatenated tokens of a batch.

    Attributes:
        start, query_end: Start and end of the query.
        ends: End of every response that has tokens. The first response starts at the end of the query.
    """

    start: int
    query_end: int
    ends: list[int]

    @property
    def first_response_end(self) -> int:
        """The end of the first response; query and first response are one causal sequence."""
        return self.ends[0] if self.ends else self.query_end


def sequence_bounds(batch: Batch) -> list[PackedSequence]:
    """The boundaries of every packed sequence of a batch, without padding."""
    sequences, start = [], 0
    for row in batch.segments:
        query_length, *lengths = torch.bincount(row + 1, minlength=2).tolist()[1:]
        ends = [start + query_length]
        for length in filter(None, lengths):
            ends.append(ends[-1] + length)
        sequences.append(PackedSequence(start, ends[0], ends[1:]))
        start = ends[-1]
    return sequences


_FORWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward

Span = tuple[int, int]  # start and length in the concatenated tokens


@dataclass(frozen=True, eq=False)
class Segments:
    """Segments of similar length, padded to the longest one, so that one kernel call computes them all.

    Attributes:
        index: Concatenated tokens of each segment; 0 at padding.
        real: False at padding.
    """

    index: Int[Tensor, "seg place"]
    real: Bool[Tensor, "seg place"]

    @classmethod
    def of(cls, spans: Sequence[Span]) -> "Segments":
        """The padded segments of some spans."""
        starts, lengths = torch.tensor(spans).unbind(1)
        offsets = torch.arange(int(lengths.max()))
        real = offsets < lengths[:, None]
        return cls((starts[:, None] + offsets).where(real, 0), real)

    def pad(self, states: Float[Tensor, "tok head *size"]) -> Float[Tensor, "seg head place *size"]:
        """States of the tokens of each segment."""
        flat: Tensor = states.index_select(0, self.index.flatten())
        return flat.view(*self.index.shape, *states.shape[1:]).transpose(1, 2)

    def unpad(self, states: Float[Tensor, "seg head place *size"]) -> Float[Tensor, "real head *size"]:
        """States of the real tokens, in the order of `tokens`."""
        flat: Tensor = states.transpose(1, 2).flatten(0, 1)
        return flat.index_select(0, self._places)

    @cached_property
    def tokens(self) -> Int[Tensor, "real"]:
        """Concatenated tokens of the segments."""
        return self.index[self.real]

    @cached_property
    def _places(self) -> Int[Tensor, "real"]:
        return self.real.flatten().nonzero()[:, 0]

    @cached_property
    def bias(self) -> Float[Tensor, "seg 1 1 place"]:
        """What is added to attention scores: -inf at padding."""
        return torch.zeros(self.real.shape).masked_fill_(~self.real, -torch.inf)[:, None, None]


class Call(NamedTuple):
    """One call of the attention kernel: rows attend to columns, causally or to all of them."""

    rows: Segments
    columns: Segments
    causal: bool

    def mask(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """The kernel's mask of padded columns; a causal call needs none, because padding comes last."""
        return {} if self.causal else {"attn_mask": self.columns.bias.to(dtype)}


def attention_calls(sequences: Sequence[PackedSequence]) -> list[Call]:
    """The kernel calls of a batch; the causal ones, which together have every token once, come first."""
    causal = [span for sequence in sequences for span in _causal_segments(sequence)]
    to_query = [spans for sequence in sequences if (spans := _query_attention(sequence))]
    calls = []
    for group in _similar(causal, [length for _, length in causal]):
        segments = Segments.of(group)
        calls.append(Call(segments, segments, causal=True))
    for pairs in _similar(to_query, [rows[1] * columns[1] for rows, columns in to_query]):
        rows, columns = zip(*pairs, strict=True)
        calls.append(Call(Segments.of(rows), Segments.of(columns), causal=False))
    return calls


def _similar(spans: Sequence[T], sizes: Sequence[int]) -> Iterator[list[T]]:
    """Groups in which no size is less than half of the largest one."""
    group: list[int] = []
    for index in sorted(range(len(spans)), key=lambda i: -sizes[i]):
        if group and 2 * sizes[index] < sizes[group[0]]:
            yield [spans[i] for i in group]
            group = []
        group.append(index)
    if group:
        yield [spans[i] for i in group]


class PackedAttention(torch.autograd.Function):
    """Attention in packed sequences by torch's flash-attention kernel for CPUs.

    Query and first response are one causal sequence. Each other response is a causal sequence too, and in a
    second call all of them attend to the query. Their log-sum-exp merges the two results. The backward pass
    of each call needs the merged output and log-sum-exp.
    """

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, calls: Sequence[Call], scale: float
    ) -> Tensor:
        """Computes attention of queries, keys and values [tok head size]."""
        output, log_sums = torch.empty_like(queries), queries.new_empty(queries.shape[:2])
        for call in calls:
            parts = call.rows.pad(queries), call.columns.pad(keys), call.columns.pad(values)
            attended, log_sum = _FORWARD(*parts, 0.0, call.causal, scale=scale, **call.mask(queries.dtype))
            tokens = call.rows.tokens
            attended, log_sum = call.rows.unpad(attended), call.rows.unpad(log_sum)
            if not call.causal:
                own, own_sum = output[tokens], log_sums[tokens]
                attended = own.lerp_(attended, torch.sigmoid(log_sum - own_sum)[..., None])
                log_sum = torch.logaddexp(log_sum, own_sum)
            output.index_copy_(0, tokens, attended)
            log_sums.index_copy_(0, tokens, log_sum)
        ctx.save_for_backward(queries, keys, values, output, log_sums)
        ctx.calls, ctx.scale = calls, scale
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Adds the gradients of all calls. A row of padding has no weights: its log-sum-exp is infinite."""
        queries, keys, values, output, log_sums = ctx.saved_tensors
        gradients = [torch.zeros_like(part) for part in (queries, keys, values)]
        for call in ctx.calls:
            rows, columns = call.rows, call.columns
            padding = ~rows.real[:, None]
            parts = _BACKWARD(
                rows.pad(gradient).masked_fill(padding[..., None], 0.0),
                rows.pad(queries),
                columns.pad(keys),
                columns.pad(values),
                rows.pad(output),
                rows.pad(log_sums).masked_fill(padding, torch.inf),
                0.0,
                call.causal,
                scale=ctx.scale,
                **call.mask(queries.dtype),
            )
            for total, part, segments in zip(gradients, parts, (rows, columns, columns), strict=True):
                total.index_add_(0, segments.tokens, segments.unpad(part))
        return gradients[0], gradients[1], gradients[2], None, None


def _causal_segments(sequence: PackedSequence) -> list[Span]:
    """The non-empty segments with causal attention: query with first response, and every other response."""
    starts, ends = [sequence.start, *sequence.ends], [sequence.first_response_end, *sequence.ends[1:]]
    return [(start, end - start) for start, end in zip(starts, ends, strict=False) if start < end]


def _query_attention(sequence: PackedSequence) -> tuple[Span, Span] | None:
    """The responses after the first and the query that they attend to; None if either is empty."""
    if len(sequence.ends) < 2 or sequence.query_end == sequence.start:
        return None
    start = sequence.first_response_end
    return (start, sequence.ends[-1] - start), (sequence.start, sequence.query_end - sequence.start)
