"""A reward model whose layers attend by FlexAttention of torch, for `python -m benchmarks.gpu` alone.

FlexAttention skips the blocks of 128 x 128 tokens that the mask of a packed sequence hides; the SDPA path of
`apo.model.last_token` computes them under a dense mask. All else is equal: the last layer computes queries
for the last token of each response only, by SDPA. FlexAttention has no backward pass on a CPU.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from apo.model.batching import Batch
from apo.model.last_token import _last_layer
from apo.model.reward_model import RewardModel

NAME = "flex_attention_of_packed_sequences"  # of the attention implementation, in transformers


class FlexRewardModel(RewardModel):
    """The same rewards by FlexAttention; see `RewardModel`.

    Args:
        model: A reward model of the Llama family that pools the last token. Its weights are shared; its
            attention implementation is changed in place.
    """

    def __init__(self, model: RewardModel) -> None:
        super().__init__(model.classifier, model.encoder)
        self.classifier.config._attn_implementation = NAME

    def _pool(self, batch: Batch) -> Float[Tensor, "item resp hidden"]:
        decoder = self.classifier.base_model
        mask = block_mask(batch.segments)
        hidden = decoder.embed_tokens(batch.input_ids)
        rotary = decoder.rotary_emb(hidden, position_ids=batch.position_ids)
        for layer in decoder.layers[:-1]:
            hidden = layer(
                hidden,
                attention_mask=mask,
                position_ids=batch.position_ids,
                position_embeddings=rotary,
            )
        states: Tensor = decoder.norm(_last_layer(decoder.layers[-1], hidden, batch, *rotary))
        return states


def block_mask(segments: Int[Tensor, "item tok"]) -> BlockMask:
    """The mask of packed sequences, `Batch.attention`, for FlexAttention.

    Args:
        segments: Segment of each token: 0 for the query, k for the k-th response, -1 for padding.
    """
    rows, length = segments.shape

    def is_visible(item: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        same = segments[item, key] == segments[item, query]
        return (query >= key) & (same | (segments[item, key] == 0))

    return create_block_mask(is_visible, rows, None, length, length, device=segments.device)


@functools.cache
def _compiled() -> Callable[..., Tensor]:
    """FlexAttention as a fused kernel for all lengths. With `fullgraph` it never falls back to a slow one."""
    torch._dynamo.config.recompile_limit = 32  # dimensions of size 1 are compiled separately
    return torch.compile(flex_attention, dynamic=True, fullgraph=True)


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: BlockMask, **options: Any
) -> tuple[Tensor, None]:
    """An attention function of transformers: states [item head tok size] to outputs [item tok head size].

    Under autocast the rotary embedding returns float32, so queries and keys get the dtype of the values.

    Raises:
        NotImplementedError: A state on a CPU needs a gradient.
    """
    compute: Any = flex_attention if query.device.type == "cpu" else _compiled()
    states = compute(
        query.to(value.dtype),
        key.to(value.dtype),
        value,
        block_mask=attention_mask,
        scale=options["scaling"],
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return states.transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
