"""The jobs of `python -m benchmarks.gpu` that run in its own process, and what all its jobs share.

A job is a function of a `Bench` that returns its measurements: `seconds` (the median of its repeats) and
`peak_gib` (memory of the device in GiB), and what was processed in this time. A job that can't run here
returns `not_measured`, the reason.
"""

import gc
import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch.nn.functional import logsigmoid
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from apo.language.tokenizer import train_tokenizer
from apo.model import runtime
from apo.model.batching import packed_length
from apo.model.encoders import reward_encoder
from apo.model.encoding import ResponseSet
from apo.model.reward_model import RewardModel
from apo.model.settings import Model
from apo.scoring.rewards import rewards_of
from benchmarks.data import READING, VOCAB_SIZE, made_up, texts_of, with_others
from benchmarks.flops import reward_flops
from benchmarks.jobs import SEED, Training, adamw, padded, update
from benchmarks.ours import optimizer_steps
from benchmarks.plain import by_length
from benchmarks.sampling import SETTINGS, prompt_ids, sample_tokens

Result = dict[str, Any]

SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
SHAPES = {"tiny": (64, 2, 2, 128), "1B": (2048, 16, 32, 8192), "7B": (4096, 32, 32, 11008)}  # see SIZES
PROMPTS = 128  # of a sampling job
WARM_UP = SETTINGS.model_copy(update={"max_new_tokens": 32})


