"""This pipeline's records in the shapes that other tools read: the authors' scripts, and pair trainers.

    python -m apo.export --to authors data/split/test.jsonl test.json
    python -m apo.export --to pairs data/split/rm_train.jsonl pairs.jsonl

`authors` writes one JSON list; the kind of the records is told from their keys. `pairs` writes JSON Lines
of {prompt, chosen, rejected}, one for every ordered pair of a comparison.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import permutations
from pathlib import Path

from apo.conversion import authors_pairs
from apo.errors import UserError
from apo.recognise import SEPARATOR
from apo.records import Row, read_numbered_rows, write_rows


def comparison_to_authors(row: Row) -> Row:
    """{text: [query<sep>response, ...], scores, query_id, type}.

    Raises:
        UserError: A text holds the separator, so that it could not be read back.
    """
    texts = [_joined(row, response) for response in row["responses"]]
    return {"text": texts, "scores": row["scores"], "query_id": row["query_id"], "type": row.get("type", "")}


def _joined(row: Row, response: str) -> str:
    text = f"{row['query']}{SEPARATOR}{response}"
    if text.count(SEPARATOR) != 1:
        raise UserError(
            f"query {row['query_id']!r}",
            found=f"a text that contains {SEPARATOR}",
            expected="texts without it: the authors' shape joins query and response by it",
            do="leave the row out",
        )
    return text


def golden_to_authors(row: Row) -> Row:
    """{query_id, query, golden, type}."""
    return {key: row[key] for key in ("query_id", "query", "golden", "type") if key in row}


def samples_to_authors(row: Row) -> Row:
    """{query_id, query, sample_0, sample_1, ...} and the other answers under their own names."""
    samples = {f"sample_{index}": sample for index, sample in enumerate(row["samples"])}
    return {"query_id": row["query_id"], "query": row["query"], **samples, **row.get("extra", {})}


def scores_to_authors(row: Row) -> Iterator[Row]:
    """{"id:sample_0": score}, one a sample, then those of the other answers.

    Raises:
        UserError: The id holds the colon at which the authors' scripts split.
    """
    if ":" in row["query_id"]:
        raise UserError(
            f"query {row['query_id']!r}",
            found="':' in the id",
            expected="an id without it: the authors' scripts split 'id:sample_0' there",
            do="rename the id in the source",
        )
    for index, score in enumerate(row["scores"]):
        yield {f"{row['query_id']}:sample_{index}": score}
    for name, score in row.get("extra", {}).items():
        yield {f"{row['query_id']}:{name}": score}


def comparison_to_pairs(row: Row) -> Iterator[Row]:
    """{prompt, chosen, rejected} for every two responses of which one has the higher score."""
    for better, worse in permutations(range(len(row["responses"])), 2):
        if row["scores"][better] > row["scores"][worse]:
            chosen, rejected = row["responses"][better], row["responses"][worse]
            yield {"prompt": row["query"], "chosen": chosen, "rejected": rejected}


def to_authors(row: Row, *, where: str) -> Iterator[Row]:
    """A record of any kind in the authors' shape of that kind.

    Raises:
        UserError: The keys are those of no kind, or a text can't be written in the shape.
    """
    if {"query", "responses", "scores"} <= row.keys():
        if row.get("type") == "apo":
            yield from authors_pairs(row, separator=SEPARATOR)
        else:
            yield comparison_to_authors(row)
    elif "golden" in row:
        yield golden_to_authors(row)
    elif "samples" in row:
        yield samples_to_authors(row)
    elif "scores" in row:
        yield from scores_to_authors(row)
    else:
        raise UserError(
            where,
            found=f"keys {sorted(row)}",
            expected="a comparison, an APO item, a golden answer, samples or scores",
            do="export a file that this pipeline wrote",
        )


def write_authors(rows: Iterable[Row], path: Path) -> int:
    """Writes rows as one JSON list, as a stream, whole or not at all; returns how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    count = 0
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as out:
            for row in rows:
                out.write(",\n" if count else "[\n")
                out.write(json.dumps(row, ensure_ascii=False, allow_nan=False))
                count += 1
            out.write("\n]\n" if count else "[]\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def export(source: Path, target: Path, *, to: str) -> int:
    """Writes a records file in another shape; returns how many rows it has then.

    Raises:
        UserError: The records are of another kind than the shape needs.
    """
    if to == "authors":
        rows = (
            out
            for number, row in read_numbered_rows(source)
            for out in to_authors(row, where=f"{source}:{number}")
        )
        return write_authors(rows, target)
    return write_rows(target, _pairs(source))


def _pairs(source: Path) -> Iterator[Row]:
    for number, row in read_numbered_rows(source):
        if not {"query", "responses", "scores"} <= row.keys():
            raise UserError(
                f"{source}:{number}",
                found=f"keys {sorted(row)}",
                expected="a comparison: query, responses, scores",
                do="export a file of comparisons",
            )
        yield from comparison_to_pairs(row)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", choices=["authors", "pairs"], required=True, help="shape to write")
    parser.add_argument("source", type=Path, help="JSON Lines that this pipeline wrote")
    parser.add_argument("target", type=Path, help="file to write")
    options = parser.parse_args(arguments)
    try:
        count = export(options.source, options.target, to=options.to)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.target}: {count} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
