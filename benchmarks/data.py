"""The inputs of the benchmarks: comparisons, a tokenizer trained on them, a Llama with random weights."""

import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from apo.core.config import read_section
from apo.core.data_issues import DataIssues
from apo.datasets.file_reader import ReadOptions
from apo.datasets.issues import ROW_ISSUES
from apo.datasets.readers import read_comparisons
from apo.language.tokenizer import train_tokenizer
from apo.model.checkpoint import new_language_model, save_language_model
from apo.model.encoding import Encoder, ResponseSet

Text = tuple[str, list[str]]  # a query and its responses, the better one first

MAX_LENGTH = 512
VOCAB_SIZE = 8192
TOKENIZER_TEXTS = 4000  # comparisons that the tokenizer is trained on
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
    """The first two responses of every comparison of a file, in any format that the pipeline reads."""
    texts = []
    on_issue = read_section(PARAMS, ROW_ISSUES.section, ROW_ISSUES.settings)
    for row in read_comparisons(path, Counter(), DataIssues(ROW_ISSUES, on_issue.actions()), ReadOptions()):
        order = sorted(range(2), key=lambda index: -row["scores"][index])
        texts.append((row["query"], [row["responses"][index] for index in order]))
    return texts


def made_up_texts(count: int, *, seed: int) -> list[Text]:
    """The first `count` texts of `made_up`."""
    return list(itertools.islice(made_up(seed), count))


def made_up(seed: int) -> Iterator[Text]:
    """Endless comparisons of random words in the lengths of Helpful&Harmless.

    The numbers of words of query, chosen and rejected response are a triple of `hh_lengths.json`
    (`benchmarks.lengths`). Words consist of syllables and have frequencies like those of a language, so that
    the tokenizer has one token for a frequent word and several for a rare one.
    """
    rng = random.Random(seed)
    triples = json.loads(LENGTHS.read_text(encoding="utf-8"))["words"]
    syllables = [a + b + c for a in "bdfghklmnprstvw" for b in "aeiou" for c in ("", "n", "r", "s")]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(20000)]
    cumulative = list(itertools.accumulate(1 / (rank + 10) for rank in range(len(words))))

    def sentence(count: int) -> str:
        return " ".join(rng.choices(words, cum_weights=cumulative, k=count))

    while True:
        query, chosen, rejected = rng.choice(triples)
        yield f"\n\nHuman: {sentence(query)}\n\nAssistant:", [sentence(chosen), sentence(rejected)]


def with_others(texts: Sequence[Text], count: int, *, seed: int) -> list[Text]:
    """Every query with `count` responses: its own, then responses to other queries."""
    rng = random.Random(seed)
    extended = []
    for index, (query, responses) in enumerate(texts):
        indices = [i for i in rng.sample(range(len(texts)), count) if i != index]
        other_responses = [rng.choice(texts[i][1]) for i in indices]
        extended.append((query, [*responses, *other_responses][:count]))
    return extended


def prepare(
    folder: Path,
    texts: list[Text],
    *,
    rows: int,
    queries: int,
    sizes: dict[str, int],
    seed: int,
) -> dict[str, Any]:
    """Writes the inputs of the benchmark: `backbone/`, the tokenized items of every job, and the prompts.

    Args:
        folder: The folder to write into.
        texts: At least `rows` comparisons.
        rows: Number of comparisons, and of queries that are scored.
        queries: Number of queries with golden > samples, and of prompts.
        sizes: Sizes of the model, a value of `SIZES`.
        seed: Seed of the sample of texts and of the weights.

    Returns:
        Facts about data and model.
    """
    texts = random.Random(seed).sample(texts, min(len(texts), TOKENIZER_TEXTS))
    tokenizer = train_tokenizer((f"{q} {r}" for q, rs in texts for r in rs), vocab_size=VOCAB_SIZE)
    sizes = sizes | {"num_key_value_heads": sizes["num_attention_heads"]}
    sizes["max_position_embeddings"] = 2 * MAX_LENGTH
    model = new_language_model(tokenizer, seed=seed, rope_theta=10000.0, **sizes)
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
    """Writes items as JSON Lines."""
    lines = (json.dumps([item.prefix, item.responses]) + "\n" for item in items)
    path.write_text("".join(lines), encoding="utf-8")


def read_items(path: Path) -> list[ResponseSet]:
    """The items that `write_items` wrote."""
    return [ResponseSet(*json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def read_prompts(folder: Path, rows: int) -> list[str]:
    """The first `rows` prompts."""
    prompts: list[str] = json.loads((folder / "prompts.json").read_text(encoding="utf-8"))
    return prompts[:rows]


def texts_of(item: ResponseSet) -> Iterator[list[int]]:
    """The separate sequences of an item: the query with each response."""
    for response in item.responses:
        yield item.prefix + response
