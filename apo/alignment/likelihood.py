"""Log-likelihoods of all responses of a query under a causal language model, in one packed sequence."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from apo.model import runtime
from apo.model.batching import collate, packed_length, unpacked
from apo.model.encoding import ResponseSet
from apo.model.reward_model import at_least_float32, forward_pass, log_unpacked, supports_shared_prefix


class ResponseLikelihood(nn.Module):
    """log p(response | query), summed over the tokens of each response.

    Only hidden states that predict a token of a response meet the vocabulary, in float32. Dropout is switched
    off: log-likelihoods are compared with each other and with the reference's.

    Args:
        model: As `AutoModelForCausalLM` loads it.
        pad_id: Id of the padding.
        max_length: Longest query with one response, in tokens.

    Attributes:
        takes_trees: Whether the responses of a query are read as one tree; found by trying.
        head_alone: Whether hidden states times the output embeddings are the model's logits; found by trying.
            Where they are scaled or capped behind that, the model computes the logits of all tokens itself.
    """

    def __init__(self, model: Any, *, pad_id: int, max_length: int) -> None:
        super().__init__()
        self.model = model
        self.pad_id = pad_id
        _switch_off_dropout(model)
        self.supports_shared_prefix = supports_shared_prefix(model, max_length)
        if not self.supports_shared_prefix:
            log_unpacked(type(model).__name__)
        self.head_alone = _head_alone(model)

    def tokens(self, item: ResponseSet) -> int:
        """What an item costs of a token budget."""
        return packed_length(item) if self.supports_shared_prefix else len(item.responses) * item.longest

    def forward(self, items: Sequence[ResponseSet]) -> Float[Tensor, "item resp"]:
        """In nats, 0 behind the last response of an item; every query has at least one token."""
        rows = items if self.supports_shared_prefix else [part for item in items for part in unpacked(item)]
        terms = self._of_tokens(rows).split([len(response) for item in items for response in item.responses])
        sums = torch.stack([term.sum() for term in terms])
        return pad_sequence(sums.split([len(item.responses) for item in items]), batch_first=True)

    def _of_tokens(self, items: Sequence[ResponseSet]) -> Float[Tensor, "label"]:
        """log p(token | query, tokens before it) of all tokens of all responses, in their order."""
        device = self.model.device
        batch = collate(items, pad_id=self.pad_id).to(device)
        places = predictors(items, width=batch.input_ids.shape[1]).to(device)
        tokens = torch.tensor([token for item in items for response in item.responses for token in response])
        with runtime.autocast(device):
            if self.head_alone:
                states = forward_pass(
                    self.model.base_model, batch, packed=self.supports_shared_prefix
                ).last_hidden_state
            else:
                states = forward_pass(self.model, batch, packed=self.supports_shared_prefix).logits
        logits = states.flatten(0, 1).index_select(0, places).to(self.model.dtype)  # that of the weights
        if self.head_alone:
            logits = self.model.get_output_embeddings()(logits)
        return -cross_entropy(at_least_float32(logits), tokens.to(device), reduction="none")


def predictors(items: Sequence[ResponseSet], *, width: int) -> Int[Tensor, "label"]:
    """Where each token of each response is predicted, as a position in the batch laid out flat.

    The first token of a response follows the last one of the query, whatever stands between them in the tree.

    >>> predictors([ResponseSet([1, 5], [[6, 7], [8, 9, 2]])], width=7)  # 1 5 | 6 7 | 8 9 2
    tensor([1, 2, 1, 4, 5])
    """
    places: list[int] = []
    for row, item in enumerate(items):
        start = row * width + len(item.prefix)
        last_of_query = start - 1
        for response in item.responses:
            places += [last_of_query, *range(start, start + len(response) - 1)]
            start += len(response)
    return torch.tensor(places)


def _switch_off_dropout(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "attention_dropout", None), float):  # read when attention is called
            module.attention_dropout = 0.0  # type: ignore[assignment]


@torch.no_grad()
def _head_alone(model: Any) -> bool:
    """Whether the model does nothing between its hidden states, its output embeddings and its logits."""
    head, training = model.get_output_embeddings(), model.training
    if head is None:
        return False
    ids = torch.linspace(model.config.vocab_size // 4, model.config.vocab_size // 2, 6).long().tolist()
    batch = collate([ResponseSet(ids[:3], [ids[3:]])], pad_id=ids[0]).to(model.device)
    model.eval()
    logits = forward_pass(model, batch, packed=False).logits
    own = head(forward_pass(model.base_model, batch, packed=False).last_hidden_state)
    model.train(training)
    return bool((logits - own).norm() <= 1e-5 * logits.norm())
