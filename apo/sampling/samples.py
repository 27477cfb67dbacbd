"""Samples of a language model, drawn here or from the source, and their counts."""

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
    """The source's own samples of the queries, truncated at a human turn that the model invented.

    Counts `samples_cut`.

    Raises:
        UserError: A query has no samples, or two rows of samples.
    """
    rows_by_query: dict[str, Row] = {}
    for line, row in enumerate(samples, start=1):
        if rows_by_query.setdefault(row["query_id"], row) is not row:
            raise UserError(
                f"{where}:{line}",
                found=f"samples of query {row['query_id']!r} for a second time",
                expected="one row a query",
                do="put all samples of a query into one row",
            )
    for row in queries:
        sample_row = rows_by_query.get(row["query_id"])
        if sample_row is None:
            raise UserError(
                where,
                found=f"no samples of query {row['query_id']!r}",
                expected="samples of every query of this part",
                do="add them under data.files.samples, or set sample.PART.origin: actor in params.yaml",
            )
        extra = {key: sample_row[key] for key in ("extra", "source_rewards") if sample_row.get(key)}
        truncated = [cut_runaway(text) for text in sample_row["samples"]]
        counts["samples_cut"] += sum(was_cut for _, was_cut in truncated)
        yield {**row, "samples": [text.strip() for text, _ in truncated], **extra}


def drawn_rows(
    encoder: Encoder, prompts: Sequence[Prompt], responses: Sequence[Sequence[Response]]
) -> Iterator[Row]:
    """The rows of the prompts with the samples that were drawn.

    If the drawn ids of a sample differ from those of its text, `sample_ids` has them, with null for the other
    samples. `uncut` is set if the model does not write the HH form, in which a line `Human:` begins a turn.
    """
    uncut = {} if encoder.template.is_hh else {"uncut": True}
    for prompt, samples in zip(prompts, responses, strict=True):
        ids = [sample.ids for sample in samples]
        sample_ids = {"sample_ids": ids} if any(sample.ids is not None for sample in samples) else {}
        yield {**prompt.row, "samples": [sample.text for sample in samples], **sample_ids, **uncut}


def refuse_later_round(llm: Path, part: str) -> None:
    """Checks that samples of the source are used only for the LLM before the game.

    Raises:
        UserError: The LLM is that of a later round.
    """
    if llm.name != "r0":
        raise UserError(
            f"params.yaml: sample.{part}.origin",
            found=f"'source' in the round after {llm.name!r}",
            expected="'actor': the source's samples are not those of an LLM that the game has aligned",
            do="play one round (rounds=[{id: r1, prev: r0}]), or let the actor answer",
        )


def counted(rows: Iterable[Row], *, origin: str, counts: Counter[str]) -> Iterator[Row]:
    """Adds `made_by`, the origin of the samples, to the rows.

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
