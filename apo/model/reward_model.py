"""A reward model: a Hugging Face sequence classifier with one label, whose logit is the reward."""

import functools
import sys
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from apo.model import runtime
from apo.model.batching import (
    Batch,
    collate,
    input_sequences,
    input_tokens,
    micro_batches,
    pad_by_item,
    unpacked,
)
from apo.model.encoding import Encoder, ResponseSet
from apo.model.last_token import FAMILY, last_hidden
from apo.model.pooling import POOLINGS


class RewardModel(nn.Module):
    """Rewards of packed sequences, or of separate ones if the backbone does not support shared prefixes.

    Args:
        classifier: The model as `AutoModelForSequenceClassification` loads it.

    Attributes:
        supports_shared_prefix: Whether the model reads packed sequences; a forward pass tests it.
    """

    def __init__(self, classifier: Any, encoder: Encoder) -> None:
        super().__init__()
        self.classifier = classifier
        self.encoder = encoder
        self.supports_shared_prefix = supports_shared_prefix(classifier, encoder.max_length)
        if not self.supports_shared_prefix:
            log_unpacked(type(classifier).__name__)

    def tokens(self, item: ResponseSet) -> int:
        """Tokens of an item in a token budget."""
        return input_tokens(item, packed=self.supports_shared_prefix)

    def rewards(self, items: Sequence[ResponseSet]) -> Float[Tensor, "item resp"]:
        """Rewards of the responses of each item, padded with 0, on the device of the model."""
        sequences = input_sequences(items, packed=self.supports_shared_prefix)
        batch = collate(sequences, pad_id=self.encoder.tokenizer.pad_token_id)
        rewards: Tensor = self(batch.to(self.classifier.device))
        return rewards if self.supports_shared_prefix else pad_by_item(rewards[:, 0], items)

    def forward(self, batch: Batch) -> Float[Tensor, "item resp"]:
        """Rewards; 0 for padding responses."""
        with runtime.autocast(batch.input_ids.device):
            pooled = self._pool(batch)
        rewards: Tensor = self.classifier.score(pooled.to(self.classifier.score.weight.dtype)).squeeze(-1)
        rewards = at_least_float32(rewards)
        return torch.where(batch.mask, rewards, 0.0)

    def _pool(self, batch: Batch) -> Float[Tensor, "item resp hidden"]:
        decoder, pooling = self.classifier.base_model, self.encoder.pooling
        sdpa = self.classifier.config._attn_implementation == "sdpa"
        if (
            self.supports_shared_prefix
            and sdpa
            and isinstance(decoder, FAMILY)
            and pooling in ("last", "eos")
        ):
            return last_hidden(decoder, batch)
        hidden = forward_pass(decoder, batch, packed=self.supports_shared_prefix).last_hidden_state
        return POOLINGS[pooling](hidden, batch.response_mask)


def at_least_float32(values: Tensor) -> Tensor:
    """Converts lower precisions, such as the bf16 weights of DeepSpeed, to float32."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def forward_pass(model: Any, batch: Batch, *, packed: bool) -> Any:
    """Runs a transformers model, with or without a head, on all tokens of a batch.

    Args:
        packed: Whether the batch holds packed sequences; else each item has one response.
    """
    if not packed:  # with one response per item, its response mask is the padding mask
        mask = batch.response_mask[:, 0].long()
        return model(input_ids=batch.input_ids, attention_mask=mask, use_cache=False)
    attention_mask: Tensor = batch.attention
    if model.config._attn_implementation == "eager":  # adds the mask to the attention scores
        lowest = torch.finfo(model.dtype).min
        attention_mask = torch.where(attention_mask, 0.0, lowest).to(model.dtype)
    return model(
        input_ids=batch.input_ids,
        position_ids=batch.position_ids,
        attention_mask=attention_mask,
        use_cache=False,
    )


@torch.no_grad()
def supports_shared_prefix(model: Any, max_length: int) -> bool:
    """Whether a small packed sequence gives the same hidden states as its separate sequences.

    The mask of a packed sequence ignores sliding windows. So the result is False for a model with an
    attention window shorter than `max_length`.

    Args:
        model: A transformers model with any head.
        max_length: Maximum length of a text in tokens.
    """
    config = model.config
    windows = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    if any(window is not None and window < max_length for window in windows):
        return False
    low, high = config.vocab_size // 4, config.vocab_size // 2
    ids = torch.linspace(low, high, 9).long().tolist()
    item = ResponseSet(ids[:4], [ids[4:6], ids[6:]])
    training = model.training
    model.eval()
    try:
        packed_batch = collate([item], pad_id=ids[0]).to(model.device)
        packed_states = forward_pass(model.base_model, packed_batch, packed=True).last_hidden_state[0, 4:]
        separate_batch = collate(unpacked(item), pad_id=ids[0]).to(model.device)
        separate_rows = forward_pass(model.base_model, separate_batch, packed=False).last_hidden_state
    except (ValueError, TypeError, RuntimeError):  # the model accepts no such mask or position ids
        return False
    finally:
        model.train(training)
    separate_states = torch.cat([separate_rows[0, 4:6], separate_rows[1, 4:7]])
    return bool((packed_states - separate_states).norm() < 1e-4 * separate_states.norm())


@functools.cache
def log_unpacked(name: str) -> None:
    """Logs to stderr, once per model class, that shared-prefix packing is off."""
    print(
        f"{name} does not support shared-prefix packing: each response is read with its own copy of the "
        "query, which gives the same rewards more slowly",
        file=sys.stderr,
    )


@torch.no_grad()  # not inference_mode: in a training that evaluates, ZeRO-3 keeps what it gathers
def compute_rewards(model: RewardModel, items: Sequence[ResponseSet]) -> list[list[float]]:
    """The rewards of each item's responses, without dropout. The mode of the model is restored."""
    training = model.training
    model.eval()
    rewards: list[list[float]] = [[] for _ in items]
    lengths = [model.tokens(item) for item in items]
    for indices in micro_batches(lengths, budget="APO_TOKEN_BUDGET", tokens=runtime.token_budget()):
        batch = [items[index] for index in indices]
        for index, row in zip(indices, model.rewards(batch).float().tolist(), strict=True):
            rewards[index] = row[: len(items[index].responses)]
    model.train(training)
    return rewards
