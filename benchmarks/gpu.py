"""Time and memory on a GPU, measured in one run: `python -m benchmarks.gpu` writes `gpu.json`.

Llamas with random weights read generated comparisons in the lengths of Helpful&Harmless. The optimizer steps
are those of the stages: bf16 layers, float32 weights. `--tiny --out FILE` runs all jobs on any machine in a
minute, as a test of the command.
"""

import argparse
import gc
import itertools
import json
import os
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import logsigmoid
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, __version__

from apo.language.tokenizer import train_tokenizer
from apo.model import runtime
from apo.model.batching import packed_length
from apo.model.encoders import reward_encoder
from apo.model.encoding import ResponseSet
from apo.model.reward_model import RewardModel
from apo.model.settings import Model
from apo.reward.train import RankedResponses, train_reward_model
from apo.scoring.rewards import rewards_of
from benchmarks.data import READING, VOCAB_SIZE, made_up, texts_of, with_others
from benchmarks.flops import reward_flops
from benchmarks.jobs import SEED, Training, adamw, padded, update
from benchmarks.ours import NoCheckpoints
from benchmarks.pages import write_between
from benchmarks.plain import by_length
from benchmarks.sampling import SETTINGS, prompt_ids, sample_tokens

RESULTS = Path(__file__).with_name("gpu.json")
PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
BEGIN, END = "<!-- made by python -m benchmarks.gpu -->\n", "<!-- end of gpu -->\n"
SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
SHAPES = {"tiny": (64, 2, 4, 128), "1B": (2048, 16, 32, 8192), "7B": (4096, 32, 32, 11008)}  # see SIZES


