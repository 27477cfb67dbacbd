"""split: which query trains the RM, which the LLM, which is for looking and which for testing.

In: the raw comparisons, golden answers, demonstrations and documents. Out: `data/split/`: comparisons of
rm_train, llm_train, rm_valid (drawn from the LLM part) and test; the queries that the actor answers;
demonstrations and documents without the queries of rm_valid and test. Metrics: rows of each part, what
was moved or dropped, what each kind of query (`type`) got, equal and nearly equal queries of what trains and
what measures (all 0), and those with the same first turn. Paper, section 4.1.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from apo.core.config import read_section, read_seed
from apo.core.records import Row, read_rows, write_json, write_parts
from apo.core.stage import run
from apo.splits.leakage import Leaks, prove_disjoint, unseen
from apo.splits.queries import Queries, with_golden
from apo.splits.settings import Split
from apo.splits.splitting import split_rows


def main(
    comparisons: Path,
    golden: Path,
    demonstrations: Path,
    documents: Path,
    out: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    settings = read_section(params, "split", Split)
    seed = read_seed(params)
    counts: Counter[str] = Counter()
    proven: dict[str, dict[str, int]] = {}
    queries = Queries()
    names = {"rm": "rm_train", "llm": "llm_train", "valid": "rm_valid", "test": "test"}

    read: list[int] = []  # how many comparisons there are, once they have been read

    def compared() -> Iterator[Row]:
        rows = read_rows(comparisons, "query_id", "query", "type", "split")
        total = read[0] if read else None
        progress = tqdm(rows, desc="split", total=total, unit="row", delay=2, disable=None)
        number = 0
        for number, row in enumerate(progress, start=1):  # noqa: B007 - how many there were
            yield row
        read.append(number)

    def rows() -> Iterator[tuple[str, Row]]:
        parted = split_rows(
            compared,
            seed=seed,
            rm_fraction=settings.rm_fraction,
            valid_fraction=settings.valid_fraction,
            test_fraction=settings.test_fraction,
            near_duplicate=settings.near_duplicate,
            shared_first_turn=settings.shared_first_turn,
            counts=counts,
        )
        answers = read_rows(golden, "query_id")
        watched = queries.watch(parted)
        playable = with_golden(watched, answers, without=settings.without_golden, counts=counts)
        yield from ((names.get(name, name), row) for name, row in playable)
        queries.prove_none_is_empty()
        overlaps = prove_disjoint(queries.shared)
        leaks = Leaks(
            queries.measuring,
            queries.again(compared()),
            queries.begun,
            near_duplicate=settings.near_duplicate,
            shared_first_turn=settings.shared_first_turn,
        )
        for name, path, key in (
            ("demonstrations", demonstrations, "query"),
            ("documents", documents, "text"),
        ):
            kept = unseen(read_rows(path, key), leaks, name=name, counts=counts)
            yield from leaks.watch(name, kept)
        proven.update(leaks.prove_none())
        proven["overlaps"] = overlaps | proven["overlaps"]

    others = ("rm_queries", "llm_queries", "test_queries", "demonstrations", "documents")
    written = write_parts({name: out / f"{name}.jsonl" for name in (*names.values(), *others)}, rows())
    counts.update({name: written[name] for name in others})
    write_json(metrics, {"split": {**dict(sorted(counts.items())), **queries.by_type(), **proven}})


if __name__ == "__main__":
    run(main)
