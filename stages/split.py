"""split: which query trains the RM, which the LLM, which is for looking and which for testing.

In: the raw comparisons, golden answers, demonstrations and documents. Out: `data/split/`: comparisons of
rm_train, llm_train, rm_valid (drawn from the LLM part) and test; the queries that the actor answers;
demonstrations and documents without the queries of rm_valid and test. Metrics: rows of each part, what
was moved or dropped, the overlaps (all 0). Paper, section 4.1.
"""

from collections import Counter
from pathlib import Path

from apo.config import Split, read_section, read_seed
from apo.records import read_rows, write_json, write_parts, write_rows
from apo.splitting import Queries, prove_disjoint, split_rows, unseen, with_golden
from apo.stage import run


def main(raw: Path, out: Path, metrics: Path, params: Path = Path("params.yaml")) -> None:
    settings = read_section(params, "split", Split)
    counts: Counter[str] = Counter()
    queries = Queries()
    rows = split_rows(
        lambda: read_rows(raw / "comparisons.jsonl"),
        seed=read_seed(params),
        rm_fraction=settings.rm_fraction,
        valid_fraction=settings.valid_fraction,
        test_fraction=settings.test_fraction,
        counts=counts,
    )
    names = {"rm": "rm_train", "llm": "llm_train", "valid": "rm_valid", "test": "test"}
    write_parts({part: out / f"{name}.jsonl" for part, name in names.items()}, queries.watch(rows))
    overlaps = prove_disjoint(queries.keys())

    golden = read_rows(raw / "golden.jsonl")
    playable = with_golden(queries.of("rm"), golden, without=settings.without_golden, counts=counts)
    counts["rm_queries"] = write_rows(out / "rm_queries.jsonl", playable)
    counts["llm_queries"] = write_rows(out / "llm_queries.jsonl", queries.of("llm"))
    counts["test_queries"] = write_rows(out / "test_queries.jsonl", queries.of("test"))
    aside = queries.keys()["valid"] | queries.keys()["test"]
    for name in ("demonstrations", "documents"):
        kept = unseen(read_rows(raw / f"{name}.jsonl"), aside, name=name, counts=counts)
        counts[name] = write_rows(out / f"{name}.jsonl", kept)
    write_json(metrics, {"split": {**dict(sorted(counts.items())), "overlaps": overlaps}})


if __name__ == "__main__":
    run(main)
