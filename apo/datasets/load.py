"""The raw data that a source gives: the same records whatever the source is."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from apo.core.dialogue import query_id_of
from apo.core.records import Row
from apo.datasets.query_ids import QueryIds
from apo.datasets.settings import Demo

KINDS = ("comparisons", "golden", "samples", "demonstrations", "documents")


@dataclass
class LoadedRecords:
    """Records as one stream; `counts` is filled while it is drained.

    Attributes:
        rows: Records with their kind: `comparisons`, with `split`, the part that the source gives or ""
            where it is to be drawn; `golden`, at most one a query; `samples` that the source brought;
            `demonstrations`, on which an actor can be fine-tuned; `documents` {text}, on which a backbone
            can be pretrained.
        truth: What is known about the true reward; empty for real data.
        counts: Per file what was read, adjusted and left out.
        columns: Per file what each column is read as.
    """

    rows: Iterator[tuple[str, Row]]
    truth: dict[str, float] = field(default_factory=dict)
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    columns: dict[str, dict[str, str]] = field(default_factory=dict)


def read_demo(demo: Demo, *, seed: int) -> LoadedRecords:
    """The demo world: comparisons with a known true reward, golden answers by its expert."""
    from apo.demo import Query, World

    world = World(seed=seed)
    taken: set[str] = set()

    def new_queries(number: int, purpose: str) -> list[Query]:
        queries = world.queries(number, purpose, taken)
        taken.update(query.text for query in queries)
        return queries

    test = new_queries(demo.test_comparisons, "test")
    train = new_queries(demo.comparisons, "train")
    shown = new_queries(demo.demonstrations, "demonstrations")
    written = new_queries(demo.documents, "documents")
    ids = QueryIds()

    def named(kind: str, rows: Iterable[Row], **fields: str) -> Iterator[tuple[str, Row]]:
        for row in rows:
            query = row["query"]
            yield kind, {"query_id": ids.canonical(query_id_of(query), query, "demo world"), **row, **fields}

    def rows() -> Iterator[tuple[str, Row]]:
        yield from named("comparisons", world.comparisons(train, demo.temperature, "train"), split="")
        yield from named("comparisons", world.comparisons(test, demo.temperature, "test"), split="test")
        yield from named("golden", world.golden([*train, *test], demo.golden_flaws))
        yield from named("demonstrations", world.demonstrations(shown, "demonstrations"))
        yield from (("documents", {"text": text}) for text in world.documents(written, "documents"))

    return LoadedRecords(rows(), truth={"temperature": demo.temperature})
