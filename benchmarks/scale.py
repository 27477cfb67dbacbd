"""Memory and GPU hours of every stage for larger models and more comparisons: `python -m benchmarks.scale`.

Arithmetic, no measurement: operations and bytes are counted as in `flops.py`, for texts in the lengths of
Helpful&Harmless in LLaMA's tokens, and divided by given rates (`--flops`, `--bandwidth`, `--memory`).
Writes the tables of docs/scale.md. `make bench` measures the rates of a GPU.
"""

import argparse
import json
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from benchmarks.data import LENGTHS
from benchmarks.flops import layer_flops
from benchmarks.pages import write_between

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
BEGIN, END = "<!-- made by python -m benchmarks.scale -->\n", "<!-- end -->\n"
VOCABULARY = 32000
SHAPES = {  # hidden, layers, feed-forward, heads, heads of keys and values
    "1B": (2048, 22, 5632, 32, 4),
    "7B": (4096, 32, 11008, 32, 32),
    "70B": (8192, 80, 28672, 64, 8),
}
COMPARISONS = (10**5, 10**6, 10**7)
RM_FRACTION = 0.25  # of the queries, as in the authors' split; the others are for the LLM
SAMPLES, NEW_TOKENS = 4, 128
BUDGET = 16384  # tokens of a micro-batch, APO_TOKEN_BUDGET on a GPU
TOKENS_PER_WORD = {"query": 1.57, "response": 1.38}  # of LLaMA's tokenizer on the file from which LENGTHS is
GIB = 2**30


class Rates(NamedTuple):
    """One GPU: operations per second in training, memory bandwidth in bytes per second, memory in bytes."""

    flops: float
    bandwidth: float
    memory: float


class Text(NamedTuple):
    """Mean tokens of a query and of a response."""

    query: float
    response: float


def lengths() -> Text:
    """Mean lengths of the 256 triples of words in `hh_lengths.json`."""
    words = json.loads(LENGTHS.read_text(encoding="utf-8"))["words"]
    query = sum(triple[0] for triple in words) / len(words)
    response = sum(triple[1] + triple[2] for triple in words) / len(words) / 2
    return Text(query * TOKENS_PER_WORD["query"], response * TOKENS_PER_WORD["response"])


def shape_of(name: str) -> SimpleNamespace:
    hidden, layers, inner, heads, narrow = SHAPES[name]
    return SimpleNamespace(
        hidden_size=hidden,
        num_hidden_layers=layers,
        intermediate_size=inner,
        num_attention_heads=heads,
        num_key_value_heads=narrow,
    )


def parameters(shape: SimpleNamespace) -> int:
    """Number of weights of the layers and the embedding, without the vocabulary projection."""
    layer_weights = layer_flops(shape, keys=1, queries=1, pairs=0) // 2
    return int(layer_weights * shape.num_hidden_layers + VOCABULARY * shape.hidden_size)


def tree_flops(shape: SimpleNamespace, text: Text, responses: int) -> float:
    """Operations of the forward pass of a query with its responses in one packed sequence of mean lengths."""
    tokens = text.query + responses * text.response
    pairs = text.query**2 / 2 + responses * text.response * (text.query + text.response / 2)
    layer = layer_flops(shape, keys=int(tokens), queries=int(tokens), pairs=int(pairs))
    return float(layer * shape.num_hidden_layers)


def stage_hours(shape: SimpleNamespace, text: Text, comparisons: int, rates: Rates) -> dict[str, float]:
    """GPU hours of the stages of one round with RJS."""
    rm, llm = RM_FRACTION * comparisons, (1 - RM_FRACTION) * comparisons
    pair, golden, scored = (tree_flops(shape, text, count) for count in (2, 1 + SAMPLES, SAMPLES))
    answer = tree_flops(shape, text, 1) + 2 * VOCABULARY * shape.hidden_size * text.response
    hours = {
        "train_base_rm": 3 * rm * pair / rates.flops,
        "train_apo_rm": 3 * rm * (pair + golden) / rates.flops,
        "test_rm": 3 * comparisons * pair / rates.flops,
        "sample_rm": rm * sampling_seconds(shape, text, rates),
        "sample": 2 * llm * sampling_seconds(shape, text, rates),
        "score": 2 * llm * scored / rates.flops,
        "align (rjs)": 2 * 3 * llm * answer / rates.flops,
    }
    return {name: seconds / 3600 for name, seconds in hours.items()}


