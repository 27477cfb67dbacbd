"""The forward pass of `apo.model.last_token` on a CPU: packed sequences are concatenated without padding.

The layers process real tokens only. `TreeAttention` computes attention only between the segments of a packed
sequence that attend to each other, not for all pairs of tokens under a mask.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from apo.model.batching import Batch
from apo.model.pooling import last_position


def can_unpad(decoder: Any, batch: Batch) -> bool:
    """Whether this path supports a batch: on a CPU, in float32, without attention dropout."""
    dropout = decoder.training and decoder.config.attention_dropout > 0
    return batch.input_ids.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and not dropout


class Tree(NamedTuple):
    """The boundaries of one packed sequence in the concatenated tokens of a batch.

    Attributes:
        start: Start of the query.
        query_end: End of the query.
        ends: End of every response that has tokens. The first response starts at the end of the query.
    """

    start: int
    query_end: int
    ends: list[int]

    @property
    def first_response_end(self) -> int:
        """The end of the first response; query and first response are one causal sequence."""
        return self.ends[0] if self.ends else self.query_end


def trees_of(batch: Batch) -> list[Tree]:
    """The boundaries of every packed sequence of a batch, without padding."""
    trees, start = [], 0
    for row in batch.segments:
        query_length, *lengths = torch.bincount(row + 1, minlength=2).tolist()[1:]
        ends = [start + query_length]
        for length in filter(None, lengths):
            ends.append(ends[-1] + length)
        trees.append(Tree(start, ends[0], ends[1:]))
        start = ends[-1]
    return trees


def last_hidden_unpadded(decoder: Any, batch: Batch) -> Float[Tensor, "item resp hidden"]:
    """Hidden states of the last token of each response; 0 for padding responses."""
    is_token = batch.segments >= 0
    trees, positions = trees_of(batch), batch.position_ids[is_token]
    hidden = decoder.embed_tokens(batch.input_ids[is_token])
    cos, sin = (rotary[0, :, None] for rotary in decoder.rotary_emb(hidden, position_ids=positions[None]))
    for layer in decoder.layers[:-1]:
        compute = partial(_layer, layer)
        if layer.gradient_checkpointing and layer.training:
            compute = partial(layer._gradient_checkpointing_func, compute)
        hidden = compute(hidden, cos, sin, trees)
    response_mask = batch.response_mask[batch.mask]  # one row per real response
    item_indices = torch.repeat_interleave(batch.mask.sum(1))
    visible = torch.zeros(len(item_indices), len(is_token), is_token.shape[1], dtype=torch.bool)
    visible[torch.arange(len(item_indices)), item_indices] = response_mask
    normed = decoder.norm(_last_layer(decoder.layers[-1], hidden, cos, sin, visible[:, is_token]))
    states: Tensor = normed.new_zeros(*batch.mask.shape, normed.shape[-1])
    return states.index_put((batch.mask,), normed)


def _layer(
    layer: Any,
    hidden: Float[Tensor, "tok hidden"],
    cos: Float[Tensor, "tok 1 size"],
    sin: Float[Tensor, "tok 1 size"],
    trees: Sequence[Tree],
) -> Float[Tensor, "tok hidden"]:
    """The output of a layer at all tokens."""
    attention = layer.self_attn
    normed = layer.input_layernorm(hidden)
    queries, keys, values = (
        project(normed).unflatten(-1, (-1, attention.head_dim))
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    queries, keys = Rotation.apply(queries, cos, sin), Rotation.apply(keys, cos, sin)
    if attention.num_key_value_groups > 1:
        keys, values = (
            states.repeat_interleave(attention.num_key_value_groups, 1) for states in (keys, values)
        )
    attended = TreeAttention.apply(queries, keys, values, trees, attention.scaling)
    hidden = hidden + attention.o_proj(attended.flatten(1))
    output: Tensor = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return output


def _last_layer(
    layer: Any,
    hidden: Float[Tensor, "tok hidden"],
    cos: Float[Tensor, "tok 1 size"],
    sin: Float[Tensor, "tok 1 size"],
    visible: Bool[Tensor, "resp tok"],
) -> Float[Tensor, "resp hidden"]:
    """The output of the last layer at the last token of each response.

    Args:
        visible: True for the tokens (columns) in the sequence of a response (row).
    """
    attention = layer.self_attn
    last = last_position(visible[None])[0]
    normed = layer.input_layernorm(hidden)
    queries = attention.q_proj(normed[last]).unflatten(-1, (-1, attention.head_dim))
    keys = attention.k_proj(normed).unflatten(-1, (-1, attention.head_dim))
    values = attention.v_proj(normed).unflatten(-1, (-1, attention.head_dim))
    queries, keys = Rotation.apply(queries, cos[last], sin[last]), Rotation.apply(keys, cos, sin)
    attended = scaled_dot_product_attention(
        _heads_first(queries),
        _heads_first(keys),
        _heads_first(values),
        attn_mask=visible,
        scale=attention.scaling,
        enable_gqa=attention.num_key_value_groups > 1,
    )
    hidden = hidden[last] + attention.o_proj(attended[0].transpose(0, 1).flatten(1))
    output: Tensor = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return output


class Rotation(torch.autograd.Function):
    """Rotary position embedding; pairs the first half of a head's dimensions with the second."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Rotates states [tok head size]; cos and sin are [tok 1 size], equal in both halves."""
        ctx.save_for_backward(cos, sin)
        return _rotate(states, cos, sin, inverse=False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Rotates the gradient by the negative angle."""
        return _rotate(gradient, *ctx.saved_tensors, inverse=True), None, None


def _rotate(states: Tensor, cos: Tensor, sin: Tensor, *, inverse: bool) -> Tensor:
    rotated, half, sign = torch.empty_like(states), states.shape[-1] // 2, -1 if inverse else 1
    first, second = states.split(half, -1)
    cos, sin = cos[..., :half], sin[..., :half]
    torch.mul(first, cos, out=rotated[..., :half]).addcmul_(second, sin, value=-sign)
    torch.mul(second, cos, out=rotated[..., half:]).addcmul_(first, sin, value=sign)
    return rotated


_FORWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward

Span = tuple[int, int]  # start and length, as in Tensor.narrow


class TreeAttention(torch.autograd.Function):
    """Attention in packed sequences by torch's flash-attention kernel for CPUs.

    Query and first response are one causal sequence. Each other response is a causal sequence too, and in a
    second call all of them attend to the query. Their log-sum-exp merges the two results. The backward pass
    of each call needs the merged output and log-sum-exp.
    """

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, trees: Sequence[Tree], scale: float
    ) -> Tensor:
        """Computes attention of queries, keys and values [tok head size]."""
        output, log_sums = torch.empty_like(queries), queries.new_empty(1, *queries.shape[1::-1])
        views, output_view = (
            [_heads_first(states) for states in (queries, keys, values)],
            _heads_first(output),
        )

        def attend(rows: Span, columns: Span, *, causal: bool) -> tuple[Tensor, Tensor]:
            tensors = (*_narrow(views[:1], rows), *_narrow(views[1:], columns))
            attended, log_sum = _FORWARD(*tensors, 0.0, causal, scale=scale)
            return attended, log_sum

        for tree in trees:
            for segment in _causal_segments(tree):
                attended, log_sum = attend(segment, segment, causal=True)
                output_view.narrow(2, *segment).copy_(attended)
                log_sums.narrow(2, *segment).copy_(log_sum)
            if spans := _query_attention(tree):
                attended, log_sum = attend(*spans, causal=False)
                total = log_sums.narrow(2, *spans[0])
                output_view.narrow(2, *spans[0]).lerp_(attended, torch.sigmoid(log_sum - total)[..., None])
                total.copy_(torch.logaddexp(log_sum, total))
        ctx.save_for_backward(queries, keys, values, output, log_sums)
        ctx.trees, ctx.scale = trees, scale
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Sets the gradients of the causal segments, then adds those of the attention to the query."""
        queries, keys, values, output, log_sums = ctx.saved_tensors
        gradients = (torch.empty_like(queries), torch.empty_like(keys), torch.empty_like(values))
        totals = [_heads_first(tensor) for tensor in gradients]
        row_inputs = [_heads_first(tensor) for tensor in (gradient, queries)]
        column_inputs = [_heads_first(tensor) for tensor in (keys, values)]
        row_outputs = [_heads_first(output), log_sums]

        def attend_backward(rows: Span, columns: Span, *, causal: bool) -> tuple[Tensor, Tensor, Tensor]:
            parts = (
                *_narrow(row_inputs, rows),
                *_narrow(column_inputs, columns),
                *_narrow(row_outputs, rows),
            )
            results: tuple[Tensor, Tensor, Tensor] = _BACKWARD(*parts, 0.0, causal, scale=ctx.scale)
            return results

        for tree in ctx.trees:
            for segment in _causal_segments(tree):
                parts = attend_backward(segment, segment, causal=True)
                for total, tensor in zip(_narrow(totals, segment), parts, strict=True):
                    total.copy_(tensor)
            if spans := _query_attention(tree):
                responses, query = spans
                parts = attend_backward(responses, query, causal=False)
                targets = (*_narrow(totals[:1], responses), *_narrow(totals[1:], query))
                for total, tensor in zip(targets, parts, strict=True):
                    total.add_(tensor)
        return (*gradients, None, None)


def _causal_segments(tree: Tree) -> list[Span]:
    """The non-empty segments with causal attention: query with first response, and every other response."""
    starts, ends = [tree.start, *tree.ends], [tree.first_response_end, *tree.ends[1:]]
    return [(start, end - start) for start, end in zip(starts, ends, strict=False) if start < end]


def _query_attention(tree: Tree) -> tuple[Span, Span] | None:
    """The responses after the first and the query that they attend to; None if either is empty."""
    if len(tree.ends) < 2 or tree.query_end == tree.start:
        return None
    start = tree.first_response_end
    return (start, tree.ends[-1] - start), (tree.start, tree.query_end - tree.start)


def _heads_first(states: Float[Tensor, "tok head size"]) -> Float[Tensor, "1 head tok size"]:
    return states.transpose(0, 1)[None]


def _narrow(states: Sequence[Tensor], span: Span) -> list[Tensor]:
    return [tensor.narrow(2, *span) for tensor in states]
