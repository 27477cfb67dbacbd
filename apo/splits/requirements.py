"""Checks that each part has what the game needs: an empty part ends `split`, before anything is trained."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from apo.core.errors import UserError
from apo.core.records import Row
from apo.splits.settings import Split
from apo.splits.splitting import PARTS, Part

GoldenSource = Literal["files", "chosen", "endpoint"]


def check_parts(
    queries: Mapping[str, int], counts: Mapping[str, int], settings: Split, *, draws: bool
) -> None:
    """Raises a UserError if a part has no query, so that it trains or evaluates nothing.

    Args:
        queries: The number of queries of each part.
        counts: The counts of `split_rows`, with the dropped rows.
        draws: Whether the part of any row is drawn, so that the fractions have an effect.
    """
    for part in PARTS:
        if queries[part]:
            continue
        left_out = {
            name.removeprefix("dropped_"): number
            for name, number in counts.items()
            if number and name.startswith("dropped_") and (name.endswith(f"_{part}") or "in_test" in name)
        }
        reasons = ", ".join(f"{name} {number:,}" for name, number in left_out.items())
        remedies = [_remedy(part, settings, draws=draws)]
        if any(name.startswith("near_") for name in left_out):
            remedies.append("a larger split.near_duplicate, if all queries begin with one long text")
        if any(name.startswith("first_turn_") for name in left_out):
            remedies.append("split.shared_first_turn: keep")
        raise UserError(
            f"part {part}",
            found="no comparisons" + (f" (left out: {reasons})" if reasons else ""),
            expected="comparisons in every part: rm, llm, valid and test",
            do="; or ".join(remedies),
        )


def _remedy(part: Part, settings: Split, *, draws: bool) -> str:
    """The change of params.yaml that gives queries to a part."""
    if part == "valid":
        return _larger("valid_fraction", settings.valid_fraction)
    if part == "llm":
        remedy = f"set a split.valid_fraction below {settings.valid_fraction:g}"
        if draws:
            remedy += f" or a split.rm_fraction below {settings.rm_fraction:g}"
        return f"{remedy}, or name more comparisons under data.files.llm"
    remedy = f"name comparisons of other queries under data.files.{part}"
    if part == "test":
        remedy += " (for a data set of a hub, a split under data.hub.test)"
    if not draws:
        return remedy
    fraction: float = getattr(settings, f"{part}_fraction")
    return f"{_larger(f'{part}_fraction', fraction)}, or {remedy}"


def _larger(name: str, value: float) -> str:
    return f"set split.{name} to more than {value:g}, for example {min(0.5, max(0.1, 2 * value)):g}"


def with_golden(
    rows: Iterable[tuple[str, Row]],
    golden: Iterable[Row],
    *,
    without_golden: Literal["error", "skip"],
    source: GoldenSource,
    counts: Counter[str],
) -> Iterator[tuple[str, Row]]:
    """All rows except queries of the RM part that have no golden answer and will get none.

    Args:
        rows: By name; the queries of the RM part are `rm_queries`.
        golden: Rows with `query_id`.
        without_golden: Whether such a query is an error, or skipped and counted.
        source: Parameter `data.golden`; with "endpoint" stage `golden` requests the missing answers.
        counts: Receives `rm_queries_without_golden`.

    Raises:
        UserError: A query has no golden answer and `without_golden` is "error", or no query has one.
    """
    golden_ids = {row["query_id"] for row in golden}
    with_answer = 0
    for name, row in rows:
        if name != "rm_queries":
            yield name, row
            continue
        has_golden = row["query_id"] in golden_ids
        if not has_golden:
            counts["rm_queries_without_golden"] += 1
        if has_golden or source == "endpoint":
            with_answer += 1
            yield name, row
        elif without_golden == "error":
            raise UserError(
                f"query {row['query_id']!r} of the RM part",
                found="no golden answer",
                expected="one for every query of the RM part",
                do=_golden_remedy(source, may_skip=bool(golden_ids)),
            )
    skipped = counts["rm_queries_without_golden"]
    if skipped and not with_answer:
        raise UserError(
            "RM part",
            found=f"no golden answer to any of its {skipped:,} queries",
            expected="golden answers, which the APO RM learns to tell from samples",
            do=_golden_remedy(source, may_skip=False),
        )


def _golden_remedy(source: GoldenSource, *, may_skip: bool) -> str:
    """The changes of params.yaml that give golden answers to the RM part."""
    remedies = [] if source == "chosen" else ["data.golden: chosen (the preferred answer of each comparison)"]
    remedies.append("data.golden: endpoint (a model's answers)")
    if may_skip:
        remedies.append("split.without_golden: skip (such a query has no golden > samples)")
    options = " or ".join([", ".join(remedies[:-1]), remedies[-1]] if remedies[1:] else remedies)
    return f"set {options} in params.yaml, or bring golden answers (data.source: files, data.files.golden)"


def not_empty(rows: Iterable[Row], file: Path, *, start: str, parameter: str) -> Iterator[Row]:
    """Yields the rows of a file, which must have some if a model is trained on them.

    Args:
        file: The file to write.
        start: The start of the model: this file, or a checkpoint.
        parameter: The parameter with the start.

    Raises:
        UserError: The file has no rows, and the model starts from it.
    """
    empty = True
    for row in rows:
        empty = False
        yield row
    if empty and Path(start) == file:
        raise UserError(
            f"params.yaml: {parameter}",
            found=f"{start}, for which the source has no rows",
            expected="a checkpoint, or texts to train on",
            do=f"set {parameter} to a folder with a Hugging Face checkpoint"
            + (
                ""
                if file.stem != "demonstrations"
                else ", or bring answers (data.source: files, data.files.demonstrations)"
            ),
        )
