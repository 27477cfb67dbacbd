"""apo/training/ranked_responses.py: which pairs of responses have an order."""

from apo.model.encoding import ResponseSet
from apo.training.ranked_responses import RankedResponses

RANKED = RankedResponses(ResponseSet([1, 2], [[3], [4], [5], [6, 7]]), [2.0, 0.5, 0.5, -1.0])


def test_pairs_leave_out_ties() -> None:
    assert RANKED.pairs == 5


def test_only_keeps_labels_and_kind_beside_the_responses() -> None:
    assert RANKED.only(0, -1) == RankedResponses(ResponseSet([1, 2], [[3], [6, 7]]), [2.0, -1.0])
    golden = RankedResponses(RANKED.item, RANKED.labels, is_adversarial=True)
    assert golden.only(1).is_adversarial and golden.only(1).labels == [0.5]
