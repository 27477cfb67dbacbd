"""Next-token logits for many samples per prompt; each prompt is read once.

`SharedPrompts` stores the keys and values of a prompt once for all its samples. A custom attention function
lets the samples attend to their prompt together, and each to its own tokens, whose keys and values are
written in place. It supports the model types in `SHARING`. `RepeatedPrompts` gives each sample its own copy,
with the same result, for any model. Both read a prompt without its last token, which is the first input token
of its samples.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import AttentionInterface, DynamicCache
from transformers.cache_utils import DynamicLayer

SHARING = ("gpt_neox", "llama", "mistral", "qwen2", "qwen3")  # each is tested against a plain forward pass
ROOM = 32  # initial capacity of a sample's buffer in tokens; doubled when it is full
COMPACT_BELOW = 0.75  # fraction of active samples at or below which the ended ones are dropped from the cache
ATTENTION = "apo_shared_prompts"


def shares_prompts(model: Any) -> bool:
    """Whether all samples of a prompt use one copy of its keys and values."""
    config = model.config
    full = all(type(layer) is DynamicLayer for layer in DynamicCache(config=config).layers)  # no window
    return full and config.model_type in SHARING and config._attn_implementation == "sdpa"


def read_prompts(model: Any, prompts: Sequence[list[int]], count: int) -> "SharedPrompts | RepeatedPrompts":
    """Reads the prompts for `count` samples each; the rows of a prompt are adjacent."""
    return (SharedPrompts if shares_prompts(model) else RepeatedPrompts)(model, prompts, count)


class SharedPrompts:
    """Keys and values of the prompts and of the tokens of their samples.

    Row r is an active sample: number `sample[r]` of prompt `prompt[r]`. Prompts are padded on the right;
    `bias` is -inf at the padding. Each layer has keys and values of the prompts, "prompt kvhead tok dim", and
    of the samples, "row kvhead room dim".
    """

    def __init__(self, model: Any, prompts: Sequence[list[int]], count: int) -> None:
        device = model.device
        lengths = torch.tensor([len(prompt) - 1 for prompt in prompts], device=device)
        width = max(1, int(lengths.max()))
        ids = [prompt[:-1] + prompt[:1] * (width + 1 - len(prompt)) for prompt in prompts]
        cache = DynamicCache(config=model.config)
        model(
            input_ids=torch.tensor(ids, device=device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self.model, self.count, self.step = model, count, 0
        self.prompts: list[list[Tensor]] = [[layer.keys, layer.values] for layer in cache.layers]
        self.samples: list[list[Tensor]] = []
        padding = torch.arange(width, device=device) >= lengths[:, None]
        bias = self.prompts[0][0].new_zeros(padding.shape).masked_fill_(padding, float("-inf"))
        self.bias = bias[:, None, None].repeat(1, self.prompts[0][0].shape[1], 1, 1)
        self.positions = lengths.repeat_interleave(count)
        self._assign_rows(
            torch.arange(len(prompts), device=device).repeat_interleave(count),
            torch.arange(count, device=device).repeat(len(prompts)),
        )

    def logits(self, tokens: Int[Tensor, "row"]) -> Float[Tensor, "row vocab"]:
        """Logits of what follows the rows' next tokens."""
        config = self.model.config
        implementation = config._attn_implementation
        config._attn_implementation = ATTENTION
        try:
            output = self.model(
                input_ids=tokens[:, None],
                position_ids=self.positions[:, None],
                use_cache=False,
                logits_to_keep=1,
                shared_prompts=self,
            )
        finally:
            config._attn_implementation = implementation
        self.step += 1
        self.positions = self.positions + 1
        logits: Tensor = output.logits[:, -1]
        return logits

    def attend(
        self,
        layer: int,
        query: Float[Tensor, "row head dim"],
        key: Float[Tensor, "row kvhead dim"],
        value: Float[Tensor, "row kvhead dim"],
    ) -> Float[Tensor, "row head dim"]:
        """The attention output of the rows over their prompt and their own tokens; the query is scaled."""
        sample_keys, sample_values = self._append(layer, key, value)
        prompt_keys, prompt_values = (tensor.flatten(0, 1) for tensor in self.prompts[layer])
        rows, heads, dim = key.shape
        query = query.reshape(rows, heads, -1, dim)
        grouped_query = self._group_by_prompt(query)
        prompt_scores = self._ungroup(
            torch.baddbmm(self.bias.flatten(0, 1), grouped_query, prompt_keys.mT), heads
        )
        sample_scores = torch.bmm(sample_keys, query.flatten(0, 1).mT).mT.reshape(*query.shape[:3], -1)
        weights = torch.cat([prompt_scores, sample_scores], -1).softmax(-1)
        prompt_weights, sample_weights = weights.split([prompt_scores.shape[-1], sample_scores.shape[-1]], -1)
        output = self._ungroup(torch.bmm(self._group_by_prompt(prompt_weights), prompt_values), heads)
        output += torch.bmm(sample_weights.flatten(0, 1), sample_values).view_as(output)
        return output.flatten(1, 2)

    def keep(self, active: Bool[Tensor, "row"]) -> Int[Tensor, "left"]:
        """Drops ended rows and unused prompts; returns the indices of the remaining rows, in order."""
        if active.all():
            return torch.arange(len(active), device=active.device)
        rows, holes, moved = _compact(active)
        for buffer in (buffer for pair in self.samples for buffer in pair):
            written = buffer[:, :, : self.step]
            written[holes] = written[moved]
        self.positions = self.positions[rows]
        prompt, sample = self.prompt[rows], self.sample[rows]
        needed = torch.zeros(len(self.bias), dtype=torch.bool, device=active.device)
        needed[prompt] = True
        order, holes, moved = _compact(needed)
        for buffer in (self.bias, *(buffer for pair in self.prompts for buffer in pair)):
            buffer[holes] = buffer[moved]
        self.bias = self.bias[: len(order)]
        self.prompts = [[buffer[: len(order)] for buffer in pair] for pair in self.prompts]
        new_index = torch.zeros(len(needed), dtype=torch.long, device=active.device)
        new_index[order] = torch.arange(len(order), device=active.device)
        self._assign_rows(new_index[prompt], sample)
        return rows

    def _assign_rows(self, prompt: Int[Tensor, "row"], sample: Int[Tensor, "row"]) -> None:
        """Sets the prompt and the sample number of each row."""
        self.prompt, self.sample = prompt, sample
        self.row = torch.zeros(len(self.bias), self.count, dtype=torch.long, device=prompt.device)
        self.row[prompt, sample] = torch.arange(len(prompt), device=prompt.device)

    def _group_by_prompt(
        self, tensor: Float[Tensor, "row kvhead group n"]
    ) -> Float[Tensor, "prompt_kvhead query n"]:
        """Groups the rows by prompt; an ended sample is filled with an arbitrary row."""
        return tensor[self.row].transpose(1, 2).flatten(2, 3).flatten(0, 1)

    def _ungroup(
        self, tensor: Float[Tensor, "prompt_kvhead query n"], heads: int
    ) -> Float[Tensor, "row kvhead group n"]:
        """The inverse of `_group_by_prompt`, for the active rows."""
        by_sample = tensor.view(len(self.bias), heads, self.count, -1, tensor.shape[-1])
        return by_sample[self.prompt, :, self.sample]

    def _append(self, layer: int, key: Tensor, value: Tensor) -> list[Float[Tensor, "row_kvhead step dim"]]:
        """Appends key and value of the new token; returns keys and values of all tokens of the samples."""
        rows, heads, dim = key.shape
        if layer == len(self.samples):
            self.samples.append([tensor.new_empty(rows, heads, ROOM, dim) for tensor in (key, value)])
        elif self.step == self.samples[layer][0].shape[2]:
            self.samples[layer] = [
                torch.cat([tensor[:rows], torch.empty_like(tensor[:rows])], 2)
                for tensor in self.samples[layer]
            ]
        for buffer, new in zip(self.samples[layer], (key, value), strict=True):
            buffer[:rows, :, self.step] = new
        return [tensor[:rows].flatten(0, 1)[:, : self.step + 1] for tensor in self.samples[layer]]


