"""The raw records of a data source, the same for every source."""

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
        rows: Records with their kind: `comparisons`, with `split`, the part that the source gives or "" to
            draw it; `golden`, at most one per query; `samples` of the source; `demonstrations`, on which an
            actor can be fine-tuned; `documents` {text}, on which a backbone can be pretrained.
        truth: Known parameters of the true reward; empty for real data.
        counts: By file: rows that were read, adjusted and left out.
        columns: By file: the role of each column.
    """

    rows: Iterator[tuple[str, Row]]
    truth: dict[str, float] = field(default_factory=dict)
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    columns: dict[str, dict[str, str]] = field(default_factory=dict)


def read_demo(demo: Demo, *, seed: int) -> LoadedRecords:
    """The demo world: comparisons with a known true reward, golden answers by its expert."""
    from apo.demo import Query, World

    world = World(seed=seed)
    used_texts: set[str] = set()

    def new_queries(number: int, purpose: str) -> list[Query]:
        queries = world.queries(number, purpose, used_texts)
        used_texts.update(query.text for query in queries)
        return queries

    test = new_queries(demo.test_comparisons, "test")
    train = new_queries(demo.comparisons, "train")
    demonstrated = new_queries(demo.demonstrations, "demonstrations")
    documented = new_queries(demo.documents, "documents")
    ids = QueryIds()

    def named(kind: str, rows: Iterable[Row], **fields: str) -> Iterator[tuple[str, Row]]:
        for row in rows:
            query = row["query"]
            yield kind, {"query_id": ids.canonical(query_id_of(query), query, "demo world"), **row, **fields}

    def rows() -> Iterator[tuple[str, Row]]:
        yield from named("comparisons", world.comparisons(train, demo.temperature, "train"), split="")
        yield from named("comparisons", world.comparisons(test, demo.temperature, "test"), split="test")
        yield from named("golden", world.golden([*train, *test], demo.golden_flaws))
        yield from named("demonstrations", world.demonstrations(demonstrated, "demonstrations"))
        yield from (("documents", {"text": text}) for text in world.documents(documented, "documents"))

    return LoadedRecords(rows(), truth={"temperature": demo.temperature})
