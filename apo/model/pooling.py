"""Pooling of hidden states into one vector per response (authors' `reward_model.py`, `pooling_type`).

The authors' `last` is the token before the end token. Here a sequence has no end token with pooling `last`,
so its last token is the same one. With pooling `eos` the last token is the end token.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Hidden = Float[Tensor, "item tok hidden"]
ResponseMask = Bool[Tensor, "item resp tok"]
Pooled = Float[Tensor, "item resp hidden"]


def last_position(response_mask: ResponseMask) -> Int[Tensor, "item resp"]:
    """Position of the last token of each response's sequence; 0 for a padding response."""
    positions = torch.arange(response_mask.shape[-1], device=response_mask.device)
    return (response_mask * positions).amax(-1)


def states_at(states: Hidden, positions: Int[Tensor, "item resp"]) -> Pooled:
    """Gathers the states at one position per response."""
    return states.gather(1, positions[..., None].expand(-1, -1, states.shape[-1]))


def pool_last(hidden: Hidden, response_mask: ResponseMask) -> Pooled:
    """The hidden state of the last token."""
    return states_at(hidden, last_position(response_mask))


def pool_average(hidden: Hidden, response_mask: ResponseMask) -> Pooled:
    """The mean over the tokens of query and response; 0 without tokens."""
    weights = response_mask.to(hidden.dtype)
    return weights @ hidden / weights.sum(-1, keepdim=True).clamp(min=1)


def pool_max(hidden: Hidden, response_mask: ResponseMask) -> Pooled:
    """The maximum of each dimension over the tokens of query and response; 0 without tokens."""
    maxima = hidden[:, None].masked_fill(~response_mask[..., None], float("-inf")).amax(-2)
    return maxima.masked_fill(~response_mask.any(-1)[..., None], 0.0)


POOLINGS: dict[str, Callable[[Hidden, ResponseMask], Pooled]] = {
    "last": pool_last,
    "eos": pool_last,
    "average": pool_average,
    "max": pool_max,
}
