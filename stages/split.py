"""split: assigns every query to RM training, LLM training, validation or test.

In: the raw comparisons, golden answers, demonstrations and documents. Out: `data/split/`: comparisons of
rm_train, llm_train, rm_valid (drawn from the LLM part) and test; the queries that models answer;
demonstrations and documents without the queries of rm_valid and test. Metrics: rows of each part, moved and
dropped rows, fractions by type of query, and the leakage from training to evaluation: equal queries,
near-duplicates (all 0) and shared first turns. Paper, section 4.1.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from apo.core.config import read_section, read_seed, read_value
from apo.core.records import Row, read_rows, write_json, write_parts
from apo.core.stage import run
from apo.splits.leakage import LeakageCheck, check_disjoint, drop_leaked
from apo.splits.queries import Queries
from apo.splits.requirements import check_parts, not_empty, with_golden
from apo.splits.settings import Split
from apo.splits.splitting import split_rows

PART_FILES = {"rm": "rm_train", "llm": "llm_train", "valid": "rm_valid", "test": "test"}
OTHER_FILES = ("rm_queries", "llm_queries", "test_queries", "demonstrations", "documents")


def main(
    comparisons: Path,
    golden: Path,
    demonstrations: Path,
    documents: Path,
    out: Path,
    metrics: Path,
    params: Path = Path("params.yaml"),
) -> None:
    settings, seed = read_section(params, "split", Split), read_seed(params)
    counts: Counter[str] = Counter()
    queries, reader = Queries(), _ComparisonReader(comparisons)
    leakage_counts: dict[str, dict[str, int]] = {}
    files = {name: out / f"{name}.jsonl" for name in (*PART_FILES.values(), *OTHER_FILES)}

    def rows() -> Iterator[tuple[str, Row]]:
        options = settings.model_dump(exclude={"without_golden"})
        rows_by_part = queries.collect(split_rows(reader.read, seed=seed, counts=counts, **options))
        playable = with_golden(
            rows_by_part,
            read_rows(golden, "query_id"),
            without_golden=settings.without_golden,
            source=read_value(params, "data.golden"),
            counts=counts,
        )
        yield from ((PART_FILES.get(name, name), row) for name, row in playable)
        check_parts(queries.numbers(), counts, settings, draws=queries.draws)
        overlaps = check_disjoint(queries.shared)
        leakage = LeakageCheck(
            queries.evaluation,
            queries.pop_parts(reader.read()),
            queries.first_turns,
            near_duplicate=settings.near_duplicate,
            shared_first_turn=settings.shared_first_turn,
        )
        for name, path, key, parameter, start in (
            ("demonstrations", demonstrations, "query", "actor.start", read_value(params, "actor.start")),
            ("documents", documents, "text", "backbone.start", read_value(params, "backbone.start")),
        ):
            kept = drop_leaked(read_rows(path, key), leakage, name=name, counts=counts)
            needed = not_empty(kept, files[name], start=start, parameter=parameter)
            yield from leakage.count(name, needed)
        leakage_counts.update(leakage.result())
        leakage_counts["overlaps"] = overlaps | leakage_counts["overlaps"]

    written = write_parts(files, rows())
    counts.update({name: written[name] for name in OTHER_FILES})
    write_json(metrics, {"split": {**dict(sorted(counts.items())), **queries.by_type(), **leakage_counts}})


class _ComparisonReader:
    """Reads the comparisons several times, with a progress bar whose total is known after the first time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._total: int | None = None

    def read(self) -> Iterator[Row]:
        rows = read_rows(self._path, "query_id", "query", "type", "split")
        total = 0
        for row in tqdm(rows, desc="split", total=self._total, unit="row", delay=2, disable=None):
            yield row
            total += 1
        self._total = total


if __name__ == "__main__":
    run(main)
