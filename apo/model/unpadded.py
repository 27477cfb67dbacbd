"""The forward pass of `apo.model.last_token` on a CPU: packed sequences are concatenated without padding.

The layers process real tokens only; see `apo.model.packed_attention` for their attention.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from apo.model.batching import Batch
from apo.model.packed_attention import Call, PackedAttention, attention_calls, sequence_bounds
from apo.model.pooling import last_position


def can_unpad(decoder: Any, batch: Batch) -> bool:
    """Whether this path supports a batch: on a CPU, in float32, without attention dropout."""
    dropout = decoder.training and decoder.config.attention_dropout > 0
    return batch.input_ids.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and not dropout


def last_hidden_unpadded(decoder: Any, batch: Batch) -> Float[Tensor, "item resp hidden"]:
    """Hidden states of the last token of each response; 0 for padding responses."""
    is_token = batch.segments >= 0
    calls, positions = attention_calls(sequence_bounds(batch)), batch.position_ids[is_token]
    hidden = decoder.embed_tokens(batch.input_ids[is_token])
    cos, sin = (rotary[0, :, None] for rotary in decoder.rotary_emb(hidden, position_ids=positions[None]))
    for layer in decoder.layers[:-1]:
        compute = partial(_layer, layer)
        if layer.gradient_checkpointing and layer.training:
            compute = partial(layer._gradient_checkpointing_func, compute)
        hidden = compute(hidden, cos, sin, calls)
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
    calls: Sequence[Call],
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
    attended = PackedAttention.apply(queries, keys, values, calls, attention.scaling)
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


def _heads_first(states: Float[Tensor, "tok head size"]) -> Float[Tensor, "1 head tok size"]:
    return states.transpose(0, 1)[None]