class Bench:
    """The device, the texts and the models of all jobs.

    Args:
        tiny: Whether models and data are so small that a CPU runs every job in seconds.
    """

    def __init__(self, *, tiny: bool) -> None:
        self.device = runtime.set_up()
        self.tiny = tiny
        self.texts = list(itertools.islice(made_up(SEED), 100 if tiny else 4000))
        self.tokenizer = train_tokenizer(
            (f"{q} {r}" for q, rs in self.texts for r in rs), vocab_size=VOCAB_SIZE
        )
        self.encoder = reward_encoder(self.tokenizer, Model(**READING), where="gpu")

    def config(self, shape: str) -> LlamaConfig:
        """The configuration of a model of this size."""
        sizes = dict(zip(SIZES, SHAPES["tiny" if self.tiny else shape], strict=True))
        special = {
            f"{name}_token_id": getattr(self.tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")
        }
        return LlamaConfig(vocab_size=len(self.tokenizer), num_labels=1, **sizes, **special)

    def reward_model(self, shape: str) -> RewardModel:
        """A reward model with random float32 weights on the device."""
        torch.manual_seed(SEED)
        with torch.device(self.device):
            return RewardModel(LlamaForSequenceClassification(self.config(shape)), self.encoder)

    def language_model(self, shape: str) -> LlamaForCausalLM:
        """A language model with random float32 weights on the device, in evaluation mode."""
        torch.manual_seed(SEED)
        with torch.device(self.device):
            return LlamaForCausalLM(self.config(shape)).eval()

    def items(self, rows: int, responses: int) -> list[ResponseSet]:
        """Encoded queries with that many responses; a twelfth of the rows, at least 8, if tiny."""
        texts = with_others(self.texts[: max(8, rows // (12 if self.tiny else 1))], responses, seed=SEED)
        return list(self.encoder.items(texts, Counter(), where="made up"))

    def prompts(self) -> list[list[int]]:
        """The token ids of the queries of a sampling job."""
        return [prompt_ids(self.tokenizer, query) for query, _ in self.texts[: 4 if self.tiny else PROMPTS]]

    def timed(
        self, run: Callable[[], Any], *, warm_up: Callable[[], Any] | None = None, repeats: int = 3
    ) -> Result:
        """`seconds`, the median of the runs after a warm-up, and `peak_gib` of the device in them.

        Args:
            run: What is timed.
            warm_up: What runs before it; `run` itself by default.
            repeats: Number of timed runs.
        """
        cuda = self.device.type == "cuda"
        seconds = []
        (warm_up or run)()
        gc.collect()
        if cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        for _ in range(repeats):
            start = time.perf_counter()
            run()
            if cuda:
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
        return {"seconds": sorted(seconds)[repeats // 2], "peak_gib": self.peak_gib()}

    def peak_gib(self) -> float:
        """The peak memory of the device since the last reset in GiB; 0 on a CPU."""
        return torch.cuda.max_memory_allocated() / 2**30 if self.device.type == "cuda" else 0.0


def matmul(bench: Bench) -> Result:
    """Operations per second in products of two large bf16 matrices."""
    side = 256 if bench.tiny else 8192
    left, right = torch.randn(2, side, side, device=bench.device, dtype=torch.bfloat16).unbind()
    return {"flops": 20 * 2 * side**3 / bench.timed(lambda: [left @ right for _ in range(20)])["seconds"]}


def training(bench: Bench, *, rows: int, responses: int, shape: str = "1B", repeats: int = 3) -> Result:
    """Pairs, or golden > samples, by `train_reward_model`."""
    job = Training(bench.items(rows, responses), responses > 2)
    model = bench.reward_model(shape)
    measured = bench.timed(lambda: optimizer_steps(model, job), repeats=repeats)
    return measured | counted(bench.config(shape), job.items, times=3)


def large_training(bench: Bench) -> Result:
    """An optimizer step of a 7B model with gradient checkpointing."""
    os.environ["APO_GRADIENT_CHECKPOINTING"] = "1"
    try:
        return training(bench, rows=64, responses=2, shape="7B", repeats=1)
    finally:
        del os.environ["APO_GRADIENT_CHECKPOINTING"]


def plain_training(bench: Bench, *, rows: int, responses: int) -> Result:
    """The same steps in a careful loop over separate texts, with the same autocast, budget and optimizer."""
    job = Training(bench.items(rows, responses), responses > 2)
    classifier = bench.reward_model("1B").classifier.train()
    optimizer = adamw(classifier, job.settings)
    budget = runtime.token_budget()

    def run() -> None:
        for items in job.steps():
            pairs = sum(len(item.responses) - 1 for item in items)
            for indices in by_length([item.longest * len(item.responses) for item in items], budget):
                micro_batch = [items[i] for i in indices]
                texts = [text for item in micro_batch for text in texts_of(item)]
                batch = padded(texts, length=max(map(len, texts)), pad_id=bench.tokenizer.pad_token_id)
                on_device = {name: tensor.to(bench.device) for name, tensor in batch.items()}
                with runtime.autocast(bench.device):
                    logits = classifier(**on_device, use_cache=False).logits
                rewards = logits.float().view(len(micro_batch), -1)
                (-job.weight * logsigmoid(rewards[:, :1] - rewards[:, 1:]).sum() / pairs).backward()
            update(classifier, optimizer, job.settings)

    return bench.timed(run) | counted(bench.config("1B"), job.items, times=3)


def scoring(bench: Bench) -> Result:
    """Four responses to every query by `rewards_of`."""
    items, model = bench.items(1000, 4), bench.reward_model("1B").eval()
    measured = bench.timed(lambda: list(rewards_of(model, items, desc="")))
    return measured | counted(bench.config("1B"), items, times=1)


def counted(config: LlamaConfig, items: Sequence[ResponseSet], *, times: int) -> Result:
    """Queries, their tokens as packed sequences and as separate texts, and operations of the former."""
    return {
        "queries": len(items),
        "tree_tokens": sum(map(packed_length, items)),
        "text_tokens": sum(item.unpacked_tokens for item in items),
        "flop": times * sum(reward_flops(config, item, last_tokens=True) for item in items),
    }


def sampling(bench: Bench) -> Result:
    """Four responses to every query by the transformers backend of this project."""
    model, prompts, tokens = bench.language_model("1B"), bench.prompts(), 0

    def run() -> None:
        nonlocal tokens
        tokens = sample_tokens(model, prompts)

    warm_up = partial(sample_tokens, model, prompts[:8], WARM_UP)
    return with_tokens(bench.timed(run, warm_up=warm_up, repeats=1), tokens)


def sampling_by_generate(bench: Bench) -> Result:
    """Four responses to every query by `generate` of transformers, with 64 prompts per batch."""
    model, prompts, pad, tokens = bench.language_model("1B"), bench.prompts(), bench.tokenizer.pad_token_id, 0

    @torch.inference_mode()
    def generate(batch: list[list[int]], new_tokens: int) -> int:
        width = max(map(len, batch))
        ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in batch], device=bench.device)
        options = {"do_sample": True, "temperature": SETTINGS.temperature, "top_k": 0, "pad_token_id": pad}
        options |= {"num_return_sequences": SETTINGS.num_samples, "max_new_tokens": new_tokens}
        with runtime.autocast(bench.device):
            drawn = model.generate(input_ids=ids, attention_mask=(ids != pad).long(), **options)
        return int(((drawn[:, width:] == model.config.eos_token_id).cumsum(-1) == 0).sum())

    def run() -> None:
        nonlocal tokens
        batches = (prompts[start : start + 64] for start in range(0, len(prompts), 64))
        tokens = sum(generate(batch, SETTINGS.max_new_tokens) for batch in batches)

    warm_up = partial(generate, prompts[:8], WARM_UP.max_new_tokens)
    return with_tokens(bench.timed(run, warm_up=warm_up, repeats=1), tokens)


def with_tokens(measured: Result, tokens: int) -> Result:
    """The measurements of a sampling job with its drawn tokens, end tokens not counted."""
    return measured | {"tokens": tokens, "tokens_per_second": tokens / measured["seconds"]}


def agreement(bench: Bench) -> Result:
    """The largest difference of a reward from that of the CPU in float32."""
    items = bench.items(64, 4)
    model = bench.reward_model("tiny").eval()

    @torch.inference_mode()
    def rewards() -> torch.Tensor:
        return torch.cat([model.rewards([item]).float().cpu().flatten() for item in items])

    on_device = rewards()
    model.classifier.cpu()
    on_cpu = rewards()
    difference = (on_device - on_cpu).abs().max().item()
    return {"largest_difference": difference, "spread": on_cpu.std().item()}
