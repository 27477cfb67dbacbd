"""Samples of a language model, drawn here or brought by the source, cut at runaway turns and counted."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from apo.core.errors import UserError
from apo.core.records import Row
from apo.text.dialogue import cut_runaway


def from_source(queries: Iterable[Row], samples: Iterable[Row], *, where: str) -> Iterator[Row]:
    """The source's own samples of the queries, in the order of the queries.

    Raises:
        UserError: A query has none, or two rows.
    """
    found: dict[str, Row] = {}
    for number, row in enumerate(samples, start=1):
        if found.setdefault(row["query_id"], row) is not row:
            raise UserError(
                f"{where}:{number}",
                found=f"samples of query {row['query_id']!r} for a second time",
                expected="one row a query",
                do="put all samples of a query into one row",
            )
    for row in queries:
        own = found.get(row["query_id"])
        if own is None:
            raise UserError(
                where,
                found=f"no samples of query {row['query_id']!r}",
                expected="samples of every query of this part",
                do="add them under data.files.samples, or set sample.PART.origin: actor in params.yaml",
            )
        beside = {key: own[key] for key in ("extra", "source_rewards") if own.get(key)}
        yield {**row, "samples": own["samples"], **beside}


def refuse_later_round(llm: Path, part: str) -> None:
    """The samples that a source brings are those of the LLM before the game.

    Raises:
        UserError: The LLM is that of a later round, whose samples have to be drawn from it.
    """
    if llm.name != "r0":
        raise UserError(
            f"params.yaml: sample.{part}.origin",
            found=f"'source' in the round after {llm.name!r}",
            expected="'actor': the source's samples are not those of an LLM that the game has aligned",
            do="play one round (rounds=[{id: r1, prev: r0}]), or let the actor answer",
        )


def counted(rows: Iterable[Row], *, origin: str, counts: Counter[str]) -> Iterator[Row]:
    """Samples cut at a runaway human turn, without white space at the ends; `made_by` says their origin.

    Counts `queries`, `samples`, `samples_cut`, `samples_blank`, `words`, `queries_all_equal`.
    """
    counts.update(dict.fromkeys(("queries", "samples", "samples_cut", "samples_blank", "words"), 0))
    counts["queries_all_equal"] += 0
    for row in rows:
        pairs = [cut_runaway(text) for text in row["samples"]]
        texts = [text.strip() for text, _ in pairs]
        counts["queries"] += 1
        counts["samples"] += len(texts)
        counts["samples_cut"] += sum(was_cut for _, was_cut in pairs)
        counts["samples_blank"] += texts.count("")
        counts["words"] += sum(len(text.split()) for text in texts)
        counts["queries_all_equal"] += len(texts) > 1 and len(set(texts)) == 1
        yield {**row, "samples": texts, "made_by": origin}
