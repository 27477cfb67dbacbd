"""Log-likelihoods of all responses of a query under a causal language model, in one packed sequence."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from apo.model import runtime
from apo.model.batching import collate, input_sequences, input_tokens, pad_by_item
from apo.model.dropout import switch_off_dropout
from apo.model.encoding import ResponseSet
from apo.model.reward_model import at_least_float32, forward_pass, log_unpacked, supports_shared_prefix


class ResponseLikelihood(nn.Module):
    """log p(response | query), summed over the tokens of each response.

    Logits are computed, in float32, only for hidden states that predict a token of a response. Dropout is
    switched off: log-likelihoods are compared with each other and with those of the reference.

    Args:
        model: The model as `AutoModelForCausalLM` loads it.
        max_length: Maximum length of a query with one response, in tokens.

    Attributes:
        supports_shared_prefix: Whether the model reads packed sequences; a forward pass tests it.
        head_alone: Whether the output embeddings applied to the hidden states give the model's logits; a
            forward pass tests it. If not, because the model scales or caps them, it computes all logits.
    """

    def __init__(self, model: Any, *, pad_id: int, max_length: int) -> None:
        super().__init__()
        self.model = model
        self.pad_id = pad_id
        switch_off_dropout(model)
        self.supports_shared_prefix = supports_shared_prefix(model, max_length)
        if not self.supports_shared_prefix:
            log_unpacked(type(model).__name__)
        self.head_alone = _head_alone(model)

    def tokens(self, item: ResponseSet) -> int:
        """Tokens of an item in a token budget."""
        return input_tokens(item, packed=self.supports_shared_prefix)

    def forward(self, items: Sequence[ResponseSet]) -> Float[Tensor, "item resp"]:
        """Log-likelihoods of the responses of each item in nats, padded with 0.

        Every query has at least one token.
        """
        sequences = input_sequences(items, packed=self.supports_shared_prefix)
        log_likelihoods = self._token_log_likelihoods(sequences).split(
            [len(response) for item in items for response in item.responses]
        )
        sums = torch.stack([term.sum() for term in log_likelihoods])
        return pad_by_item(sums, items)

    def _token_log_likelihoods(self, items: Sequence[ResponseSet]) -> Float[Tensor, "label"]:
        """log p(token | query, tokens before it) of all tokens of all responses, in order, in nats."""
        device = self.model.device
        batch = collate(items, pad_id=self.pad_id).to(device)
        positions = predictors(items, width=batch.input_ids.shape[1]).to(device)
        tokens = torch.tensor([token for item in items for response in item.responses for token in response])
        with runtime.autocast(device):
            if self.head_alone:
                outputs = forward_pass(
                    self.model.base_model, batch, packed=self.supports_shared_prefix
                ).last_hidden_state
            else:
                outputs = forward_pass(self.model, batch, packed=self.supports_shared_prefix).logits
        logits = outputs.flatten(0, 1).index_select(0, positions).to(self.model.dtype)  # that of the weights
        if self.head_alone:
            logits = self.model.get_output_embeddings()(logits)
        return -cross_entropy(at_least_float32(logits), tokens.to(device), reduction="none")


def predictors(items: Sequence[ResponseSet], *, width: int) -> Int[Tensor, "label"]:
    """The position that predicts each token of each response, in the flattened packed batch.

    The last token of the query predicts the first token of every response.

    >>> predictors([ResponseSet([1, 5], [[6, 7], [8, 9, 2]])], width=7)  # 1 5 | 6 7 | 8 9 2
    tensor([1, 2, 1, 4, 5])
    """
    positions: list[int] = []
    for row, item in enumerate(items):
        start = row * width + len(item.prefix)
        query_end = start - 1
        for response in item.responses:
            positions += [query_end, *range(start, start + len(response) - 1)]
            start += len(response)
    return torch.tensor(positions)


@torch.no_grad()
def _head_alone(model: Any) -> bool:
    """Whether the output embeddings applied to the hidden states give the model's logits."""
    head, training = model.get_output_embeddings(), model.training
    if head is None:
        return False
    ids = torch.linspace(model.config.vocab_size // 4, model.config.vocab_size // 2, 6).long().tolist()
    batch = collate([ResponseSet(ids[:3], [ids[3:]])], pad_id=ids[0]).to(model.device)
    model.eval()
    logits = forward_pass(model, batch, packed=False).logits
    head_logits = head(forward_pass(model.base_model, batch, packed=False).last_hidden_state)
    model.train(training)
    return bool((logits - head_logits).norm() <= 1e-5 * logits.norm())
