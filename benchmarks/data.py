"""What the benchmarks run on: comparisons, a tokenizer trained on them, a Llama with random weights."""

import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from apo.core.config import read_section
from apo.core.data_issues import DataIssues
from apo.datasets.issues import ROW_ISSUES
from apo.datasets.readers import read_comparisons
from apo.language.tokenizer import train_tokenizer
from apo.model.checkpoint import new_language_model, save_language_model
from apo.model.encoding import Encoder, ResponseSet

Text = tuple[str, list[str]]  # a query and its responses, the better one first

MAX_LENGTH = 512
PIECES = 8192
LEARNED_FROM = 4000  # comparisons that the tokenizer is trained on
READING: dict[str, Any] = {
    "max_length": MAX_LENGTH,
    "pooling": "last",
    "separator": "",
    "truncation_side": "left",
}
SIZES = {
    "5M": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 688},
    "30M": {"hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8, "intermediate_size": 1408},
}
PARAMS = Path(__file__).parents[1] / "params.yaml"
LENGTHS = Path(__file__).with_name("hh_lengths.json")


def read_texts(path: Path) -> list[Text]:
    """The first two responses of every comparison of a file that the pipeline reads too."""
    texts = []
    on_issue = read_section(PARAMS, ROW_ISSUES.section, ROW_ISSUES.settings)
    for row in read_comparisons(path, Counter(), DataIssues(ROW_ISSUES, on_issue.actions())):
        order = sorted(range(2), key=lambda k: -row["scores"][k])
        texts.append((row["query"], [row["responses"][k] for k in order]))
    return texts


def made_up_texts(number: int, *, seed: int) -> list[Text]:
    """The first of `made_up`."""
    return list(itertools.islice(made_up(seed), number))


def made_up(seed: int) -> Iterator[Text]:
    """Random words in the numbers that Helpful&Harmless has, without end.

    The words of query, chosen and rejected response come as a triple from `hh_lengths.json`
    (`benchmarks.lengths`). Words are made of syllables and as unequally frequent as those of a language, so
    that the tokenizer has frequent ones as one piece and rare ones as several.
    """
    draw = random.Random(seed)
    triples = json.loads(LENGTHS.read_text(encoding="utf-8"))["words"]
    syllables = [a + b + c for a in "bdfghklmnprstvw" for b in "aeiou" for c in ("", "n", "r", "s")]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(20000)]
    frequency = list(itertools.accumulate(1 / (rank + 10) for rank in range(len(words))))

    def some(count: int) -> str:
        return " ".join(draw.choices(words, cum_weights=frequency, k=count))

    while True:
        query, chosen, rejected = draw.choice(triples)
        yield f"\n\nHuman: {some(query)}\n\nAssistant:", [some(chosen), some(rejected)]


def with_others(texts: Sequence[Text], count: int, *, seed: int) -> list[Text]:
    """Every query with `count` responses: its own, then responses to other queries."""
    draw = random.Random(seed)
    found = []
    for index, (query, own) in enumerate(texts):
        others = [i for i in draw.sample(range(len(texts)), count) if i != index]
        more = [draw.choice(texts[i][1]) for i in others]
        found.append((query, [*own, *more][:count]))
    return found


def prepare(
    folder: Path,
    texts: list[Text],
    *,
    rows: int,
    queries: int,
    sizes: dict[str, int],
    seed: int,
) -> dict[str, Any]:
    """Writes what every process of the benchmark reads: `backbone/` and the encoded items of every job.

    Args:
        texts: At least `rows` comparisons.
        rows: Comparisons, and queries that are scored.
        queries: Queries of golden > samples, and queries that are answered.
        sizes: Of the model, a value of `SIZES`.

    Returns:
        Facts about the data.
    """
    texts = random.Random(seed).sample(texts, min(len(texts), LEARNED_FROM))
    tokenizer = train_tokenizer((f"{q} {r}" for q, rs in texts for r in rs), vocab_size=PIECES)
    more = {"num_key_value_heads": sizes["num_attention_heads"], "max_position_embeddings": 2 * MAX_LENGTH}
    model = new_language_model(tokenizer, seed=seed, rope_theta=10000.0, **sizes, **more)
    save_language_model(model, tokenizer, folder / "backbone", "# A model with random weights\n")
    encoder = Encoder(tokenizer, **READING)
    counts: Counter[str] = Counter()
    jobs = {
        "train_pairs": texts[:rows],
        "train_apo": with_others(texts[:queries], 5, seed=seed),
        "score": with_others(texts[:rows], 4, seed=seed),
    }
    for name, chosen in jobs.items():
        write_items(folder / f"{name}.jsonl", list(encoder.items(chosen, counts, where=name)))
    prompts = [query for query, _ in texts[:queries]]
    (folder / "prompts.json").write_text(json.dumps(prompts), encoding="utf-8")
    lengths = sorted(
        len(i.prefix) + len(r) for i in read_items(folder / "train_pairs.jsonl") for r in i.responses
    )
    return {
        "vocabulary": len(tokenizer),
        "max_length": MAX_LENGTH,
        "parameters": sum(p.numel() for p in model.parameters()),
        "text_tokens_mean": sum(lengths) / len(lengths),
        "text_tokens_median": lengths[len(lengths) // 2],
        "cut_queries": counts["queries_cut"],
        "encoded_queries": counts["items"],
    }


def write_items(path: Path, items: Sequence[ResponseSet]) -> None:
    """Items as JSON Lines."""
    lines = (json.dumps([item.prefix, item.responses]) + "\n" for item in items)
    path.write_text("".join(lines), encoding="utf-8")


def read_items(path: Path) -> list[ResponseSet]:
    """The items that `write_items` wrote."""
    return [ResponseSet(*json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def read_prompts(folder: Path, rows: int) -> list[str]:
    """The first `rows` queries that are answered."""
    prompts: list[str] = json.loads((folder / "prompts.json").read_text(encoding="utf-8"))
    return prompts[:rows]


def texts_of(item: ResponseSet) -> Iterator[list[int]]:
    """The separate texts of an item: the query again before every response."""
    for response in item.responses:
        yield item.prefix + response