def sampling_seconds(shape: SimpleNamespace, text: Text, rates: Rates) -> float:
    """Seconds for the samples of one query, in batches whose keys and values fill the remaining memory.

    A step reads all weights (bf16) and the keys and values of its rows and has few operations, so the memory
    bandwidth limits it. A model that takes more than nine tenths of a GPU is split among several.
    """
    weights = 2.0 * parameters(shape)
    cards = 1
    while weights > 0.9 * cards * rates.memory:
        cards *= 2
    head = shape.hidden_size // shape.num_attention_heads
    row_bytes = 4 * head * shape.num_key_value_heads * shape.num_hidden_layers  # keys and values of a token
    mean_row = row_bytes * (text.query / SAMPLES + NEW_TOKENS / 2)
    rows = max(
        1.0, (0.9 * cards * rates.memory - weights) / (row_bytes * (text.query / SAMPLES + NEW_TOKENS))
    )
    step = (weights + rows * mean_row) / rates.bandwidth  # of all cards together, counted as card seconds
    computed = rows * 2 * parameters(shape) / rates.flops
    read = tree_flops(shape, text, 0) / rates.flops
    return float(read + SAMPLES * NEW_TOKENS * max(step, computed) / rows)


def memory_rows(shape: SimpleNamespace) -> dict[str, float]:
    """Bytes of a training by kind: weights, optimizer states with weights and gradients, activations."""
    weights = parameters(shape)
    activations = activation_bytes(shape, BUDGET, number=2)
    return {"weights": weights, "states": 16.0 * weights, "activations": activations}


def activation_bytes(shape: SimpleNamespace, tokens: int, *, number: int) -> float:
    """Bytes of activations of a micro-batch, with `APO_GRADIENT_CHECKPOINTING=1`.

    Args:
        shape: Sizes of the model.
        tokens: Tokens of the micro-batch.
        number: Bytes of a number, 2 in bf16.
    """
    checkpoints = tokens * shape.hidden_size * shape.num_hidden_layers  # the inputs of the layers
    recomputed = tokens * (8 * shape.hidden_size + 3 * shape.intermediate_size)  # inside one layer
    return float(number * (checkpoints + recomputed))


def tables(rates: Rates) -> str:
    """The tables of docs/scale.md."""
    text = lengths()
    lines = [
        f"A query has {text.query:.0f} tokens, a response {text.response:.0f}; {SAMPLES} samples of "
        f"{NEW_TOKENS} new tokens; micro-batches of {BUDGET:,} tokens. "
        f"Rates of one GPU: {rates.flops:.2g} operations and "
        f"{rates.bandwidth:.2g} bytes per second, {rates.memory / GIB:.0f} GiB.\n",
        "| RM | weights | AdamW's states | activations | one GPU | ZeRO-3, 8 | ZeRO-3, 64 | LoRA, one GPU |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in SHAPES:
        memory = memory_rows(shape_of(name))
        states, activations, lora = memory["states"], memory["activations"], 4 * memory["weights"]
        needs = [size + activations for size in (states, states / 8, states / 64, lora)]
        cells = [f"{need / GIB:,.0f} GiB" + ("" if need < 0.9 * rates.memory else " ✗") for need in needs]
        sizes = f"{memory['weights'] / 1e9:.2f} G | {states / GIB:,.0f} GiB | {activations / GIB:.1f} GiB"
        lines.append(f"| {name} | {sizes} | {' | '.join(cells)} |")
    lines += ["", "✗: more than nine tenths of the memory of a card.", ""]
    names = list(stage_hours(shape_of("1B"), text, 1, rates))
    lines += [f"| model | comparisons | {' | '.join(names)} | all |", "|---|---|" + "---|" * (len(names) + 1)]
    for name in SHAPES:
        for count in COMPARISONS:
            hours = stage_hours(shape_of(name), text, count, rates)
            cells = [
                f"{value:,.1f}" if value < 100 else f"{value:,.0f}"
                for value in (*hours.values(), sum(hours.values()))
            ]
            lines.append(f"| {name} | {count:,} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Writes the tables for the given rates."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--flops", type=float, default=4.0e14, help="operations per second in training")
    parser.add_argument("--bandwidth", type=float, default=2.0e12, help="bytes per second in sampling")
    parser.add_argument("--memory", type=float, default=80 * GIB, help="bytes of a card")
    options = parser.parse_args()
    rates = Rates(options.flops, options.bandwidth, options.memory)
    write_between(PAGE, BEGIN, END, tables(rates))


if __name__ == "__main__":
    main()
