"""The forward pass of the Llama family when only the last token of each response is needed.

A reward depends on one token per response. So the last layer computes keys and values for all tokens, but
queries, attention outputs and the MLP only for those last tokens. This saves almost one layer of compute.

On a CPU the packed sequences are computed without padding (`apo.model.unpadded`). On other devices they are
padded, with dense masked attention.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import LlamaModel, MistralModel, Qwen2Model
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from apo.model.batching import Batch
from apo.model.pooling import last_position, states_at
from apo.model.unpadded import can_unpad, last_hidden_unpadded

FAMILY = (LlamaModel, MistralModel, Qwen2Model)  # they have the same submodules under the same names


def last_hidden(decoder: Any, batch: Batch) -> Float[Tensor, "item resp hidden"]:
    """Hidden states of the last token of each response, by a decoder of `FAMILY`."""
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
    """The output of the layer at the last tokens, which attend to `batch.response_mask`."""
    attention = layer.self_attn
    last = last_position(batch.response_mask)
    normed = layer.input_layernorm(hidden)
    queries = _split_heads(attention.q_proj(states_at(normed, last)), attention.head_dim)
    keys = _split_heads(attention.k_proj(normed), attention.head_dim)
    values = _split_heads(attention.v_proj(normed), attention.head_dim)
    attended, _ = ALL_ATTENTION_FUNCTIONS["sdpa"](
        attention,
        _rotate(queries, states_at(cos, last), states_at(sin, last)),
        _rotate(keys, cos, sin),
        values,
        _last_token_mask(batch, last),
        scaling=attention.scaling,
        dropout=attention.attention_dropout if attention.training else 0.0,
    )
    hidden = states_at(hidden, last) + attention.o_proj(attended.flatten(2))
    output: Tensor = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return output


def _last_token_mask(batch: Batch, last: Int[Tensor, "item resp"]) -> Tensor:
    """The attention mask of the last tokens. A padding response attends to the first token, to avoid NaN."""
    first = torch.arange(batch.response_mask.shape[-1], device=last.device) == 0
    return (batch.response_mask | (first & ~batch.mask[..., None]))[:, None]


def _split_heads(states: Float[Tensor, "item tok hidden"], size: int) -> Float[Tensor, "item head tok size"]:
    heads: Tensor = states.unflatten(-1, (-1, size)).transpose(1, 2)
    return heads


def _rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding; pairs the first half of a head's dimensions with the second."""
    first, second = states.chunk(2, dim=-1)
    return states * cos[:, None] + torch.cat((-second, first), dim=-1) * sin[:, None]
