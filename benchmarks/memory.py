"""Measured memory of trainings beside the arithmetic of `scale.py`: `python -m benchmarks.memory`.

Trains a model of 100 million random weights for one step on the CPU in float32: in one process and sharded
between two, with all weights and with LoRA. Writes the table of docs/scale.md; takes a minute or two.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

from apo.language.tokenizer import train_tokenizer
from apo.model.checkpoint import new_language_model, save_language_model
from benchmarks.data import MAX_LENGTH, made_up_texts
from benchmarks.jobs import SEED
from benchmarks.memory_worker import COMPARISONS, QUERY, RESPONSE
from benchmarks.pages import write_between
from benchmarks.scale import PAGE, activation_bytes

BEGIN, END = "<!-- made by python -m benchmarks.memory -->\n", "<!-- end of memory -->\n"
SIZES = {
    "hidden_size": 1024,
    "num_hidden_layers": 8,
    "intermediate_size": 2816,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
}
TOKENS = 256  # of a micro-batch
PROCESSES = 2
RANK = 2  # of the adapters
LIMITS = {  # in weights; the defaults of up to 1e9 would gather all weights of a small model
    "stage3_max_live_parameters": 10**6,
    "stage3_max_reuse_distance": 10**6,
    "stage3_prefetch_bucket_size": 10**5,
    "reduce_bucket_size": 10**6,
}
# With these, glibc returns freed memory to the system at once. By default it keeps freed tensors of up to
# 32 MB, which would be measured too: several times the model here.
RETURN_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**16), "MALLOC_ARENA_MAX": "1"}
MB = 10**6


def make_backbone(folder: Path, sizes: dict[str, int]) -> int:
    """Writes a checkpoint with random weights; returns their number."""
    texts = made_up_texts(50, seed=SEED)
    tokenizer = train_tokenizer((f"{q} {r}" for q, rs in texts for r in rs), vocab_size=400)
    model = new_language_model(
        tokenizer, seed=SEED, rope_theta=10000.0, max_position_embeddings=2 * MAX_LENGTH, **sizes
    )
    save_language_model(model, tokenizer, folder / "backbone", "# A model with random weights\n")
    return sum(parameter.numel() for parameter in model.parameters())


def measured(folder: Path, key: str, *, parted: bool, rank: int) -> list[dict[str, int]]:
    """Peak memory of each process of a training, in bytes.

    Args:
        folder: The folder that has `backbone`.
        key: Name of the training.
        parted: Whether it is sharded between two processes by ZeRO-3.
        rank: Rank of the adapters; 0 for all weights.
    """
    worker = ["-m", "benchmarks.memory_worker", str(folder), key, str(rank)]
    cpu = {"APO_DEVICE": "cpu", "DS_ACCELERATOR": "cpu", "APO_PRECISION": "float32"}
    threads = {"APO_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    memory = {"APO_TOKEN_BUDGET": str(TOKENS), "APO_GRADIENT_CHECKPOINTING": "1"}
    environment = os.environ | cpu | threads | memory | RETURN_MEMORY
    environment |= {"DVC_ROOT": str(folder), "APO_DEEPSPEED": ""}
    command = [sys.executable, *worker]
    if parted:
        config = {"zero_optimization": {"stage": 3} | LIMITS}
        (folder / "zero3.json").write_text(json.dumps(config), encoding="utf-8")
        environment |= {"APO_DEEPSPEED": str(folder / "zero3.json")}
        launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(PROCESSES)]
        command = [sys.executable, "-m", *launcher, *worker]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"{key}-*.json"))]


def counted(weights: int, activations: float, *, processes: int, trained: int, writes: bool) -> float:
    """Bytes by the arithmetic of `scale.py`: 4 per frozen weight, 16 per trained weight, all sharded.

    Args:
        weights: Number of weights.
        activations: Bytes of activations.
        processes: Number of processes.
        trained: Number of trained weights.
        writes: Whether the process gathers the checkpoint: weights and both moments.
    """
    states = (4 * (weights - trained) + 16 * trained) / processes
    return states + activations + (12 * trained if writes and processes > 1 else 0)


def adapter_weights(sizes: dict[str, int], rank: int) -> int:
    """Number of weights of the adapters A and B of all linear layers, and of the head."""
    hidden, inner = sizes["hidden_size"], sizes["intermediate_size"]
    return rank * sizes["num_hidden_layers"] * (4 * 2 * hidden + 3 * (hidden + inner)) + hidden


def table(folder: Path) -> str:
    """The table of docs/scale.md."""
    weights = make_backbone(folder, SIZES)
    activations = activation_bytes(SimpleNamespace(**SIZES), TOKENS, number=4)
    lines = [
        f"{weights / 1e6:.0f} million weights in float32 ({4 * weights / MB:,.0f} MB), a step of "
        f"{COMPARISONS} comparisons of {QUERY + 2 * RESPONSE} tokens, micro-batches of {TOKENS:,} tokens "
        f"({activations / MB:.0f} MB of activations), APO_GRADIENT_CHECKPOINTING=1; MB beyond the imports.\n",
        "| training | counted | measured: resident | of it private |",
        "|---|---|---|---|",
    ]
    for desc, rank in (("all weights", 0), ("LoRA", RANK)):
        trained = adapter_weights(SIZES, rank) if rank else weights
        for sharding, processes in (("one process", 1), ("ZeRO-3", PROCESSES)):
            peaks = measured(folder, f"{rank}-{processes}", parted=processes > 1, rank=rank)
            for index, peak in enumerate(peaks):
                process = f", process {index + 1} of {processes}" if processes > 1 else ""
                arithmetic = counted(
                    weights, activations, processes=processes, trained=trained, writes=index == 0
                )
                cells = [arithmetic, peak["resident"], peak["private"]]
                numbers = " | ".join(f"{cell / MB:,.0f}" for cell in cells)
                lines.append(f"| {desc}, {sharding}{process} | {numbers} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures and writes."""
    with tempfile.TemporaryDirectory() as temporary:
        text = table(Path(temporary))
    write_between(PAGE, BEGIN, END, text)
    print(text)


if __name__ == "__main__":
    main()
