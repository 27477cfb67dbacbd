"""Time to tokenize comparisons with a chat template, compared with plain texts in the HH form.

python -m benchmarks.encoding FOLDER FILE   a checkpoint with a chat template, a file of comparisons
"""

import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from apo.core.records import read_rows
from apo.model.checkpoint import open_tokenizer
from apo.model.encoding import Encoder

ROWS = 4000
ROUNDS = 5


def plain(tokenizer: Any, rows: Iterator[tuple[str, list[str]]]) -> int:
    """Encodes queries, and responses after `Assistant:`, once each, without a chat template."""
    tokens = 0
    while chunk := list(islice(rows, 512)):
        texts = [query for query, _ in chunk]
        texts += [f"\n\nAssistant: {text.strip()}" for _, responses in chunk for text in responses]
        tokens += sum(map(len, tokenizer(texts, add_special_tokens=False)["input_ids"]))
    return tokens


def rendered(tokenizer: Any, rows: Iterator[tuple[str, list[str]]]) -> int:
    """Encodes with the chat template, as all stages do."""
    encoder = Encoder(tokenizer, 1_000_000, "last", "", "left")
    tokenized = encoder.tokenize(rows, Counter(), where="", allow_blank=True)
    return sum(len(item.query) + sum(map(len, item.responses)) for item in tokenized if item)


def main(folder: str, file: str) -> None:
    tokenizer = open_tokenizer(Path(folder))
    texts = [(row["query"], row["responses"]) for row in islice(read_rows(Path(file)), ROWS)]
    functions: dict[str, Callable[[Any, Iterator[tuple[str, list[str]]]], int]] = {
        "plain": plain,
        "rendered": rendered,
    }
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(ROUNDS):  # interleaved
        for name, encode in functions.items():
            start = time.perf_counter()
            tokens = encode(tokenizer, iter(texts))
            seconds[name].append(time.perf_counter() - start)
            print(f"{name}: {tokens} tokens of {len(texts)} rows in {seconds[name][-1]:.2f} s")
    ratios = [a / b for a, b in zip(seconds["rendered"], seconds["plain"], strict=True)]
    print(
        f"rendered / plain, median of {ROUNDS}: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )
    for count in (len(texts) // 4, len(texts)):
        tracemalloc.start()
        rendered(tokenizer, iter(texts[:count]))
        print(
            f"peak of Python's memory over {count} rows: {tracemalloc.get_traced_memory()[1] / 2**20:.1f} MiB"
        )
        tracemalloc.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
