"""Records in the formats that the authors' scripts read and write (Linear95/APO@4282775)."""

import re
from collections.abc import Iterator

from apo.core.errors import UserError
from apo.core.records import Row
from apo.datasets.formats import OTHER_ANSWER, SEPARATOR
from apo.export.kinds import UnfitError, kind_of

_RESERVED_NAME = re.compile(r"sample_\d+|query|query_id|type|target|scores|samples|golden")


def to_authors(row: Row, *, where: str) -> Iterator[Row]:
    """A record of any kind in the authors' format of that kind.

    Raises:
        UserError: The keys are those of no kind, or a text can't be written in the format.
    """
    kind = kind_of(row, where=where)
    if kind == "comparison" and row.get("type") == "apo":
        yield from adversarial_to_authors(row)
    elif kind == "comparison":
        yield comparison_to_authors(row)
    elif kind == "golden":
        yield golden_to_authors(row)
    elif kind == "samples":
        yield samples_to_authors(row)
    elif kind == "selection":
        yield selection_to_authors(row)
    elif kind == "scores":
        yield from scores_to_authors(row)
    else:
        raise UserError(
            where,
            found="a demonstration",
            expected="a record of which the authors' scripts have a format",
            do="export it with --to sft or --to chat",
        )


def comparison_to_authors(row: Row) -> Row:
    """{text: [query<sep>response, ...], scores, query_id, type}.

    Raises:
        UnfitError: A text contains the separator.
    """
    texts = [_join(row, response) for response in row["responses"]]
    return {"text": texts, "scores": row["scores"], "query_id": row["query_id"], "type": row.get("type", "")}


def adversarial_to_authors(row: Row) -> Iterator[Row]:
    """One {text: [query<sep>golden, query<sep>sample], scores, type} per sample."""
    golden, *samples = comparison_to_authors(row)["text"]
    for sample in samples:
        yield {"text": [golden, sample], "scores": [1.0, 0.0], "type": "apo"}


def _join(row: Row, response: str) -> str:
    text = f"{row['query']}{SEPARATOR}{response}"
    if text.count(SEPARATOR) != 1:
        raise UnfitError(
            f"query {row['query_id']!r}",
            found=f"a text that contains {SEPARATOR}",
            expected="texts without it: the authors' format joins query and response by it",
            do="fix the row, or add --leave-out",
        )
    return text


def golden_to_authors(row: Row) -> Row:
    """{query_id, query, golden, type}."""
    return {key: row[key] for key in ("query_id", "query", "golden", "type") if key in row}


def samples_to_authors(row: Row) -> Row:
    """{query_id, query, sample_0, sample_1, ...} and the other answers under their own names.

    Raises:
        UnfitError: There is no sample, or the authors' scripts do not read an answer of that name.
    """
    if not row["samples"]:
        raise _unfit(row, "no samples", "one sample or more", "fix the row, or add --leave-out")
    for name in row.get("extra", {}):
        if not OTHER_ANSWER.fullmatch(name) or _RESERVED_NAME.fullmatch(name):
            raise _unfit(
                row,
                f"an answer of others under the name {name!r}",
                "hh_best, or a name with gpt4 or ans_ in it, which the authors' scripts look for",
                "rename it in the source, or add --leave-out",
            )
    return {
        "query_id": row["query_id"],
        "query": row["query"],
        **_numbered(row["samples"]),
        **row.get("extra", {}),
    }


def _numbered(values: list[str] | list[float]) -> Row:
    return {f"sample_{index}": value for index, value in enumerate(values)}


def selection_to_authors(row: Row) -> Row:
    """The format of their rejection sampling: the samples, `target`, and `scores` by sample name.

    Other answers among the candidates have no name in a selection. They are its last samples.
    """
    return {
        "query_id": row["query_id"],
        "query": row["query"],
        **_numbered(row["samples"]),
        "target": row["target"],
        "scores": _numbered(row["scores"]),
    }


def scores_to_authors(row: Row) -> Iterator[Row]:
    """{"id:sample_0": score}, one per sample, then one per other answer.

    Raises:
        UnfitError: The id or a name contains the colon at which the authors' scripts split.
    """
    for name in (row["query_id"], *row.get("extra", {})):
        if ":" in name:
            raise _unfit(
                row,
                f"':' in {'the id' if name == row['query_id'] else f'the name {name!r}'}",
                "none: the authors' scripts split 'id:sample_0' there",
                "rename it in the source, or add --leave-out",
            )
    for name, score in {**_numbered(row["scores"]), **row.get("extra", {})}.items():
        yield {f"{row['query_id']}:{name}": score}


def _unfit(row: Row, found: str, expected: str, do: str) -> UnfitError:
    return UnfitError(f"query {row['query_id']!r}", found=found, expected=expected, do=do)
