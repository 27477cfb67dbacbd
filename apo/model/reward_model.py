"""A reward model: a sequence classifier of Hugging Face with one label, read as rewards of items."""

import functools
import sys
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from apo.model import runtime
from apo.model.batching import Batch, collate, micro_batches, packed_length, unpacked
from apo.model.encoding import Encoder, ResponseSet
from apo.model.last_token import FAMILY, last_hidden
from apo.model.pooling import POOLINGS


class RewardModel(nn.Module):
    """Rewards of trees, or of separate sequences where the backbone can't take a tree's mask.

    Args:
        classifier: The model as `AutoModelForSequenceClassification` loads it.
        encoder: How it reads text.

    Attributes:
        takes_trees: Which of the two layouts; found by trying.
    """

    def __init__(self, classifier: Any, encoder: Encoder) -> None:
        super().__init__()
        self.classifier = classifier
        self.encoder = encoder
        self.supports_shared_prefix = supports_shared_prefix(classifier, encoder.max_length)
        if not self.supports_shared_prefix:
            log_unpacked(type(classifier).__name__)

    def tokens(self, item: ResponseSet) -> int:
        """What an item costs of a token budget."""
        return packed_length(item) if self.supports_shared_prefix else len(item.responses) * item.longest

    def rewards(self, items: Sequence[ResponseSet]) -> Float[Tensor, "item resp"]:
        """Rewards of the responses of each item, 0 behind the last one; on the model's device."""
        pad_id, device = self.encoder.tokenizer.pad_token_id, self.classifier.device
        if self.supports_shared_prefix:
            found: Tensor = self(collate(items, pad_id=pad_id).to(device))
            return found
        rows = [part for item in items for part in unpacked(item)]
        flat = self(collate(rows, pad_id=pad_id).to(device))[:, 0]
        return pad_sequence(flat.split([len(item.responses) for item in items]), batch_first=True)

    def forward(self, batch: Batch) -> Float[Tensor, "item resp"]:
        """Rewards; those of responses that are not there are 0."""
        with runtime.autocast(batch.input_ids.device):
            pooled = self._pooled(batch)
        rewards: Tensor = self.classifier.score(pooled.to(self.classifier.score.weight.dtype)).squeeze(-1)
        rewards = at_least_float32(rewards)
        return torch.where(batch.mask, rewards, 0.0)

    def _pooled(self, batch: Batch) -> Float[Tensor, "item resp hidden"]:
        base, pooling = self.classifier.base_model, self.encoder.pooling
        sdpa = self.classifier.config._attn_implementation == "sdpa"
        if self.supports_shared_prefix and sdpa and isinstance(base, FAMILY) and pooling in ("last", "eos"):
            return last_hidden(base, batch)
        hidden = read(base, batch, tree=self.supports_shared_prefix).last_hidden_state
        return POOLINGS[pooling](hidden, batch.response_mask)


def at_least_float32(values: Tensor) -> Tensor:
    """The values in float32 where weights are in less, as DeepSpeed's bf16 has them."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def read(model: Any, batch: Batch, *, tree: bool) -> Any:
    """What a model of transformers, with or without a head, gives for all tokens of a batch."""
    if not tree:  # one response an item: what it is made of is what is no padding
        mask = batch.response_mask[:, 0].long()
        return model(input_ids=batch.input_ids, attention_mask=mask, use_cache=False)
    attention: Tensor = batch.attention
    if model.config._attn_implementation == "eager":  # adds the mask to the scores
        lowest = torch.finfo(model.dtype).min
        attention = torch.where(attention, 0.0, lowest).to(model.dtype)
    return model(
        input_ids=batch.input_ids,
        position_ids=batch.position_ids,
        attention_mask=attention,
        use_cache=False,
    )


@torch.no_grad()
def supports_shared_prefix(model: Any, max_length: int) -> bool:
    """Whether a small tree gives the hidden states of its separate sequences.

    A window of attention shorter than a text would be lost under a tree's mask: no tree then.

    Args:
        model: Of transformers, with any head.
        max_length: Longest text in tokens.
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
        tree = collate([item], pad_id=ids[0]).to(model.device)
        together = read(model.base_model, tree, tree=True).last_hidden_state[0, 4:]
        plain = collate(unpacked(item), pad_id=ids[0]).to(model.device)
        rows = read(model.base_model, plain, tree=False).last_hidden_state
    except (ValueError, TypeError, RuntimeError):  # a mask or positions that its code does not know
        return False
    finally:
        model.train(training)
    apart = torch.cat([rows[0, 4:6], rows[1, 4:7]])
    return bool((together - apart).norm() < 1e-4 * apart.norm())


@functools.cache
def log_unpacked(name: str) -> None:
    """A line on the terminal, once for each kind of model."""
    print(
        f"{name} can't read all responses of a query as one tree: each is read with its own copy of the "
        "query, which gives the same numbers more slowly",
        file=sys.stderr,
    )


@torch.inference_mode()
def rate(model: RewardModel, items: Sequence[ResponseSet]) -> list[list[float]]:
    """The rewards of each item's responses, without dropout; the model is left in the mode that it had."""
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
