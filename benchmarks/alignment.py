"""RRHF on four responses per query: packed sequences, separate sequences, and a plain pass of as many tokens.

`python -m benchmarks.alignment [FILE]` runs one optimizer step of 16 queries of the 5M model, alternating
between the implementations, and prints the medians. The plain pass is a pretraining step
(`apo.language.causal_lm`) on texts as long as the packed sequences, with the loss on all tokens. Without
FILE, texts are generated in the lengths of Helpful&Harmless.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from apo.alignment.likelihood import ResponseLikelihood
from apo.alignment.settings import Align
from apo.alignment.train import align
from apo.language.causal_lm import train_language_model
from apo.model import runtime
from apo.model.batching import packed_length
from apo.model.checkpoint import load_language_model, load_tokenizer
from apo.model.encoding import ResponseSet
from apo.training.ranked_responses import RankedResponses
from apo.training.settings import Lora
from benchmarks.data import MAX_LENGTH, SIZES, TOKENIZER_TEXTS, made_up_texts, prepare, read_texts
from benchmarks.jobs import OPTIMIZER, SEED, load_items
from benchmarks.ours import NoCheckpoints

QUERIES = 16
REPEATS = 7
SETTINGS = Align(
    lora=Lora(rank=0, alpha=1.0, targets=[]),
    method="rrhf",
    beta=0.1,
    rank_weight=1.0,
    sft_weight=1.0,
    max_length=MAX_LENGTH,
    batch_size=QUERIES,
    **OPTIMIZER,
)


def ways(folder: Path, items: Sequence[ResponseSet]) -> dict[str, Callable[[], float]]:
    """The functions that are timed; each takes one step of its own model and returns the loss."""
    device = runtime.set_up()
    pad_id = load_tokenizer(folder / "backbone").pad_token_id
    data = [RankedResponses(item, [-float(k) for k in range(len(item.responses))]) for item in items]

    def rrhf(*, packed: bool) -> Callable[[], float]:
        model = ResponseLikelihood(
            load_language_model(folder / "backbone"), pad_id=pad_id, max_length=MAX_LENGTH
        )
        model.supports_shared_prefix = packed

        def run() -> float:
            curve = align(model, data, SETTINGS, seed=SEED, desc="", checkpoints=NoCheckpoints())
            return curve[0]["loss"]

        return run

    language_model = load_language_model(folder / "backbone")
    texts = [ResponseSet(item.prefix[:1], [sum(item.responses, item.prefix[1:])]) for item in items]

    def plain_pass() -> float:
        curve = train_language_model(
            language_model,
            texts,
            SETTINGS,
            pad_id=pad_id,
            seed=SEED,
            device=device,
            desc="",
            checkpoints=NoCheckpoints(),
        )
        return curve[0]["loss"]

    return {"tree": rrhf(packed=True), "separate": rrhf(packed=False), "plain pass": plain_pass}


def measure(folder: Path, items: Sequence[ResponseSet], repeats: int) -> dict[str, float]:
    """Median seconds of each function; the first round, which compares the losses, is not timed."""
    functions = ways(folder, items)
    losses = {name: run() for name, run in functions.items()}
    if abs(losses["tree"] - losses["separate"]) > 1e-4:
        raise SystemExit(f"error: the losses differ: {losses}")
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, run in functions.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def main(source: Path | None) -> None:
    """Prints the table."""
    texts = read_texts(source) if source else made_up_texts(TOKENIZER_TEXTS, seed=SEED)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder, texts, rows=256, queries=64, sizes=SIZES["5M"], seed=SEED)
        items = load_items(folder, "score", QUERIES)
        medians = measure(folder, items, REPEATS)
    tokens = {
        "tree": sum(map(packed_length, items)),
        "separate": sum(item.unpacked_tokens for item in items),
    }
    print("| implementation | seconds | times the packed sequence | tokens |\n|---|---|---|---|")
    for name, seconds in medians.items():
        count = tokens.get(name, tokens["tree"])
        print(f"| {name} | {seconds:.3f} | {seconds / medians['tree']:.2f} | {count} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None)
