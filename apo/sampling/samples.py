"""Samples of a language model, drawn here or brought by the source, counted."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from apo.core.dialogue import cut_runaway
from apo.core.errors import UserError
from apo.core.records import Row
from apo.model.encoding import Encoder
from apo.sampling.prompts import Prompt
from apo.sampling.responses import Response


def from_source(
    queries: Iterable[Row], samples: Iterable[Row], counts: Counter[str], *, where: str
) -> Iterator[Row]:
    """The source's own samples of the queries, cut at a human turn that a model invented.

    Counts `samples_cut`.

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
        pairs = [cut_runaway(text) for text in own["samples"]]
        counts["samples_cut"] += sum(was_cut for _, was_cut in pairs)
        yield {**row, "samples": [text.strip() for text, _ in pairs], **beside}


def drawn_rows(
    encoder: Encoder, prompts: Sequence[Prompt], responses: Sequence[Sequence[Response]]
) -> Iterator[Row]:
    """The rows of the prompts with the samples that were drawn.

    Where the ids of a sample are not those of its text, `sample_ids` has them, null for the others. `uncut`
    is set where the model writes another form than the HH form: there a line `Human:` is no turn.
    """
    uncut = {} if encoder.template.is_hh else {"uncut": True}
    for prompt, drawn in zip(prompts, responses, strict=True):
        ids = [one.ids for one in drawn]
        kept = {"sample_ids": ids} if any(one is not None for one in ids) else {}
        yield {**prompt.row, "samples": [one.text for one in drawn], **kept, **uncut}


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
    """The rows with `made_by`, which says where the samples come from.

    Counts `queries`, `samples`, `samples_blank`, `words`, `queries_all_equal`.
    """
    names = ("queries", "samples", "samples_cut", "samples_blank", "words", "queries_all_equal")
    counts.update(dict.fromkeys(names, 0))
    for row in rows:
        texts = row["samples"]
        counts["queries"] += 1
        counts["samples"] += len(texts)
        counts["samples_blank"] += texts.count("")
        counts["words"] += sum(len(text.split()) for text in texts)
        counts["queries_all_equal"] += len(texts) > 1 and len(set(texts)) == 1
        yield {**row, "made_by": origin}
