"""benchmarks/packed.py: a packed pair by hand."""

from benchmarks import packed


def test_packed_pair_by_hand() -> None:
    batch, last = packed.packed([([1, 2], [3, 4], [5]), ([1], [6], [7])], pad_id=0)
    assert batch["input_ids"].tolist() == [[1, 2, 3, 4, 5], [1, 6, 7, 0, 0]]
    assert batch["position_ids"][0].tolist() == [0, 1, 2, 3, 2]
    assert batch["position_ids"][1, :3].tolist() == [0, 1, 1]
    assert last.tolist() == [[3, 4], [1, 2]]
    assert batch["attention_mask"][0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]