def _compact(
    active: Bool[Tensor, "all"],
) -> tuple[Int[Tensor, "left"], Int[Tensor, "hole"], Int[Tensor, "hole"]]:
    """How to move the active rows to the first places.

    Returns:
        The indices of the active rows in their new order; the ended rows among the first places; the active
        rows that move there.
    """
    left = int(active.sum())
    holes = (~active[:left]).nonzero()[:, 0]
    moved = left + active[left:].nonzero()[:, 0]
    order = torch.arange(left, device=active.device)
    order[holes] = moved
    return order, holes, moved


def _attention(module: Any, query: Tensor, key: Tensor, value: Tensor, *_: Any, **options: Any) -> Any:
    """Attention of single tokens with the signature that transformers calls."""
    query, key, value = (tensor[:, :, 0] for tensor in (query * options["scaling"], key, value))
    return options["shared_prompts"].attend(module.layer_idx, query, key, value)[:, None], None


AttentionInterface.register(ATTENTION, _attention)


class RepeatedPrompts:
    """The cache of transformers, repeated for each sample. Prompts are padded on the left."""

    def __init__(self, model: Any, prompts: Sequence[list[int]], count: int) -> None:
        self.model = model
        width = max(2, max(map(len, prompts)))
        ids = [prompt[:1] * (width - len(prompt)) + prompt[:-1] for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * (len(prompt) - 1) for prompt in prompts]
        self.mask = torch.tensor(mask, device=model.device)
        self.cache = DynamicCache(config=model.config)
        self._forward(torch.tensor(ids, device=model.device), (self.mask.cumsum(-1) - 1).clamp(min=0))
        self.cache.batch_repeat_interleave(count)
        self.mask = self.mask.repeat_interleave(count, 0)

    def logits(self, tokens: Int[Tensor, "row"]) -> Float[Tensor, "row vocab"]:
        """Logits of what follows the rows' next tokens."""
        self.mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], 1)
        return self._forward(tokens[:, None], self.mask.sum(-1, keepdim=True) - 1)

    def keep(self, active: Bool[Tensor, "row"]) -> Int[Tensor, "left"]:
        """Drops ended rows once they are many; returns the indices of the remaining rows, in order."""
        if active.sum() > COMPACT_BELOW * len(active):
            return torch.arange(len(active), device=active.device)
        rows = active.nonzero()[:, 0]
        self.cache.batch_select_indices(rows)
        self.mask = self.mask[rows]
        return rows

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        output = self.model(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1]
        return logits
