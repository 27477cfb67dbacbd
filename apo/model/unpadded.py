"""The forward pass of `apo.model.last_token` on a CPU: trees behind each other, no padding between them.

Layers see the tokens of the trees and no other. Attention is computed for the parts of a tree that see each
other (`TreeAttention`), not for all pairs of tokens under a mask.
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
    """Whether a batch is read so: on a CPU, in float32, no attention dropout."""
    dropout = decoder.training and decoder.config.attention_dropout > 0
    return batch.input_ids.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and not dropout


class Tree(NamedTuple):
    """Where one tree lies among the tokens of a batch.

    Attributes:
        start: Of the query.
        query: Its end.
        ends: Of every response that has tokens; the first one begins where the query ends.
    """

    start: int
    query: int
    ends: list[int]

    @property
    def trunk(self) -> int:
        """The end of query and first response, which are one causal sequence."""
        return self.ends[0] if self.ends else self.query


def trees_of(batch: Batch) -> list[Tree]:
    """The trees of a batch when padding is left out."""
    found, start = [], 0
    for row in batch.segments:
        query, *lengths = torch.bincount(row + 1, minlength=2).tolist()[1:]
        ends = [start + query]
        for length in filter(None, lengths):
            ends.append(ends[-1] + length)
        found.append(Tree(start, ends[0], ends[1:]))
        start = ends[-1]
    return found


def last_hidden_unpadded(decoder: Any, batch: Batch) -> Float[Tensor, "item resp hidden"]:
    """What `decoder` gives for the last token of each response; 0 where there is none."""
    real = batch.segments >= 0
    trees, positions = trees_of(batch), batch.position_ids[real]
    hidden = decoder.embed_tokens(batch.input_ids[real])
    cos, sin = (part[0, :, None] for part in decoder.rotary_emb(hidden, position_ids=positions[None]))
    for layer in decoder.layers[:-1]:
        compute = partial(_layer, layer)
        if layer.gradient_checkpointing and layer.training:
            compute = partial(layer._gradient_checkpointing_func, compute)
        hidden = compute(hidden, cos, sin, trees)
    response_mask = batch.response_mask[batch.mask]  # of every response, the tokens of its row
    rows = torch.repeat_interleave(batch.mask.sum(1))
    visible = torch.zeros(len(rows), len(real), real.shape[1], dtype=torch.bool)
    visible[torch.arange(len(rows)), rows] = response_mask
    normed = decoder.norm(_last_layer(decoder.layers[-1], hidden, cos, sin, visible[:, real]))
    found: Tensor = normed.new_zeros(*batch.mask.shape, normed.shape[-1])
    return found.index_put((batch.mask,), normed)


def _layer(
    layer: Any,
    hidden: Float[Tensor, "tok hidden"],
    cos: Float[Tensor, "tok 1 size"],
    sin: Float[Tensor, "tok 1 size"],
    trees: Sequence[Tree],
) -> Float[Tensor, "tok hidden"]:
    """The layer's output at all tokens."""
    attention = layer.self_attn
    normed = layer.input_layernorm(hidden)
    queries, keys, values = (
        project(normed).unflatten(-1, (-1, attention.head_dim))
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    queries, keys = Rotation.apply(queries, cos, sin), Rotation.apply(keys, cos, sin)
    if attention.num_key_value_groups > 1:
        keys, values = (part.repeat_interleave(attention.num_key_value_groups, 1) for part in (keys, values))
    seen = TreeAttention.apply(queries, keys, values, trees, attention.scaling)
    hidden = hidden + attention.o_proj(seen.flatten(1))
    output: Tensor = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return output


def _last_layer(
    layer: Any,
    hidden: Float[Tensor, "tok hidden"],
    cos: Float[Tensor, "tok 1 size"],
    sin: Float[Tensor, "tok 1 size"],
    visible: Bool[Tensor, "resp tok"],
) -> Float[Tensor, "resp hidden"]:
    """The layer's output at the last token that each response sees.

    Args:
        visible: Which tokens (columns) make up the sequence of a response (row).
    """
    attention = layer.self_attn
    last = last_position(visible[None])[0]
    normed = layer.input_layernorm(hidden)
    queries = attention.q_proj(normed[last]).unflatten(-1, (-1, attention.head_dim))
    keys = attention.k_proj(normed).unflatten(-1, (-1, attention.head_dim))
    values = attention.v_proj(normed).unflatten(-1, (-1, attention.head_dim))
    queries, keys = Rotation.apply(queries, cos[last], sin[last]), Rotation.apply(keys, cos, sin)
    seen = scaled_dot_product_attention(
        _heads_first(queries),
        _heads_first(keys),
        _heads_first(values),
        attn_mask=visible,
        scale=attention.scaling,
        enable_gqa=attention.num_key_value_groups > 1,
    )
    hidden = hidden[last] + attention.o_proj(seen[0].transpose(0, 1).flatten(1))
    output: Tensor = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return output


class Rotation(torch.autograd.Function):
    """Rotary positions, the second half of a head's dimensions paired with the first."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """States [tok head size], cosine and sine [tok 1 size], the same in both halves."""
        ctx.save_for_backward(cos, sin)
        return _turned(states, cos, sin, back=False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Turns back."""
        return _turned(gradient, *ctx.saved_tensors, back=True), None, None


def _turned(states: Tensor, cos: Tensor, sin: Tensor, *, back: bool) -> Tensor:
    turned, half, sign = torch.empty_like(states), states.shape[-1] // 2, -1 if back else 1
    first, second = states.split(half, -1)
    cos, sin = cos[..., :half], sin[..., :half]
    torch.mul(first, cos, out=turned[..., :half]).addcmul_(second, sin, value=-sign)
    torch.mul(second, cos, out=turned[..., half:]).addcmul_(first, sin, value=sign)
    return turned


_FORWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward

Span = tuple[int, int]  # first token, number of tokens


class TreeAttention(torch.autograd.Function):
    """Attention in trees, computed for what sees each other alone, by torch's kernel for CPUs.

    Query and first response are one causal sequence. Each other response sees itself and, all of them in one
    call, the query; the two parts meet by their log-sum-exp. The backward pass of a part needs output and
    log-sum-exp of the whole.
    """

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, trees: Sequence[Tree], scale: float
    ) -> Tensor:
        """Queries, keys and values are [tok head size]."""
        output, sums = torch.empty_like(queries), queries.new_empty(1, *queries.shape[1::-1])
        given, outward = [_heads_first(part) for part in (queries, keys, values)], _heads_first(output)

        def part(of: Span, to: Span, *, causal: bool) -> tuple[Tensor, Tensor]:
            seen, lse = _FORWARD(*_at(given[:1], of), *_at(given[1:], to), 0.0, causal, scale=scale)
            return seen, lse

        for tree in trees:
            for own in _causal(tree):
                seen, lse = part(own, own, causal=True)
                outward.narrow(2, *own).copy_(seen)
                sums.narrow(2, *own).copy_(lse)
            if others := _others(tree):
                seen, lse = part(*others, causal=False)
                total = sums.narrow(2, *others[0])
                outward.narrow(2, *others[0]).lerp_(seen, torch.sigmoid(lse - total)[..., None])
                total.copy_(torch.logaddexp(lse, total))
        ctx.save_for_backward(queries, keys, values, output, sums)
        ctx.trees, ctx.scale = trees, scale
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Every token has one causal part; what the query gets from the other responses is added."""
        queries, keys, values, output, sums = ctx.saved_tensors
        found = (torch.empty_like(queries), torch.empty_like(keys), torch.empty_like(values))
        totals = [_heads_first(one) for one in found]
        of_queries = [_heads_first(one) for one in (gradient, queries)]
        of_keys = [_heads_first(one) for one in (keys, values)]
        of_output = [_heads_first(output), sums]

        def part(of: Span, to: Span, *, causal: bool) -> tuple[Tensor, Tensor, Tensor]:
            parts = (*_at(of_queries, of), *_at(of_keys, to), *_at(of_output, of))
            gradients: tuple[Tensor, Tensor, Tensor] = _BACKWARD(*parts, 0.0, causal, scale=ctx.scale)
            return gradients

        for tree in ctx.trees:
            for own in _causal(tree):
                for total, one in zip(_at(totals, own), part(own, own, causal=True), strict=True):
                    total.copy_(one)
            if others := _others(tree):
                responses, query = others
                added = part(responses, query, causal=False)
                wanted = (*_at(totals[:1], responses), *_at(totals[1:], query))
                for total, one in zip(wanted, added, strict=True):
                    total.add_(one)
        return (*found, None, None)


def _causal(tree: Tree) -> list[Span]:
    """The sequences of a tree in which every token sees those before it; none is empty."""
    starts, ends = [tree.start, *tree.ends], [tree.trunk, *tree.ends[1:]]
    return [(a, b - a) for a, b in zip(starts, ends, strict=False) if a < b]


def _others(tree: Tree) -> tuple[Span, Span] | None:
    """All responses but the first, and the query, where there are both."""
    if len(tree.ends) < 2 or tree.query == tree.start:
        return None
    return (tree.trunk, tree.ends[-1] - tree.trunk), (tree.start, tree.query - tree.start)


def _heads_first(states: Float[Tensor, "tok head size"]) -> Float[Tensor, "1 head tok size"]:
    return states.transpose(0, 1)[None]


def _at(states: Sequence[Tensor], where: Span) -> list[Tensor]:
    return [one.narrow(2, *where) for one in states]
