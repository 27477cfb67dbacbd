"""benchmarks/flops.py: the operations of a layer by hand."""

from transformers import LlamaConfig

from apo.model.encoding import ResponseSet
from benchmarks import flops


def test_layer_flops_of_few_queries() -> None:
    """Keys and values of 5 tokens, all the rest of 2: with one key head of two, by hand."""
    config = LlamaConfig(hidden_size=8, intermediate_size=12, num_attention_heads=2, num_key_value_heads=1)
    linear = 2 * 5 * (8 * 4 + 8 * 4) + 2 * 2 * (8 * 8 + 8 * 8 + 3 * 8 * 12)
    assert flops.layer_flops(config, keys=5, queries=2, pairs=9) == linear + 2 * 2 * 9 * 8


def test_visible_pairs_of_a_tree_by_hand() -> None:
    item = ResponseSet([1, 2, 3], [[4, 5], [6]])
    of_token = ["q", "q", "q", "a", "a", "b"]
    seen = sum(of_token[j] in ("q", of_token[i]) for i in range(6) for j in range(i + 1))
    assert flops.visible_pairs(item) == seen == 6 + (4 + 5) + 4