class Bench:
    """The device, the texts and the models of all jobs."""

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
        """A reward model with random weights on the device."""
        torch.manual_seed(SEED)
        with torch.device(self.device):
            return RewardModel(LlamaForSequenceClassification(self.config(shape)), self.encoder)

    def items(self, rows: int, responses: int) -> list[ResponseSet]:
        """Encoded queries with that many responses."""
        texts = with_others(self.texts[: max(8, rows // (12 if self.tiny else 1))], responses, seed=SEED)
        return list(self.encoder.items(texts, Counter(), where="made up"))

    def timed(self, run: Callable[[], Any], *, repeats: int = 3) -> dict[str, float]:
        """The median time of some runs after a warm-up, and the peak memory of the device."""
        cuda = self.device.type == "cuda"
        seconds = []
        run()
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        for _ in range(repeats):
            if cuda:
                torch.cuda.synchronize()
            start = time.perf_counter()
            run()
            if cuda:
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
        peak = torch.cuda.max_memory_allocated() / 2**30 if cuda else 0.0
        return {"seconds": sorted(seconds)[repeats // 2], "peak_gib": peak}


def matmul(bench: Bench) -> dict[str, float]:
    """Operations per second in products of two large bf16 matrices."""
    side = 256 if bench.tiny else 8192
    left, right = torch.randn(2, side, side, device=bench.device, dtype=torch.bfloat16).unbind()
    return {"flops": 20 * 2 * side**3 / bench.timed(lambda: [left @ right for _ in range(20)])["seconds"]}


def training(
    bench: Bench, *, rows: int, responses: int, shape: str = "1B", repeats: int = 3
) -> dict[str, float]:
    """Pairs, or golden > samples, by `train_reward_model`."""
    job = Training(bench.items(rows, responses), responses > 2)
    model = bench.reward_model(shape)
    scores = [1.0] + [0.0] * (responses - 1)
    data = [RankedResponses(item, scores, is_adversarial=job.is_apo) for item in job.items]

    def run() -> None:
        options: dict[str, Any] = {"coeff": job.weight, "seed": SEED, "checkpoints": NoCheckpoints()}
        train_reward_model(model, data, job.settings, desc="", **options)

    return bench.timed(run, repeats=repeats) | counted(model, job.items, times=3)


def large_training(bench: Bench) -> dict[str, float]:
    """An optimizer step of a 7B model."""
    os.environ["APO_GRADIENT_CHECKPOINTING"] = "1"
    try:
        return training(bench, rows=64, responses=2, shape="7B", repeats=1)
    finally:
        del os.environ["APO_GRADIENT_CHECKPOINTING"]


def plain_training(bench: Bench, *, rows: int, responses: int) -> dict[str, float]:
    """The same steps in a careful loop over separate texts, with the same autocast, budget and optimizer."""
    job = Training(bench.items(rows, responses), responses > 2)
    model = bench.reward_model("1B")
    classifier = model.classifier.train()
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

    return bench.timed(run) | counted(model, job.items, times=3)


def scoring(bench: Bench) -> dict[str, float]:
    """Four responses to every query by `rewards_of`."""
    items, model = bench.items(1000, 4), bench.reward_model("1B").eval()
    return bench.timed(lambda: list(rewards_of(model, items, desc=""))) | counted(model, items, times=1)


def counted(model: RewardModel, items: list[ResponseSet], *, times: int) -> dict[str, float]:
    """Queries, their tokens as packed sequences and as separate texts, and operations of the former."""
    config = model.classifier.config
    return {
        "queries": len(items),
        "tree_tokens": sum(map(packed_length, items)),
        "text_tokens": sum(item.unpacked_tokens for item in items),
        "flop": times * sum(reward_flops(config, item, last_tokens=True) for item in items),
    }


def sampling(bench: Bench, *, ours: bool) -> dict[str, float]:
    """Four responses to every query, by this project or by `generate` with 64 prompts per batch."""
    torch.manual_seed(SEED)
    with torch.device(bench.device):
        model = LlamaForCausalLM(bench.config("1B")).eval()
    prompts = [prompt_ids(bench.tokenizer, query) for query, _ in bench.texts[: 4 if bench.tiny else 128]]
    tokens = 0

    def by_project() -> None:
        nonlocal tokens
        tokens = sample_tokens(model, prompts)

    @torch.inference_mode()
    def by_generate() -> None:
        nonlocal tokens
        tokens, pad = 0, bench.tokenizer.pad_token_id
        for start in range(0, len(prompts), 64):
            batch = prompts[start : start + 64]
            width = max(map(len, batch))
            ids = torch.tensor(
                [[pad] * (width - len(prompt)) + prompt for prompt in batch], device=bench.device
            )
            options = {
                "do_sample": True,
                "temperature": SETTINGS.temperature,
                "top_k": 0,
                "pad_token_id": pad,
            }
            options |= {"num_return_sequences": 4, "max_new_tokens": SETTINGS.max_new_tokens}
            with runtime.autocast(bench.device):
                drawn = model.generate(input_ids=ids, attention_mask=(ids != pad).long(), **options)
            tokens += int(((drawn[:, width:] == model.config.eos_token_id).cumsum(-1) == 0).sum())

    measured = bench.timed(by_project if ours else by_generate, repeats=1)
    return measured | {"tokens": tokens, "tokens_per_second": tokens / measured["seconds"]}


def agreement(bench: Bench) -> dict[str, float]:
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


JOBS: dict[str, Callable[[Bench], dict[str, float]]] = {
    "bf16 matmul": matmul,
    "rewards against the CPU": agreement,
    "RM training, pairs": lambda bench: training(bench, rows=512, responses=2),
    "RM training, pairs, plain loop": lambda bench: plain_training(bench, rows=512, responses=2),
    "APO training, golden + 4": lambda bench: training(bench, rows=128, responses=5),
    "APO training, golden + 4, plain loop": lambda bench: plain_training(bench, rows=128, responses=5),
    "scoring, 4 samples": scoring,
    "sampling": lambda bench: sampling(bench, ours=True),
    "sampling, generate": lambda bench: sampling(bench, ours=False),
    "RM training, pairs, 7B, gradient checkpointing": large_training,
}


def table(results: dict[str, Any]) -> str:
    """The table of the results in docs/scale.md."""
    jobs, rate = results["jobs"], results["jobs"]["bf16 matmul"]["flops"]
    agreement = jobs["rewards against the CPU"]
    lines = [
        f"{results['device']}, torch {results['torch']}, transformers {results['transformers']}, "
        f"{results['precision']}, micro-batches of {results['token_budget']:,} tokens. A bf16 product of two "
        f"8192 x 8192 matrices runs at {rate / 1e12:.0f} TFLOP/s. The rewards of a small model differ from "
        f"those of the CPU in float32 by {agreement['largest_difference']:.4f} at most; their standard "
        f"deviation is {agreement['spread']:.3f}.",
        "",
        "| job | queries | seconds | tokens of texts a second | fraction of the rate | peak GiB |",
        "|---|---|---|---|---|---|",
    ]
    for name, job in jobs.items():
        if "error" in job:
            lines.append(f"| {name} | failed: {job['error']} | | | | |")
        elif "seconds" in job:
            tokens = (job["text_tokens"] if "text_tokens" in job else job["tokens"]) / job["seconds"]
            fraction = f"{job['flop'] / job['seconds'] / rate:.2f}" if "flop" in job else ""
            cells = [name, job.get("queries", ""), f"{job['seconds']:.2f}", f"{tokens:,.0f}", fraction]
            lines.append(f"| {' | '.join(map(str, cells))} | {job['peak_gib']:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Runs every job; the error of a failed job is recorded and the next job starts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="tiny models, on any device")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if not arguments.tiny and not torch.cuda.is_available():
        raise SystemExit("benchmarks.gpu: no GPU; --tiny --out FILE tries the command on a CPU")
    bench = Bench(tiny=arguments.tiny)
    name = torch.cuda.get_device_name() if bench.device.type == "cuda" else "CPU"
    results: dict[str, Any] = {
        "device": name,
        "torch": torch.__version__,
        "transformers": __version__,
        "precision": runtime.precision(bench.device),
        "token_budget": runtime.token_budget(),
        "jobs": {},
    }
    for job, run in JOBS.items():
        try:
            results["jobs"][job] = run(bench)
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            results["jobs"][job] = {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
        gc.collect()
        if bench.device.type == "cuda":
            torch.cuda.empty_cache()
        print(job, json.dumps(results["jobs"][job]), flush=True)
        arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if arguments.out == RESULTS:
        write_between(PAGE, BEGIN, END, table(results))


if __name__ == "__main__":
    main()
