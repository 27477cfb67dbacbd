"""apo/model/pooling.py: values by hand, and the authors' pooling case by case."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from apo.model.pooling import POOLINGS, last_position, pool_average, pool_last, pool_max

PAD, EOS = 3, 2
# Where theirs is another number, and why. In all of them ours follows from which tokens are there.
#   left_padded       their `last` and `eos` count tokens from the start, unless told `padding_side: left`;
#   right_padded, pad_id_inside, one_token, two_tokens, empty_response, truncated_no_eos: with
#                     `padding_side: left` they take the last columns, padding or not;
#   pad_id_inside     they count ids that are not pad, so that a pad id inside a text shifts the position
#                     (ours goes by what was put there, not by ids);
#   one_token         a sequence of the EOS alone: their `last` is position -1, the last column; a
#                     sequence of ours always has a token before the EOS (BOS or text);
#   all_pad           their positions are those of padding and their average is NaN; ours are 0;
#   truncated_no_eos  their `last` drops the last token whatever it is, so a response that was cut loses
#                     one; ours has no EOS to drop. It is the token that their `eos` takes.
DEVIATES = {
    ("left_padded", "last", "right"),
    ("left_padded", "eos", "right"),
    ("right_padded", "last", "left"),
    ("right_padded", "eos", "left"),
    ("pad_id_inside", "last", "right"),
    ("pad_id_inside", "eos", "right"),
    ("pad_id_inside", "last", "left"),
    ("pad_id_inside", "eos", "left"),
    ("one_token", "last", "right"),
    ("one_token", "last", "left"),
    ("one_token", "eos", "left"),
    ("two_tokens", "last", "left"),
    ("two_tokens", "eos", "left"),
    ("empty_response", "last", "left"),
    ("empty_response", "eos", "left"),
    ("all_pad", "last", "right"),
    ("all_pad", "last", "left"),
    ("all_pad", "eos", "right"),
    ("all_pad", "eos", "left"),
    ("all_pad", "average", "right"),
    ("all_pad", "average", "left"),
    ("truncated_no_eos", "last", "right"),
    ("truncated_no_eos", "last", "left"),
}


def members_of(case: dict[str, Any]) -> Tensor:
    """The tokens that are there, as the encoder puts them: for `last` without the EOS."""
    response_mask = torch.tensor(case["attention_mask"]).bool()
    if case["pooling_type"] == "last":
        response_mask &= torch.tensor(case["input_ids"]) != EOS
    return response_mask[:, None]


def one_hot(length: int, width: int) -> Tensor:
    """The hidden state of position t is 1 in dimension t, as in the reference."""
    return torch.eye(length, width)[None]


def test_pooling_of_the_authors(vectors: Callable[[str], list[dict[str, Any]]]) -> None:
    deviating = set()
    for case in vectors("pooling"):
        name = case["pooling_type"]
        if "raises" in case:
            assert name not in POOLINGS
            continue
        response_mask = members_of(case)
        if "position" in case:
            ours = last_position(response_mask)[:, 0].tolist()
            same = ours == case["position"]
        else:
            theirs = torch.tensor([[float(value) for value in row] for row in case["result"]])
            hidden = one_hot(response_mask.shape[-1], theirs.shape[-1]).expand(len(theirs), -1, -1)
            pooled = POOLINGS[name](hidden, response_mask)[:, 0]
            assert pooled.isfinite().all()
            same = torch.allclose(pooled, theirs, rtol=0, atol=1e-7)
        if not same:
            deviating.add((case["name"], name, case["padding_side"]))
    assert deviating == DEVIATES


@pytest.mark.parametrize(
    ("name", "pooling", "ours"),
    [
        ("left_padded", "last", [6, 6]),
        ("left_padded", "eos", [7, 7]),
        ("right_padded", "last", [4, 6]),
        ("right_padded", "eos", [5, 7]),
        ("pad_id_inside", "last", [4]),
        ("pad_id_inside", "eos", [5]),
        ("one_token", "eos", [0]),
        ("two_tokens", "last", [0]),
        ("two_tokens", "eos", [1]),
        ("empty_response", "last", [3]),
        ("truncated_no_eos", "last", [7]),
        ("truncated_no_eos", "eos", [7]),
        ("all_pad", "last", [0]),
        ("all_pad", "eos", [0]),
    ],
)
def test_pooling_where_that_of_the_authors_depends_on_the_padding_side(
    vectors: Callable[[str], list[dict[str, Any]]], name: str, pooling: str, ours: list[int]
) -> None:
    """The position, by hand from the ids: the same whatever the side is called."""
    for case in vectors("pooling"):
        if (case["name"], case["pooling_type"]) == (name, pooling):
            assert last_position(members_of(case))[:, 0].tolist() == ours


HIDDEN = torch.tensor([[[1.0, -4.0], [2.0, -1.0], [6.0, -7.0], [100.0, 100.0]]])  # the last one is padding
# The query is token 0; the first response is token 1, the second token 2.
TREE = torch.tensor([[[True, True, False, False], [True, False, True, False]]])


def test_pool_last_by_hand() -> None:
    assert pool_last(HIDDEN, TREE).tolist() == [[[2.0, -1.0], [6.0, -7.0]]]


def test_pool_average_by_hand() -> None:
    assert pool_average(HIDDEN, TREE).tolist() == [[[1.5, -2.5], [3.5, -5.5]]]


def test_pool_max_by_hand() -> None:
    """Negative values stay negative: padding and the other response give nothing."""
    assert pool_max(HIDDEN, TREE).tolist() == [[[2.0, -1.0], [6.0, -4.0]]]


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_pooling_of_no_tokens_is_zero_with_zero_gradients(pooling: str) -> None:
    hidden = HIDDEN.clone().requires_grad_()
    pooled = POOLINGS[pooling](hidden, torch.zeros_like(TREE))
    assert pooled.tolist() == [[[0.0, 0.0], [0.0, 0.0]]]
    pooled.sum().backward()
    assert hidden.grad is not None and (hidden.grad == 0).all()


@pytest.mark.parametrize("pooling", sorted(POOLINGS))
def test_pooling_ignores_masked_tokens(pooling: str) -> None:
    changed = HIDDEN.clone()
    changed[0, 3] = -1e6
    assert torch.equal(POOLINGS[pooling](HIDDEN, TREE), POOLINGS[pooling](changed, TREE))
    assert POOLINGS[pooling](HIDDEN, TREE.flip(1)).equal(POOLINGS[pooling](HIDDEN, TREE).flip(1))
