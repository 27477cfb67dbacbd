"""What trainings take in memory beside what `scale.py` counts: `python -m benchmarks.memory`.

Trains a model of a tenth of a billion random weights for one step on the CPU in float32, in one process and
parted between two, with all weights and with LoRA. Writes the table of docs/scale.md; a minute or two.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from apo.language.tokenizer import train_tokenizer
from apo.model.checkpoint import new_language_model, save_language_model
from benchmarks.data import MAX_LENGTH, made_up_texts
from benchmarks.jobs import SEED
from benchmarks.memory_worker import COMPARISONS, QUERY, RESPONSE
from benchmarks.scale import PAGE, activation_bytes, put_between

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
LIMITS = {  # numbers and no shares: by default up to 1e9 gathered weights stay, which is all of a small model
    "stage3_max_live_parameters": 10**6,
    "stage3_max_reuse_distance": 10**6,
    "stage3_prefetch_bucket_size": 10**5,
    "reduce_bucket_size": 10**6,
}
# Of glibc: what is freed goes back to the system at once. By default it keeps freed tensors of up to 32 MB,
# which then count as held: several times the model here.
GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": str(2**16), "MALLOC_ARENA_MAX": "1"}
MB = 10**6


def make_backbone(folder: Path, sizes: dict[str, int]) -> int:
    """A checkpoint with random weights; how many."""
    texts = made_up_texts(50, seed=SEED)
    tokenizer = train_tokenizer((f"{q} {r}" for q, rs in texts for r in rs), vocab_size=400)
    model = new_language_model(
        tokenizer, seed=SEED, rope_theta=10000.0, max_position_embeddings=2 * MAX_LENGTH, **sizes
    )
    save_language_model(model, tokenizer, folder / "backbone", "# A model with random weights\n")
    return sum(parameter.numel() for parameter in model.parameters())


def measured(folder: Path, key: str, *, parted: bool, rank: int) -> list[dict[str, int]]:
    """Bytes of each process of a training.

    Args:
        folder: With `backbone`.
        parted: Between two processes, by ZeRO-3.
        rank: Of the adapters, 0 for all weights.
    """
    worker = ["-m", "benchmarks.memory_worker", str(folder), key, str(rank)]
    cpu = {"APO_DEVICE": "cpu", "DS_ACCELERATOR": "cpu", "APO_PRECISION": "float32"}
    threads = {"APO_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    memory = {"APO_TOKEN_BUDGET": str(TOKENS), "APO_GRADIENT_CHECKPOINTING": "1"}
    environment = os.environ | cpu | threads | memory | GIVEN_BACK
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
    """Bytes by the arithmetic of `scale.py`: 4 a frozen weight, 16 a trained one, all of it parted.

    Args:
        trained: Of the weights.
        writes: Whether this is the process that gathers a state: weights and both moments.
    """
    held = (4 * (weights - trained) + 16 * trained) / processes
    return held + activations + (12 * trained if writes and processes > 1 else 0)


def adapter_weights(sizes: dict[str, int], rank: int) -> int:
    """A and B of all linear layers, and the head."""
    hidden, inner = sizes["hidden_size"], sizes["intermediate_size"]
    return rank * sizes["num_hidden_layers"] * (4 * 2 * hidden + 3 * (hidden + inner)) + hidden


def table(folder: Path) -> str:
    """What stands between the markers of docs/scale.md."""
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
        for where, processes in (("one process", 1), ("ZeRO-3", PROCESSES)):
            found = measured(folder, f"{rank}-{processes}", parted=processes > 1, rank=rank)
            for number, own in enumerate(found):
                part: dict[str, Any] = {"processes": processes, "trained": trained, "writes": number == 0}
                process = f", process {number + 1} of {processes}" if processes > 1 else ""
                cells = [counted(weights, activations, **part), own["resident"], own["private"]]
                numbers = " | ".join(f"{cell / MB:,.0f}" for cell in cells)
                lines.append(f"| {desc}, {where}{process} | {numbers} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures and writes."""
    with tempfile.TemporaryDirectory() as temporary:
        found = table(Path(temporary))
    put_between(PAGE, BEGIN, END, found)
    print(found)


if __name__ == "__main__":
    main()
