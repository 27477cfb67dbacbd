"""The raw data that a source gives: the same records whatever the source is."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from apo.config import Data, Demo, Files, Hub
from apo.dialogue import query_id_of
from apo.errors import UserError
from apo.records import Row
from apo.sources import QueryIds, read_comparisons, read_demonstrations, read_golden, read_samples


@dataclass
class Raw:
    """Streams of records, to be drained in the order of the fields.

    Attributes:
        comparisons: With `split`, the part that the source gives, or "" where it is to be drawn.
        golden: Golden answers, at most one a query.
        samples: Samples that the source brought.
        demonstrations: Answers on which an actor can be fine-tuned.
        documents: `{text}`, on which a backbone can be pretrained.
        truth: What is known about the true reward; empty for real data.
        counts: Per file what was read and what was dropped by which rule.
        findings: The rows that were dropped, with the name of their file inside its folder.
    """

    comparisons: Iterable[Row]
    golden: Iterable[Row]
    samples: Iterable[Row]
    demonstrations: Iterable[Row]
    documents: Iterable[Row]
    truth: dict[str, float] = field(default_factory=dict)
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    findings: list[Row] = field(default_factory=list)


def read_demo(demo: Demo, *, seed: int) -> Raw:
    """The demo world: comparisons with a known true reward, golden answers by its expert."""
    from apo.world import Query, World

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

    def named(rows: Iterable[Row], **more: str) -> Iterator[Row]:
        for row in rows:
            query = row["query"]
            yield {"query_id": ids.canonical(query_id_of(query), query, "demo world"), **row, **more}

    def comparisons() -> Iterator[Row]:
        yield from named(world.comparisons(train, demo.temperature, "train"), split="")
        yield from named(world.comparisons(test, demo.temperature, "test"), split="test")

    return Raw(
        comparisons=comparisons(),
        golden=named(world.golden([*train, *test])),
        samples=[],
        demonstrations=named(world.demonstrations(shown, "demonstrations")),
        documents=({"text": text} for text in world.documents(written, "documents")),
        truth={"temperature": demo.temperature},
    )


def read_files(files: Files, folder: Path) -> Raw:
    """Files in the shapes that `apo.recognise` knows, named relative to their folder."""
    if not (files.comparisons or (files.rm and files.llm)):
        raise UserError(
            "params.yaml: data.files",
            found="no comparisons to train on",
            expected="file names under `comparisons`, or under both `rm` and `llm`",
            do=f"put the files into {folder} and name them there",
        )
    for kind, names in files:
        for name in names:
            _check_name(name, folder, twice=names.count(name) > 1, where=f"params.yaml: data.files.{kind}")
    raw = Raw([], [], [], [], [])
    ids = QueryIds()

    def rows(reader: Callable[..., Iterator[Row]], names: list[str], kind: str) -> Iterator[Row]:
        for name in names:
            path = folder / name
            counts = raw.counts.setdefault(f"{kind}/{name}", Counter())
            dropped: list[Row] = []
            for row in reader(path, counts, dropped):
                query_id = ids.canonical(row["query_id"], row["query"], f"{path}: row {counts['rows']}")
                counts["rewritten_ids"] += query_id != row["query_id"]
                if row.get("type") == "":  # comparisons without a kind: that of their file
                    row["type"] = path.name.partition(".")[0]
                yield row | {"query_id": query_id}
            raw.findings += ({**finding, "file": name} for finding in dropped)

    def comparisons() -> Iterator[Row]:
        parts = {"": files.comparisons, "rm": files.rm, "llm": files.llm, "test": files.test}
        for part, names in parts.items():
            yield from (row | {"split": part} for row in rows(read_comparisons, names, part or "comparisons"))

    def documents() -> Iterator[Row]:
        """Each training dialogue with its best response, for a backbone from scratch."""
        for name in [*files.comparisons, *files.rm, *files.llm, *files.demonstrations]:
            for row in read_demonstrations(folder / name, Counter()):
                yield {"text": f"{row['query']} {row['response']}"}

    raw.comparisons = comparisons()
    raw.golden = _once(rows(read_golden, files.golden, "golden"), raw.counts.setdefault("golden", Counter()))
    raw.samples = rows(read_samples, files.samples, "samples")
    raw.demonstrations = rows(read_demonstrations, files.demonstrations, "demonstrations")
    raw.documents = documents()
    return raw


def _check_name(name: str, folder: Path, *, twice: bool, where: str) -> None:
    """A file that is named once and lies in the folder that DVC watches."""
    if twice or not _is_inside(folder / name, folder):
        raise UserError(
            where,
            found=f"{name!r} {'twice' if twice else f'outside {folder}'}",
            expected=f"names of different files inside {folder}, which DVC watches",
            do="remove one of them" if twice else "move the file there",
        )


def _is_inside(path: Path, folder: Path) -> bool:
    """By name: a link inside the folder may lead out of it, as DVC follows it too."""
    return ".." not in path.parts and path.absolute().is_relative_to(folder.absolute())


def refuse_unread(data: Data, folder: Path) -> None:
    """Files that were put into the watched folder are meant to be read.

    Raises:
        UserError: There is no such folder, or the source reads no files and there are some.
    """
    if not folder.is_dir():
        raise UserError(
            str(folder),
            found="a file" if folder.exists() else "no such folder",
            expected="the folder data.dir, which DVC watches",
            do="make it, empty if there are no files of your own, or correct data.dir in params.yaml",
        )
    if data.source == "files" or (data.source == "hub" and Path(data.hub.path).is_dir()):
        return
    unread = sorted(
        path.name for path in folder.iterdir() if path.name[0] != "." and path.name != "README.md"
    )
    if unread:
        raise UserError(
            str(folder),
            found=f"{len(unread)} files such as {unread[0]!r} that data.source {data.source!r} does not read",
            expected="no files, or `data.source: files`",
            do="name the files in params.yaml under data.files, or move them away",
        )


def read_hub(hub: Hub, folder: Path, *, watched: Path) -> Raw:
    """Comparisons of a Hugging Face data set at a pinned commit, by way of parquet files in `folder`.

    Args:
        hub: Which one; `path` may be a folder inside `watched`.
        folder: For the parquet files, emptied by the caller.
        watched: `data.dir`: DVC sees changes there and nowhere else.

    Raises:
        UserError: The revision is no commit, or the data set is neither cached nor reachable.
    """
    is_local = Path(hub.path).is_dir()
    if is_local and not _is_inside(Path(hub.path), watched):
        raise UserError(
            "params.yaml: data.hub.path",
            found=f"the folder {hub.path!r}",
            expected=f"a folder inside {watched}, which DVC watches, or the name of a data set of the hub",
            do="move the folder there",
        )
    if not hub.train:
        raise UserError(
            "params.yaml: data.hub.train",
            found="''",
            expected="the name of a split of the data set",
            do="write for example `train: train`",
        )
    if not is_local and not re.fullmatch(r"[0-9a-f]{40}", hub.revision):
        raise UserError(
            "params.yaml: data.hub.revision",
            found=repr(hub.revision),
            expected="the 40 hexadecimal digits of a commit: a branch can change",
            do="copy the commit from the page of the data set",
        )
    import datasets  # seconds

    splits = {"train": hub.train, "test": hub.test}
    for name, split in splits.items():
        if not split:
            continue
        try:
            data = datasets.load_dataset(hub.path, revision=hub.revision or None, split=split)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(
                "params.yaml: data.hub",
                found=f"split {split!r} of {hub.path!r} does not load ({' '.join(str(error).split())[:140]})",
                expected="a data set in the local cache, or the network",
                do="check the name and the split, or fetch it once where there is a network",
            ) from None
        data.to_parquet(folder / f"{name}.parquet")
    none: list[str] = []
    files = Files(
        comparisons=["train.parquet"],
        rm=none,
        llm=none,
        test=["test.parquet"] if hub.test else none,
        golden=none,
        samples=none,
        demonstrations=none,
    )
    return read_files(files, folder)


def _once(rows: Iterable[Row], counts: Counter[str]) -> Iterator[Row]:
    """Golden answers, one a query: the same one again is left out and counted, another one is refused."""
    seen: dict[str, str] = {}
    for row in rows:
        query_id, answer = row["query_id"], row["golden"]
        if query_id not in seen:
            seen[query_id] = answer
            yield row
        elif seen[query_id] == answer:
            counts["golden_repeated"] += 1
        else:
            raise UserError(
                f"golden answers of query {query_id!r}",
                found="two that differ",
                expected="one golden answer a query",
                do="remove one of them",
            )
