"""The files of a game with a real model: drawn rows of public sets, and the checkpoint of the chat model."""

import json
import lzma
import random
from pathlib import Path
from typing import Any

from apo.core.errors import UserError
from apo.core.records import write_rows
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


def write_files(settings: RealSettings, data: Path, model: Path, copy: Path, *, seed: int) -> None:
    """Writes the drawn rows of all files into a copy of the repository, and links the checkpoint."""
    for file in settings.files:
        draw = f"{TEST_SEED if file.part == 'test' else seed} {file.part}"
        write_rows(copy / FOLDER / file_name(file), drawn_rows(data / file.file, file.rows, draw))
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


def drawn_rows(path: Path, number: int, draw: str) -> list[Any]:
    """Rows of a file in JSON or JSON Lines (also `.xz`) in its order, drawn without repetition.

    Each `draw` is another one: the parts of a game that share a file get rows of their own.
    """
    text = lzma.decompress(path.read_bytes()).decode() if path.suffix == ".xz" else path.read_text("utf-8")
    rows = json.loads(text) if text.lstrip().startswith("[") else [*map(json.loads, text.splitlines())]
    if not number:
        return rows
    picked = random.Random(f"{draw} {path.name}").sample(range(len(rows)), number)
    return [rows[index] for index in sorted(picked)]
