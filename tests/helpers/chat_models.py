"""Tiny chat models with the chat templates of families that people use."""

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.helpers.tiny_models import TEXTS

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}


class Family(NamedTuple):
    """A chat template and the special tokens of its tokenizer.

    Attributes:
        template: Jinja text; None for none.
        special: Special tokens, the begin token first, "" for none, then the end token.
        turn_end: The token that ends a turn.
        end_in: Where that token is known as an end: tokenizer, config or generation_config.
        refuses_system: Whether it raises at system text.
    """

    template: str | None
    special: tuple[str, ...]
    turn_end: str
    end_in: str = "tokenizer"
    refuses_system: bool = False


CHATML = (
    "{% for m in messages %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/...') }}{% endif %}"
    "{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
PHI3 = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
ZEPHYR = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
QWEN3 = (
    "{% set ns = namespace(last=-1) %}"
    "{% for m in messages %}"
    "{% if m['role'] == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}{% if m['role'] != 'assistant' %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% else %}"
    "{% set text, thought = m['content'], '' %}"
    "{% if '</think>' in text %}"
    "{% set thought = text.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}"
    "{% set text = text.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{% if loop.index0 > ns.last and (loop.last or thought) %}"
    "{{ '<|im_start|>assistant\n<think>\n' + thought.strip('\n') + '\n</think>\n\n' + text.lstrip('\n') }}"
    "{% else %}{{ '<|im_start|>assistant\n' + text }}{% endif %}{{ '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ALPACA = Path("data/chat_templates/alpaca.jinja")
FAMILIES = {
    "chatml": Family(CHATML, ("", "<|im_end|>", "<|im_start|>", "<|endoftext|>"), "<|im_end|>"),
    "llama3": Family(
        LLAMA3,
        ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|eot_id|>",
        "generation_config",
    ),
    "gemma": Family(
        GEMMA,
        ("<bos>", "<eos>", "<pad>", "<start_of_turn>", "<end_of_turn>"),
        "<end_of_turn>",
        "generation_config",
        refuses_system=True,
    ),
    "mistral": Family(MISTRAL, ("<s>", "</s>", "<unk>"), "</s>", refuses_system=True),
    "phi3": Family(
        PHI3,
        ("<s>", "<|endoftext|>", "<|user|>", "<|system|>", "<|assistant|>", "<|end|>"),
        "<|end|>",
        "generation_config",
    ),
    "zephyr": Family(ZEPHYR, ("<s>", "</s>", "<unk>"), "</s>"),
    "qwen3": Family(QWEN3, ("", "<|im_end|>", "<|im_start|>", "<|endoftext|>"), "<|im_end|>", "config"),
    "alpaca": Family(ALPACA.read_text(encoding="utf-8"), ("<s>", "</s>", "<unk>"), "</s>"),
    "none": Family(None, ("<s>", "</s>", "<pad>"), "</s>"),
}


@functools.cache
def tokenizer(name: str) -> Any:
    """A byte-level BPE tokenizer with the special tokens of a family."""
    family = FAMILIES[name]
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = [token for token in family.special if token]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    inner.train_from_iterator(TEXTS, trainer)
    bos, eos = family.special[:2]
    named = {"bos_token": bos} if bos else {}
    if "<pad>" in family.special:
        named["pad_token"] = "<pad>"
    if "<unk>" in family.special:
        named["unk_token"] = "<unk>"
    # The end that the tokenizer names is another one than that of a turn, where the family ships it so.
    end = family.turn_end if family.end_in == "tokenizer" else ("<|endoftext|>" if name == "qwen3" else eos)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token=end, chat_template=family.template, **named
    )


def language_model(name: str, seed: int = 1) -> Any:
    """A Llama with random weights and the vocabulary of a family."""
    reader = tokenizer(name)
    config = LlamaConfig(
        vocab_size=len(reader),
        bos_token_id=reader.bos_token_id,
        eos_token_id=reader.eos_token_id,
        pad_token_id=reader.pad_token_id,
        **SIZES,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


def checkpoint(name: str, folder: Path) -> Path:
    """Such a model as its publisher ships it: the end of a turn stands in one place alone."""
    family, reader, model = FAMILIES[name], tokenizer(name), language_model(name)
    end = reader.convert_tokens_to_ids(family.turn_end)
    model.save_pretrained(folder)
    reader.save_pretrained(folder)
    for file in ("config.json", "generation_config.json"):
        content = json.loads((folder / file).read_text(encoding="utf-8"))
        known = family.end_in == file.removesuffix(".json")
        content["eos_token_id"] = [reader.eos_token_id, end] if known else reader.eos_token_id
        (folder / file).write_text(json.dumps(content), encoding="utf-8")
    return folder
