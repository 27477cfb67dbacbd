"""The files of a game with a real model: drawn rows of public sets, and the checkpoint of the chat model."""

import hashlib
import random
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from apo.core.config import read_section
from apo.core.data_issues import DataIssues
from apo.core.dialogue import normalize_query
from apo.core.errors import UserError
from apo.core.records import Row, write_rows
from apo.datasets.file_reader import ReadOptions
from apo.datasets.issues import ROW_ISSUES
from apo.datasets.readers import read_comparisons, read_golden
from study.play import ROOT
from study.real.settings import DataFile, RealSettings

FOLDER = Path("data/input/real")
MODEL = Path("pretrained/chat")
TEST_SEED = 0
"""The seed that draws the test rows, the same in all games."""


def check_sources(settings: RealSettings, data: Path, model: Path) -> None:
    """Raises a `UserError` unless all files of the settings and the checkpoint are there."""
    paths = [data / file.file for file in settings.files] + [model / "config.json"]
    if missing := [str(path) for path in paths if not path.is_file()]:
        raise UserError(
            "--data and --model",
            found=f"no {', no '.join(missing)}",
            expected="the files of study/real/settings.yaml in one folder, and a Hugging Face checkpoint",
            do="name both folders; docs/real_model.md says where the files come from",
        )


def hash_of_sources(settings: RealSettings, data: Path, model: Path) -> str:
    """SHA-256 over the files of the settings and those of the checkpoint; empty where there are none."""
    paths = [data / file.file for file in settings.files]
    paths += sorted(path for path in model.glob("*") if path.is_file())
    return hashlib.sha256("".join(_hash(path) for path in paths if path.is_file()).encode()).hexdigest()


@cache
def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_files(settings: RealSettings, data: Path, model: Path, copy: Path, *, seed: int) -> None:
    """Writes the drawn rows of all files into a copy of the repository, and links the checkpoint."""
    for file, rows in drawn_files(settings, data, seed):
        cut = [with_cut_answers(row, settings.max_words) for row in rows]
        write_rows(copy / FOLDER / file_name(file), cut)
    (copy / MODEL).parent.mkdir(exist_ok=True)
    if not (copy / MODEL).exists():
        (copy / MODEL).symlink_to(model.resolve())


def file_name(file: DataFile) -> str:
    """Its name in the copy; what stands before the first point is the kind of its queries."""
    return f"{file.name}.{file.part}.jsonl"


def data_changes(settings: RealSettings) -> dict[str, Any]:
    """The parameters that name the files, by part."""
    names: dict[str, Any] = {"data.files.rm": [], "data.files.llm": [], "data.files.test": []}
    names["data.files.golden"] = []
    for file in settings.files:
        names[f"data.files.{file.part}"].append(file_name(file))
    return names


def drawn_files(settings: RealSettings, data: Path, seed: int) -> Iterator[tuple[DataFile, list[Row]]]:
    """Each file of the settings with its drawn rows, one for a query.

    Parts that share a file get rows of different queries: they take one after the other from the same draw.

    Raises:
        UserError: A file has too few queries, or is not readable.
    """
    taken: Counter[tuple[str, int]] = Counter()
    for file in settings.files:
        draw_seed = TEST_SEED if file.part == "test" else seed
        records = read_records(data / file.file, is_golden=file.part == "golden")
        shuffled = random.Random(f"{draw_seed} {file.file}").sample(records, len(records))
        drawn = list({normalize_query(row["query"]): row for row in shuffled}.values())
        start = taken[file.file, draw_seed]
        chosen = drawn[start : start + file.rows] if file.rows else drawn
        if len(chosen) < file.rows:
            raise UserError(
                str(data / file.file),
                found=f"{len(drawn)} queries",
                expected=f"{start + file.rows}, for the parts that draw from it",
                do="set fewer rows in study/real/settings.yaml",
            )
        taken[file.file, draw_seed] += file.rows
        yield file, chosen


@cache
def read_records(path: Path, *, is_golden: bool) -> list[Row]:
    """All rows of a file that stage data keeps with the actions of params.yaml."""
    section = read_section(ROOT / "params.yaml", ROW_ISSUES.section, ROW_ISSUES.settings)
    reader = read_golden if is_golden else read_comparisons
    return list(reader(path, Counter(), DataIssues(ROW_ISSUES, section.actions()), ReadOptions()))


def with_cut_answers(row: Row, max_words: int) -> Row:
    """A comparison or a golden answer in which each answer ends after so many words.

    >>> with_cut_answers({"query": "q", "golden": "one two three"}, 2)
    {'query': 'q', 'golden': 'one two'}
    """
    if "golden" in row:
        return {**row, "golden": first_words(row["golden"], max_words)}
    return {**row, "responses": [first_words(response, max_words) for response in row["responses"]]}


def first_words(text: str, number: int) -> str:
    """The first words of a text, with the spaces and lines between them.

    >>> first_words(" One two,\\n\\nthree four", 3)
    ' One two,\\n\\nthree'
    """
    words = text.split()
    if len(words) <= number:
        return text
    end = 0
    for word in words[:number]:
        end = text.index(word, end) + len(word)
    return text[:end]
