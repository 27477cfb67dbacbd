"""apo/training/ranked_responses.py: which pairs of responses have an order."""

import torch

from apo.model.encoding import ResponseSet
from apo.training.ranked_responses import RankedResponses

RANKED = RankedResponses(ResponseSet([1, 2], [[3], [4], [5], [6, 7]]), [2.0, 0.5, 0.5, -1.0])


def test_pairs_leave_out_ties() -> None:
    assert RANKED.pairs == 5


def test_ranks_keep_an_order_that_float32_does_not() -> None:
    close = RankedResponses(RANKED.item, [16777217.0, 16777216.0, 0.99999999, 0.99999998])
    assert close.pairs == 6
    assert len(set(torch.tensor(close.labels, dtype=torch.float32).tolist())) == 2
    assert close.ranks == [3.0, 2.0, 1.0, 0.0]
    assert RANKED.ranks == [2.0, 1.0, 1.0, 0.0]


def test_only_keeps_labels_and_kind_beside_the_responses() -> None:
    assert RANKED.only(0, -1) == RankedResponses(ResponseSet([1, 2], [[3], [6, 7]]), [2.0, -1.0])
    golden = RankedResponses(RANKED.item, RANKED.labels, is_adversarial=True)
    assert golden.only(1).is_adversarial and golden.only(1).labels == [0.5]
