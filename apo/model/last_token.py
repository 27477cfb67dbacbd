"""The forward pass of Llama's family when nothing but the last tokens of the responses is asked for.

A reward reads one token of each response. The last layer needs keys and values of all tokens for that, but
queries, attention output and MLP of those few alone: the same numbers for almost one layer less of work.

On a CPU trees are read without padding (`apo.model.unpadded`). Elsewhere they are padded, and attention is
dense under a mask.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import LlamaModel, MistralModel, Qwen2Model
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from apo.model.batching import Batch
from apo.model.pooling import at, last_position
from apo.model.unpadded import can_unpad, last_hidden_unpadded

FAMILY = (LlamaModel, MistralModel, Qwen2Model)  # the same modules under the same names


def last_hidden(decoder: Any, batch: Batch) -> Float[Tensor, "item resp hidden"]:
    """What `decoder` (one of `FAMILY`) gives for the last token of each response."""
    if can_unpad(decoder, batch):
        return last_hidden_unpadded(decoder, batch)
    hidden = decoder.embed_tokens(batch.input_ids)
    rotary = decoder.rotary_emb(hidden, position_ids=batch.position_ids)
    for layer in decoder.layers[:-1]:
        hidden = layer(
            hidden,
            attention_mask=batch.attention,
            position_ids=batch.position_ids,
            position_embeddings=rotary,
        )
    normed: Tensor = decoder.norm(_last_layer(decoder.layers[-1], hidden, batch, *rotary))
    return normed


def _last_layer(
    layer: Any,
    hidden: Float[Tensor, "item tok hidden"],
    batch: Batch,
    cos: Float[Tensor, "item tok head"],
    sin: Float[Tensor, "item tok head"],
) -> Float[Tensor, "item resp hidden"]:
    """The layer's output at the last tokens: each sees its query and its response, `batch.members`."""
    attention = layer.self_attn
    last = last_position(batch.response_mask)
    normed = layer.input_layernorm(hidden)
    queries = _heads(attention.q_proj(at(normed, last)), attention.head_dim)
    keys = _heads(attention.k_proj(normed), attention.head_dim)
    values = _heads(attention.v_proj(normed), attention.head_dim)
    seen, _ = ALL_ATTENTION_FUNCTIONS["sdpa"](
        attention,
        _rotated(queries, at(cos, last), at(sin, last)),
        _rotated(keys, cos, sin),
        values,
        _visible(batch, last),
        scaling=attention.scaling,
        dropout=attention.attention_dropout if attention.training else 0.0,
    )
    hidden = at(hidden, last) + attention.o_proj(seen.flatten(2))
    output: Tensor = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return output


def _visible(batch: Batch, last: Int[Tensor, "item resp"]) -> Tensor:
    """The mask of the last tokens; a response that is not there sees the first token, not nothing."""
    first = torch.arange(batch.response_mask.shape[-1], device=last.device) == 0
    return (batch.response_mask | (first & ~batch.mask[..., None]))[:, None]


def _heads(projected: Float[Tensor, "item tok hidden"], size: int) -> Float[Tensor, "item head tok size"]:
    heads: Tensor = projected.unflatten(-1, (-1, size)).transpose(1, 2)
    return heads


def _rotated(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions, the second half of a head's dimensions paired with the first."""
    first, second = states.chunk(2, dim=-1)
    return states * cos[:, None] + torch.cat((-second, first), dim=-1) * sin[:, None]
