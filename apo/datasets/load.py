"""The raw data that a source gives: the same records whatever the source is."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apo.core.errors import RowError, UserError
from apo.core.records import Row
from apo.datasets.readers import (
    QueryIds,
    ReadOptions,
    best_response,
    read_comparisons,
    read_demonstrations,
    read_golden,
    read_samples,
)
from apo.datasets.settings import Data, Demo, Files
from apo.text.data_issues import DataIssues
from apo.text.dialogue import cut_runaway, digest_of, query_id_of

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
    """

    rows: Iterator[tuple[str, Row]]
    truth: dict[str, float] = field(default_factory=dict)
    counts: dict[str, Counter[str]] = field(default_factory=dict)


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

    def named(kind: str, rows: Iterable[Row], **more: str) -> Iterator[tuple[str, Row]]:
        for row in rows:
            query = row["query"]
            yield kind, {"query_id": ids.canonical(query_id_of(query), query, "demo world"), **row, **more}

    def rows() -> Iterator[tuple[str, Row]]:
        yield from named("comparisons", world.comparisons(train, demo.temperature, "train"), split="")
        yield from named("comparisons", world.comparisons(test, demo.temperature, "test"), split="test")
        yield from named("golden", world.golden([*train, *test], demo.golden_flaws))
        yield from named("demonstrations", world.demonstrations(shown, "demonstrations"))
        yield from (("documents", {"text": text}) for text in world.documents(written, "documents"))

    return LoadedRecords(rows(), truth={"temperature": demo.temperature})


def read_files(
    files: Files,
    folder: Path,
    issues: DataIssues,
    *,
    format: str = "",
    display_names: Mapping[str, str] | None = None,
) -> LoadedRecords:
    """Files in the formats that `apo.datasets.recognize` knows, named relative to their folder.

    Args:
        files: Their names, and how the columns of the comparisons are called.
        folder: Where they are.
        issues: Receives what is found in their rows.
        format: The name of the format of the comparisons, "" where it is recognized.
        called: What to call a file in messages, where not by its path.
    """
    if not (files.comparisons or (files.rm and files.llm)):
        raise UserError(
            "params.yaml: data.files",
            found="no comparisons to train on",
            expected="file names under `comparisons`, or under both `rm` and `llm`",
            do=f"put the files into {folder} and name them there",
        )
    named = {kind: getattr(files, kind) for kind in Files.model_fields if kind != "columns"}
    for kind, names in named.items():
        for name in names:
            check_name(name, folder, twice=names.count(name) > 1, where=f"params.yaml: data.files.{kind}")
    counts: dict[str, Counter[str]] = {}
    return LoadedRecords(
        _FileRows(files, folder, issues, counts, format, display_names or {}).all(), counts=counts
    )


@dataclass
class _FileRows:
    """The rows of all files; one query has one id in all of them."""

    files: Files
    folder: Path
    issues: DataIssues
    counts: dict[str, Counter[str]]
    format: str
    display_names: Mapping[str, str]
    ids: QueryIds = field(default_factory=QueryIds)

    def all(self) -> Iterator[tuple[str, Row]]:
        files = self.files
        parts = {"": files.comparisons, "rm": files.rm, "llm": files.llm, "test": files.test}
        asked: set[str] = set()
        for part, names in parts.items():
            for row in self._rows(read_comparisons, names, part or "comparisons"):
                yield "comparisons", row | {"split": part}
                asked.add(row["query_id"])
                if part != "test":
                    best = cut_runaway(best_response(row["responses"], row["scores"]))[0]
                    if best:
                        yield "documents", {"text": f"{row['query']} {best}"}
        yield from self._golden(asked)
        yield from (("samples", row) for row in self._rows(read_samples, files.samples, "samples"))
        for row in self._rows(read_demonstrations, files.demonstrations, "demonstrations"):
            yield "demonstrations", row
            yield "documents", {"text": f"{row['query']} {row['response']}"}

    def _golden(self, asked: set[str]) -> Iterator[tuple[str, Row]]:
        """Golden answers, one a query: the same one again, and another one, are issues."""
        seen: dict[str, bytes] = {}
        counts = self.counts.setdefault("golden", Counter())
        for row in self._rows(read_golden, self.files.golden, "golden"):
            query_id, answer = row["query_id"], row["golden"]
            digest = digest_of(answer)
            if query_id not in seen:
                seen[query_id] = digest
                yield "golden", row
                continue
            code = "golden_repeated" if seen[query_id] == digest else "two_golden"
            self.issues.keeps(
                code,
                where=f"golden answers of query {query_id[:60]!r}",
                found="two that differ" if code == "two_golden" else f"{answer[:60]!r} twice",
                expected="one golden answer a query",
                do="remove one of them",
            )
            counts[f"dropped_{code}"] += 1
        if self.files.golden:
            counts["queries_without"] = len(asked - seen.keys())

    def _rows(self, reader: Callable[..., Iterator[Row]], names: list[str], kind: str) -> Iterator[Row]:
        for name in names:
            path = self.folder / name
            counts = self.counts.setdefault(f"{kind}/{name}", Counter())
            options = ReadOptions(name=self.display_names.get(name, ""))
            if reader is read_comparisons:
                options = ReadOptions(self.files.columns, self.format, options.name)
            of_file = path.name.partition(".")[0]
            for row in reader(path, counts, self.issues, options):
                where = f"{options.name or path}: row {counts['rows']}"
                try:
                    query_id = self.ids.canonical(row["query_id"], row["query"], where)
                except RowError as error:
                    details: dict[str, Any] = {"expected": error.expected, "do": error.do}
                    self.issues.keeps(error.code, where=where, found=error.found, **details)
                    counts[f"dropped_{error.code}"] += 1
                    counts["kept"] -= 1
                    continue
                counts["rewritten_ids"] += query_id != row["query_id"]
                if row.get("type") == "":  # comparisons without a kind: that of their file
                    row["type"] = of_file
                row["query_id"] = query_id
                yield row


def check_name(name: str, folder: Path, *, twice: bool, where: str) -> None:
    """A file that is named once and lies in the folder that DVC watches, itself and not a link to it."""
    if twice or not is_inside(folder / name, folder):
        raise UserError(
            where,
            found=f"{name!r:.200} {'twice' if twice else f'outside {folder}'}",
            expected=f"names of different files inside {folder}, which DVC watches",
            do="remove one of them" if twice else "move the file there; a link has to stay in the folder",
        )


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path, as written and with all links followed, stays in a folder."""
    if ".." in path.parts or "\0" in str(path):
        return False
    real = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
    return real and path.absolute().is_relative_to(folder.absolute())


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
    in_folder = {
        "demo": False,
        "files": True,
        "hub": Path(data.hub.path).is_dir(),
        "authors": not data.authors.urls,
    }
    if in_folder[data.source]:
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
