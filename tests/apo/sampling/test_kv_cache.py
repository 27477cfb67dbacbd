"""apo/sampling/kv_cache.py: the logits of reading every text anew, whichever rows leave, in any model."""

import copy
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

import apo.sampling.kv_cache as module
from apo.sampling.kv_cache import RepeatedPrompts, SharedPrompts, read_prompts, shares_prompts

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 3,
    "initializer_range": 0.3,  # what stands before a token counts
}
GROUPED = SIZES | {"num_key_value_heads": 2}  # two heads share keys and values
SHARING = {
    "llama": LlamaConfig(**SIZES, num_key_value_heads=4),
    "llama, heads in groups": LlamaConfig(**GROUPED),
    "qwen2": Qwen2Config(**GROUPED),
    "qwen3": Qwen3Config(**GROUPED, head_dim=16),
    "mistral": MistralConfig(**GROUPED, sliding_window=None),
    "gpt_neox": GPTNeoXConfig(**SIZES),
}
REPEATING = {
    "mistral with a window": MistralConfig(**GROUPED, sliding_window=6),
    "qwen2 with windows in its upper layers": Qwen2Config(
        **GROUPED, use_sliding_window=True, sliding_window=6, max_window_layers=1
    ),
    "gpt2": GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.3),
}
PROMPTS = [[1, 7, 8, 9, 10, 11, 12, 13, 14], [1, 20, 21], [1], [1, 30, 31, 32, 33]]


def model_of(config: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return AutoModelForCausalLM.from_config(copy.deepcopy(config)).double().eval()


def texts_after(
    memory: Any, model: Any, prompts: list[list[int]], count: int, leaving: list[list[int]]
) -> None:
    """Goes on with tokens of each row's own; before step k the rows `leaving[k]` have ended."""
    texts = [list(prompt) for prompt in prompts for _ in range(count)]
    rows, ended = list(range(len(texts))), set[int]()
    for step, end in enumerate(leaving):
        ended |= set(end)
        if end:
            kept = memory.keep(torch.tensor([row not in ended for row in rows])).tolist()
            rows = [rows[place] for place in kept]
            assert set(range(len(texts))) - ended <= set(rows)
        next_logits = memory.logits(torch.tensor([texts[row][-1] for row in rows]))
        for row, logits in zip(rows, next_logits, strict=True):
            if row not in ended:
                expected = model(input_ids=torch.tensor([texts[row]])).logits[0, -1]
                torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
            texts[row].append(4 + (17 * row + 5 * step) % 46)


LEAVING = [[], [2, 4], [], [0, 1, 9], [6, 7, 8], [], [3, 10, 11]]  # whole prompts too: the third, the first


@pytest.mark.parametrize("name", [*SHARING, *REPEATING])
@torch.inference_mode()
def test_shared_prompts_give_the_logits_of_the_text_read_anew(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROOM", 2)  # so that it grows
    model = model_of((SHARING | REPEATING)[name])
    assert shares_prompts(model) == (name in SHARING)
    memory = read_prompts(model, PROMPTS, 3)
    assert type(memory) is (SharedPrompts if name in SHARING else RepeatedPrompts)
    texts_after(memory, model, PROMPTS, 3, LEAVING)
    texts_after(read_prompts(model, PROMPTS[:1], 1), model, PROMPTS[:1], 1, [[], [], []])
    texts_after(read_prompts(model, PROMPTS[2:3], 2), model, PROMPTS[2:3], 2, [[], [0], []])


@torch.inference_mode()
def test_repeated_prompts_work_with_any_model() -> None:
    model = model_of(SHARING["llama"])
    texts_after(RepeatedPrompts(model, PROMPTS, 3), model, PROMPTS, 3, LEAVING)


def test_shares_prompts_leaves_another_attention_alone() -> None:
    model = model_of(SHARING["llama"])
    model.set_attn_implementation("eager")
    assert not shares_prompts(model)


@torch.inference_mode()
def test_shared_prompts_leave_the_model_as_before() -> None:
    """Its attention is its own between two calls and after an error, so that it can be saved and trained."""
    model = model_of(SHARING["llama"])
    memory = SharedPrompts(model, PROMPTS, 1)
    memory.logits(torch.tensor([4, 5, 6, 7]))
    assert model.config._attn_implementation == "sdpa"
    with pytest.raises(IndexError):
        memory.logits(torch.tensor([4, 5, 6, 50]))
    assert model.config._attn_implementation == "sdpa"


@torch.inference_mode()
def test_shared_prompts_hold_a_prompt_once() -> None:
    model = model_of(SHARING["llama"])
    memory = SharedPrompts(model, PROMPTS, 5)
    keys, _ = memory.prompts[0]
    assert keys.shape == (len(PROMPTS), 4, 8, 8) and keys.is_contiguous()
    memory.logits(torch.full((20,), 4))
    cached = memory.samples[0][0]
    assert cached.shape == (20, 4, module.ROOM, 8)
    for _ in range(module.ROOM - 1):
        memory.logits(torch.full((20,), 4))
    assert memory.samples[0][0] is cached
    memory.keep(torch.arange(20) >= 15)  # the samples of the last prompt
    assert memory.prompts[0][0].data_ptr() == keys.data_ptr()
    memory.logits(torch.full((5,), 4))
    assert memory.prompts[0][0].shape[0] == 1
    assert memory.samples[0][0].shape == (5, 4, 2 * module.ROOM, 8)
