"""Small models of several families, and what their separate sequences give: rewards and gradients."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    BloomConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    PretrainedConfig,
    Qwen2Config,
)

from apo.model.encoding import ResponseSet
from apo.model.reward_model import RewardModel

SMALL: dict[str, Any] = {
    "vocab_size": 380,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
TREES: dict[str, PretrainedConfig] = {  # those that read a query and all its responses as one tree
    "llama": LlamaConfig(**SMALL, num_key_value_heads=2),
    "qwen2": Qwen2Config(**SMALL, num_key_value_heads=2),
    "mistral": MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=None),
    "olmo2": Olmo2Config(**SMALL, num_key_value_heads=2),  # that of preset hh_1b
    "gpt_neox": GPTNeoXConfig(**SMALL),
}
PLAIN: dict[str, PretrainedConfig] = {  # those that can't
    "bloom": BloomConfig(vocab_size=380, hidden_size=32, n_layer=2, n_head=4),
    "mistral with a window": MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=12),
}


def separate(model: RewardModel, item: ResponseSet) -> Tensor:
    """Rewards of the separate sequences, each in a batch of its own, through the stock classes alone."""
    sequences = [torch.tensor([item.prefix + response]) for response in item.responses]
    hidden = [model.classifier.base_model(input_ids=ids).last_hidden_state[0] for ids in sequences]
    pooled = {
        "last": [h[-1] for h in hidden],
        "eos": [h[-1] for h in hidden],
        "average": [h.mean(0) for h in hidden],
        "max": [h.amax(0) for h in hidden],
    }[model.encoder.pooling]
    return torch.cat([model.classifier.score(vector) for vector in pooled])


def gradients(model: nn.Module, values: Tensor) -> dict[str, Tensor]:
    """Those of a sum in which each value has a weight of its own."""
    model.zero_grad()
    (values * torch.linspace(-1, 2, len(values))).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_close(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """The same parameters have gradients, and they differ by less than 1e-4 of their length."""
    assert actual.keys() == expected.keys()
    for name, wanted in expected.items():
        gap = (actual[name] - wanted).norm() / wanted.norm().clamp(min=1e-6)
        assert gap < 1e-4, (name, gap)
