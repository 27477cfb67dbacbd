"""apo/model/unpadded.py: no padding is computed."""

from transformers import LlamaConfig

from apo.model.encoding import ResponseSet
from tests.helpers import tiny_models as tiny
from tests.helpers.model_families import SMALL


def test_unpadded_layers_see_no_padding() -> None:
    """Layers see the tokens of the trees, and no other."""
    config = LlamaConfig(**SMALL | {"num_hidden_layers": 3}, num_key_value_heads=2)
    model, seen = tiny.wrapped(config, pooling="last"), []
    model.classifier.base_model.layers[0].mlp.register_forward_hook(
        lambda _, inputs, __: seen.append(inputs[0].shape)
    )
    items = [ResponseSet([1, 10, 11], [[20], [21, 22, 23, 24]]), ResponseSet([1], [[30]])]
    model.rewards(items)
    assert seen == [(8 + 2, 32)]
