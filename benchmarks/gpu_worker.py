"""One job of `python -m benchmarks.gpu` in this process: `python -m benchmarks.gpu_worker JOB OUT [--tiny]`.

Writes the measurements, or the error of the job, into the file OUT. The job `zero3` needs torchrun.
"""

import argparse
import contextlib
import gc
import json
import os
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from apo.core import distributed
from apo.model import runtime
from apo.model.checkpoint import save_language_model
from apo.model.reward_model import RewardModel
from apo.sampling.vllm_backend import Engine, requests
from apo.training.checkpointing import Checkpoints
from benchmarks.gpu_jobs import Bench, Result, counted, with_tokens
from benchmarks.gpu_processes import message
from benchmarks.jobs import COMPARISONS, SEED, Training
from benchmarks.ours import optimizer_steps
from benchmarks.sampling import SETTINGS, prompt_ids

ROWS = 512  # comparisons of a training
STEPS = 4  # optimizer steps with ZeRO-3, of which the first is not timed
TRL_MICRO_BATCH = 16  # comparisons: 32 texts of at most 512 tokens are the 16,384 tokens of the others
CLOSE = 0.1  # largest difference of a reward by FlexAttention, in standard deviations of the rewards


def flex_training(bench: Bench) -> Result:
    """Pairs by `train_reward_model` with FlexAttention in all layers but the last.

    Raises:
        ValueError: Its rewards are not those of the SDPA path.
    """
    from benchmarks.flex_attention import FlexRewardModel

    job = Training(bench.items(ROWS, 2), is_apo=False)
    model = bench.reward_model("1B")

    @torch.no_grad()
    def rewards(model: RewardModel) -> torch.Tensor:
        return model.eval().rewards(job.items[:32])

    by_sdpa = rewards(model)
    model = FlexRewardModel(model)
    difference, spread = (rewards(model) - by_sdpa).abs().max().item(), by_sdpa.std().item()
    result: Result = {"largest_difference": difference, "spread": spread}
    if not difference < CLOSE * spread:
        raise ValueError(f"rewards by FlexAttention differ from those by SDPA: {result}")
    if bench.device.type == "cpu":
        return result | {"not_measured": "FlexAttention has no backward pass on a CPU: it needs a GPU"}
    result |= bench.timed(lambda: optimizer_steps(model, job))
    return result | counted(bench.config("1B"), job.items, times=3)


def trl_training(bench: Bench) -> Result:
    """The same pairs and optimizer steps by `RewardTrainer` of TRL; `train()` alone is timed."""
    from benchmarks.trl_trainer import reward_trainer

    items = bench.items(ROWS, 2)
    options: dict[str, Any] = {"micro_batch": TRL_MICRO_BATCH, "on_cpu": bench.device.type == "cpu"}
    options |= {"bf16": runtime.precision(bench.device) == "bf16"}
    with tempfile.TemporaryDirectory() as folder:

        def trainer(rows: int) -> Any:
            job = Training(items[:rows], is_apo=False)
            classifier = bench.reward_model("1B").classifier
            return reward_trainer(classifier, bench.tokenizer, job, Path(folder), **options)

        timed = trainer(ROWS)
        measured = bench.timed(timed.train, warm_up=lambda: trainer(COMPARISONS).train(), repeats=1)
    return measured | counted(bench.config("1B"), items, times=3)


class _LastStep(Exception):
    """Ends a training after its last step, before its state is saved."""


def zero3_training(bench: Bench) -> Result:
    """Pairs with ZeRO-3 and offload on one GPU, by the engine of the stages; APO_DEEPSPEED is set.

    A small model is trained to its end first, with its saved state. The large model is timed from the end of
    its first step to the end of its last one; its state, three times its weights, is not saved.

    Returns:
        Also `steps` that were timed, and `host_gib`, the peak resident memory of the process in GiB.
        `seconds` are those of all timed steps together.
    """
    small = Training(bench.items(2 * COMPARISONS, 2), is_apo=False)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DVC_ROOT"] = folder
        with Checkpoints("gpu", "small").lock() as checkpoints:
            model = bench.reward_model("tiny").cpu()
            optimizer_steps(model, small, checkpoints=checkpoints)
            assert checkpoints.curve()[-1]["step"] == len(small.steps())
    rows = STEPS * COMPARISONS * (12 if bench.tiny else 1)  # more than one step, also if tiny
    job = Training(bench.items(rows, 2), is_apo=False)
    model = bench.reward_model("1B").cpu()
    gc.collect()
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    ends: list[float] = []

    def end_of_step(step: int) -> dict[str, float]:
        ends.append(time.perf_counter())  # the loop has read the loss, so the device has finished the step
        if step + 1 == len(job.steps()):
            raise _LastStep
        return {}

    with contextlib.suppress(_LastStep):
        optimizer_steps(model, job, eval_fn=end_of_step, eval_steps=1)
    timed_items = [item for items in job.steps()[1:] for item in items]
    return {
        "seconds": ends[-1] - ends[0],
        "steps": len(ends) - 1,
        "peak_gib": bench.peak_gib(),
        "host_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        **counted(bench.config("1B"), timed_items, times=3),
    }


def vllm_sampling(bench: Bench) -> Result:
    """Four responses to every query by the vLLM backend of this project.

    There is no `peak_gib`: vLLM takes its share of the memory at its start.
    """
    settings = SETTINGS.model_copy(update={"backend": "vllm"})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "llm"
        model = bench.language_model("1B")
        end = model.config.eos_token_id
        save_language_model(model, bench.tokenizer, folder, "# Random weights\n", dtype="bfloat16")
        del model
        gc.collect()
        if bench.device.type == "cuda":
            torch.cuda.empty_cache()
        prompts = bench.prompts()
        other = [prompt_ids(bench.tokenizer, query) for query, _ in bench.texts[len(prompts) :][:8]]
        drawn: list[list[int]] = []

        def batch(prompts: list[list[int]]) -> Any:
            named = [(ids, str(number)) for number, ids in enumerate(prompts)]
            return requests(named, settings, seed=SEED, ends=[end])

        with Engine(folder, settings) as engine:

            def run() -> None:
                drawn[:] = engine.answer(batch(prompts))

            measured = bench.timed(run, warm_up=lambda: engine.answer(batch(other)), repeats=1)
    del measured["peak_gib"]
    return with_tokens(measured, sum(len(ids) - (ids[-1] == end) for ids in drawn))


JOBS: dict[str, Callable[[Bench], Result]] = {
    "flex": flex_training,
    "trl": trl_training,
    "zero3": zero3_training,
    "vllm": vllm_sampling,
}


def main() -> None:
    """Runs a job and writes its measurements or its error."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    distributed.start()
    try:
        result = JOBS[arguments.job](Bench(tiny=arguments.tiny))
    except Exception as error:  # noqa: BLE001
        traceback.print_exc()
        result = {"error": message(error)}
    arguments.out.write_text(json.dumps(result), encoding="utf-8")
    if "error" in result:
        sys.exit(1)
    distributed.end()


if __name__ == "__main__":
    main()
