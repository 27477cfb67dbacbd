"""Next-token logits for many samples per prompt; every prompt is read once.

`SharedPrompts` keeps the keys and values of a prompt once for all its samples. They attend to them together,
and each to what it added itself, which is written in place: an attention function of its own, for the models
that are known to need nothing else. `RepeatedPrompts` gives each sample of any other model its own copy, with
the same result. Both read all tokens of a prompt but the last: it is the first token of its samples.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import AttentionInterface, DynamicCache
from transformers.cache_utils import DynamicLayer

SHARING = ("gpt_neox", "llama", "mistral", "qwen2", "qwen3")  # each is tested against plain reading
ROOM = 32  # tokens that a sample has room for at first; doubled whenever it is full
LEAVE = 0.75  # copies are dropped when fewer than this part of the samples go on
ATTENTION = "apo_shared_prompts"


def shares_prompts(model: Any) -> bool:
    """Whether all samples of a prompt use one copy of its keys and values."""
    config = model.config
    full = all(type(layer) is DynamicLayer for layer in DynamicCache(config=config).layers)  # no window
    return full and config.model_type in SHARING and config._attn_implementation == "sdpa"


def read_prompts(model: Any, prompts: Sequence[list[int]], count: int) -> "SharedPrompts | RepeatedPrompts":
    """The prompts with `count` samples each; the rows of a prompt follow each other."""
    return (SharedPrompts if shares_prompts(model) else RepeatedPrompts)(model, prompts, count)


class SharedPrompts:
    """Keys and values of the prompts, and of what their samples added.

    Row r is a sample that goes on: number `sample[r]` of `prompt[r]`. Prompts are padded on the right, where
    no token of a causal model sees it; `bias` is -inf there. Per layer there are keys and values of the
    prompts, "prompt kvhead tok dim", and of the samples, "row kvhead room dim".
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
        self._place(
            torch.arange(len(prompts), device=device).repeat_interleave(count),
            torch.arange(count, device=device).repeat(len(prompts)),
        )

    def logits(self, tokens: Int[Tensor, "row"]) -> Float[Tensor, "row vocab"]:
        """Logits of what follows the rows' next tokens."""
        config = self.model.config
        usual = config._attn_implementation
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
            config._attn_implementation = usual
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
        """What the rows read from their prompts and from themselves; scores are query times key."""
        own_keys, own_values = self._written(layer, key, value)
        prompt_keys, prompt_values = (x.flatten(0, 1) for x in self.prompts[layer])
        rows, heads, dim = key.shape
        query = query.reshape(rows, heads, -1, dim)
        asked = self._together(query)
        seen = self._apart(torch.baddbmm(self.bias.flatten(0, 1), asked, prompt_keys.mT), heads)
        own = torch.bmm(own_keys, query.flatten(0, 1).mT).mT.reshape(*query.shape[:3], -1)
        weights = torch.cat([seen, own], -1).softmax(-1)
        to_prompt, to_own = weights.split([seen.shape[-1], own.shape[-1]], -1)
        found = self._apart(torch.bmm(self._together(to_prompt), prompt_values), heads)
        found += torch.bmm(to_own.flatten(0, 1), own_values).view_as(found)
        return found.flatten(1, 2)

    def keep(self, going: Bool[Tensor, "row"]) -> Int[Tensor, "left"]:
        """Drops the other rows and the prompts without rows; gives which rows are left, in order."""
        if going.all():
            return torch.arange(len(going), device=going.device)
        kept, holes, moved = _packed(going)
        for buffer in (buffer for pair in self.samples for buffer in pair):
            used = buffer[:, :, : self.step]
            used[holes] = used[moved]
        self.positions = self.positions[kept]
        prompt, sample = self.prompt[kept], self.sample[kept]
        needed = torch.zeros(len(self.bias), dtype=torch.bool, device=going.device)
        needed[prompt] = True
        order, holes, moved = _packed(needed)
        for buffer in (self.bias, *(buffer for pair in self.prompts for buffer in pair)):
            buffer[holes] = buffer[moved]
        self.bias = self.bias[: len(order)]
        self.prompts = [[buffer[: len(order)] for buffer in pair] for pair in self.prompts]
        place = torch.zeros(len(needed), dtype=torch.long, device=going.device)
        place[order] = torch.arange(len(order), device=going.device)
        self._place(place[prompt], sample)
        return kept

    def _place(self, prompt: Int[Tensor, "row"], sample: Int[Tensor, "row"]) -> None:
        """Says whose samples the rows are."""
        self.prompt, self.sample = prompt, sample
        self.row = torch.zeros(len(self.bias), self.count, dtype=torch.long, device=prompt.device)
        self.row[prompt, sample] = torch.arange(len(prompt), device=prompt.device)

    def _together(self, x: Float[Tensor, "row kvhead group n"]) -> Float[Tensor, "prompt_kvhead asked n"]:
        """The rows of a prompt side by side; in the place of a sample that has ended any row."""
        return x[self.row].transpose(1, 2).flatten(2, 3).flatten(0, 1)

    def _apart(
        self, x: Float[Tensor, "prompt_kvhead asked n"], heads: int
    ) -> Float[Tensor, "row kvhead group n"]:
        """The way back."""
        by_sample = x.view(len(self.bias), heads, self.count, -1, x.shape[-1])
        return by_sample[self.prompt, :, self.sample]

    def _written(self, layer: int, key: Tensor, value: Tensor) -> list[Float[Tensor, "row_kvhead step dim"]]:
        """Keys and values of the rows' own tokens, the new one included."""
        rows, heads, dim = key.shape
        if layer == len(self.samples):
            self.samples.append([x.new_empty(rows, heads, ROOM, dim) for x in (key, value)])
        elif self.step == self.samples[layer][0].shape[2]:
            self.samples[layer] = [
                torch.cat([x[:rows], torch.empty_like(x[:rows])], 2) for x in self.samples[layer]
            ]
        for buffer, new in zip(self.samples[layer], (key, value), strict=True):
            buffer[:rows, :, self.step] = new
        return [x[:rows].flatten(0, 1)[:, : self.step + 1] for x in self.samples[layer]]


def _packed(
    going: Bool[Tensor, "all"],
) -> tuple[Int[Tensor, "left"], Int[Tensor, "hole"], Int[Tensor, "hole"]]:
    """What goes on, in the order in which it fills the first places; holes there; what moves there."""
    left = int(going.sum())
    holes = (~going[:left]).nonzero()[:, 0]
    moved = left + going[left:].nonzero()[:, 0]
    order = torch.arange(left, device=going.device)
    order[holes] = moved
    return order, holes, moved


def _attention(module: Any, query: Tensor, key: Tensor, value: Tensor, *_: Any, **options: Any) -> Any:
    """Attention of single tokens in the form that transformers calls."""
    query, key, value = (x[:, :, 0] for x in (query * options["scaling"], key, value))
    return options["shared_prompts"].attend(module.layer_idx, query, key, value)[:, None], None


AttentionInterface.register(ATTENTION, _attention)


class RepeatedPrompts:
    """The cache of transformers, repeated for each sample; prompts are padded on the left."""

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

    def keep(self, going: Bool[Tensor, "row"]) -> Int[Tensor, "left"]:
        """Drops the other rows once that is worth a copy; gives which rows are left, in order."""
        if going.sum() > LEAVE * len(going):
            return torch.arange(len(going), device=going.device)
        kept = going.nonzero()[:, 0]
        self.cache.batch_select_indices(kept)
        self.mask = self.mask[kept]
        return kept

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
