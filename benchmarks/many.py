"""What `benchmarks.big` reads: many made-up comparisons, golden answers and samples, and a stub of an RM.

`python -m benchmarks.many FOLDER ROWS`: comparisons and golden answers in FOLDER/input, as many queries with
four samples and their scores in FOLDER, the reward model in FOLDER/rm, the parameters in FOLDER/params.yaml.
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
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
MAX_LENGTH = 64  # tokens; the time is that of rows, not of a model
SAMPLE = 12  # words of a sample
GOES_ON, CHANGED, AGAIN = 0.25, 0.03, 0.02  # parts of the rows, see `dialogues`


def dialogues(number: int, *, seed: int) -> Iterator[Text]:
    """Queries of one to five turns with two responses each.

    Of four rows one goes on from the row before it, three in a hundred have its query with one word changed,
    two in a hundred the same query.
    """
    draw = random.Random(f"dialogues {seed}")
    query, responses = "", [""]
    for own, answers in itertools.islice(made_up(seed), number):
        kind = draw.random() if query else 1.0
        if kind < GOES_ON and query.count(HUMAN) < 3:
            query = f"{query} {responses[0]}{own}"
        elif GOES_ON <= kind < GOES_ON + CHANGED:
            words = query.split(" ")
            words[draw.randrange(1, max(len(words) - 1, 2))] = f"other{draw.randrange(1000)}"
            changed = " ".join(words)
            query = changed if changed.endswith(ASSISTANT) and changed.startswith(HUMAN) else own
        elif not GOES_ON + CHANGED <= kind < GOES_ON + CHANGED + AGAIN:
            query = own
        responses = answers
        yield query, answers


def rows(number: int) -> Iterator[tuple[str, Row]]:
    """So many comparisons, and as many golden answers, samples and scores.

    Comparisons are whole dialogues, as Anthropic publishes them; the others are of their queries, each once,
    and of some more.
    """
    draw = random.Random(f"scores {SEED}")
    seen: set[bytes] = set()
    for index, (query, (chosen, rejected)) in enumerate(dialogues(2 * number, seed=SEED)):
        if index < number:
            yield "comparisons", {"chosen": f"{query} {chosen}", "rejected": f"{query} {rejected}"}
        digest = digest_of(normalize_query(query))
        if len(seen) < number and digest not in seen:
            seen.add(digest)
            yield "golden", {"query": query, "golden": " ".join(sorted(chosen.split()))}
            texts = [text.split()[:SAMPLE] for text in (chosen, rejected)]
            samples = [" ".join(words[::step]) for words in texts for step in (1, -1)]
            query_id = query_id_of(query)
            yield "samples", {"query_id": query_id, "query": query, "samples": samples}
            yield "scores", {"query_id": query_id, "scores": [draw.gauss(0, 1) for _ in samples]}
        elif index >= number and len(seen) == number:
            return


def stub(folder: Path) -> None:
    """A reward model of one layer with random weights."""
    texts = (f"{query} {responses[0]}" for query, responses in dialogues(1000, seed=SEED))
    tokenizer = train_tokenizer(texts, vocab_size=2000)
    more = {"num_key_value_heads": 1, "max_position_embeddings": 2 * MAX_LENGTH}
    model = new_language_model(tokenizer, seed=SEED, rope_theta=10000.0, **SIZES, **more)
    save_language_model(model, tokenizer, folder / "backbone", "# A stub\n")
    reading = Model(**(READING | {"max_length": MAX_LENGTH}))
    save_reward_model(
        start_reward_model(folder / "backbone", reading, seed=SEED), folder / "rm", "# A stub\n"
    )


def parameters() -> dict[str, Any]:
    """Those of the repository, with files, a test part that is drawn, and a gate that is open."""
    params: dict[str, Any] = YAML(typ="safe").load(PARAMS.read_text(encoding="utf-8"))
    params["data"] |= {"source": "files"}
    params["data"]["files"] |= {"comparisons": ["comparisons.jsonl"], "golden": ["golden.jsonl"]}
    params["split"] |= {"test_fraction": 0.05, "without_golden": "error"}
    params["gate"] |= {"max_ece": 1.0}
    return params


def main(folder: Path, number: int) -> None:
    """Writes it all."""
    paths = {name: folder / "input" / f"{name}.jsonl" for name in ("comparisons", "golden")}
    paths |= {name: folder / f"{name}.jsonl" for name in ("samples", "scores")}
    write_parts(paths, rows(number))
    stub(folder)
    (folder / "evaluation.json").write_text(json.dumps({"rm": {}}), encoding="utf-8")
    (folder / "params.yaml").write_text(json.dumps(parameters()), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
