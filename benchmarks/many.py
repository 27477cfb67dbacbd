"""The inputs of `benchmarks.big`: many generated comparisons, golden answers and samples, and a tiny RM.

`python -m benchmarks.many FOLDER ROWS` writes comparisons and golden answers to FOLDER/input, as many queries
with four samples and their scores to FOLDER, the reward model to FOLDER/rm and the parameters to
FOLDER/params.yaml.
"""

import itertools
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from apo.core.dialogue import ASSISTANT, HUMAN, digest_of, normalize_query, query_id_of
from apo.core.records import Row, write_parts
from apo.language.tokenizer import train_tokenizer
from apo.model.checkpoint import (
    new_language_model,
    save_language_model,
    save_reward_model,
    start_reward_model,
)
from apo.model.settings import Model
from benchmarks.data import PARAMS, READING, Text, made_up

SEED = 1
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "intermediate_size": 16,
}
MAX_LENGTH = 64  # tokens; so few that the time is that of reading rows, not of a model
SAMPLE_WORDS = 12
CONTINUED, CHANGED, REPEATED = 0.25, 0.03, 0.02  # fractions of the rows, see `dialogues`


def dialogues(number: int, *, seed: int) -> Iterator[Text]:
    """Queries of one to five turns with two responses each.

    Of the rows, 25 % continue the dialogue of the previous row, 3 % have its query with one word changed, and
    2 % have the same query.
    """
    rng = random.Random(f"dialogues {seed}")
    query, responses = "", [""]
    for new_query, new_responses in itertools.islice(made_up(seed), number):
        kind = rng.random() if query else 1.0
        if kind < CONTINUED and query.count(HUMAN) < 3:
            query = f"{query} {responses[0]}{new_query}"
        elif CONTINUED <= kind < CONTINUED + CHANGED:
            words = query.split(" ")
            words[rng.randrange(1, max(len(words) - 1, 2))] = f"other{rng.randrange(1000)}"
            changed = " ".join(words)
            query = changed if changed.endswith(ASSISTANT) and changed.startswith(HUMAN) else new_query
        elif not CONTINUED + CHANGED <= kind < CONTINUED + CHANGED + REPEATED:
            query = new_query
        responses = new_responses
        yield query, responses


def rows(number: int) -> Iterator[tuple[str, Row]]:
    """Rows by file: `number` comparisons, golden answers, samples and scores.

    Comparisons are whole dialogues, as Anthropic publishes them. The other rows are of their distinct queries
    and of some additional ones.
    """
    rng = random.Random(f"scores {SEED}")
    seen: set[bytes] = set()
    for index, (query, (chosen, rejected)) in enumerate(dialogues(2 * number, seed=SEED)):
        if index < number:
            yield "comparisons", {"chosen": f"{query} {chosen}", "rejected": f"{query} {rejected}"}
        digest = digest_of(normalize_query(query))
        if len(seen) < number and digest not in seen:
            seen.add(digest)
            yield "golden", {"query": query, "golden": " ".join(sorted(chosen.split()))}
            texts = [text.split()[:SAMPLE_WORDS] for text in (chosen, rejected)]
            samples = [" ".join(words[::step]) for words in texts for step in (1, -1)]
            query_id = query_id_of(query)
            yield "samples", {"query_id": query_id, "query": query, "samples": samples}
            yield "scores", {"query_id": query_id, "scores": [rng.gauss(0, 1) for _ in samples]}
        elif index >= number and len(seen) == number:
            return


def write_reward_model(folder: Path) -> None:
    """Writes a reward model with one layer and random weights."""
    texts = (f"{query} {responses[0]}" for query, responses in dialogues(1000, seed=SEED))
    tokenizer = train_tokenizer(texts, vocab_size=2000)
    positions = 2 * MAX_LENGTH
    model = new_language_model(
        tokenizer, seed=SEED, rope_theta=10000.0, max_position_embeddings=positions, **SIZES
    )
    save_language_model(model, tokenizer, folder / "backbone", "# A stub\n")
    settings = Model(**(READING | {"max_length": MAX_LENGTH}))
    reward_model = start_reward_model(folder / "backbone", settings, seed=SEED)
    save_reward_model(reward_model, folder / "rm", "# A stub\n")


def parameters() -> dict[str, Any]:
    """The parameters of the repository, with `source: files`, a random test part and an open gate."""
    params: dict[str, Any] = YAML(typ="safe").load(PARAMS.read_text(encoding="utf-8"))
    params["data"] |= {"source": "files"}
    params["data"]["files"] |= {"comparisons": ["comparisons.jsonl"], "golden": ["golden.jsonl"]}
    params["split"] |= {"test_fraction": 0.05, "without_golden": "error"}
    params["gate"] |= {"max_ece": 1.0}
    return params


def main(folder: Path, number: int) -> None:
    """Writes all files."""
    paths = {name: folder / "input" / f"{name}.jsonl" for name in ("comparisons", "golden")}
    paths |= {name: folder / f"{name}.jsonl" for name in ("samples", "scores")}
    write_parts(paths, rows(number))
    write_reward_model(folder)
    (folder / "evaluation.json").write_text(json.dumps({"rm": {}}), encoding="utf-8")
    (folder / "params.yaml").write_text(json.dumps(parameters()), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
