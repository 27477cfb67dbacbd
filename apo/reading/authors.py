"""The files that the authors of the paper published: what they are called, and what they must hash to.

Their page (github.com/Linear95/APO, data/README.md) leads to a shared folder of a cloud service, from where
the user fetches them. They are read only when size and SHA-256 are those of the files as published.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

from apo.config import Files
from apo.errors import UserError


class Published(NamedTuple):
    """A file: what it is here, its published path, its size in bytes, its SHA-256."""

    kind: str
    path: str
    size: int
    sha256: str


# The file of all training comparisons holds those of the RM part and the LLM part, which are read instead:
# its size is the sum of theirs. What is for validation is drawn by `split` here.
UNUSED = "unused"
PUBLISHED = (
    Published(
        "rm",
        "hh-split/rm_data/hh_split_rm.train.json",
        31354200,
        "6290b28113a3c8b1729dbc6a7fdae3ecca3b5f885157952ce544c614aaf1ac7f",
    ),
    Published(
        "llm",
        "hh-split/llm_data/hh_split_llm.train.json",
        104102380,
        "7757a790ef3823f2713545cbbe0f633506822abd3b519a10f9f7790aefde01a8",
    ),
    Published(
        "test",
        "hh-split/eval_data/hh_cleaned_origin.test.json",
        7338835,
        "818fb341bd262fdb72c204847534c6e3c5ea2ada9f1acd13fa1fc2d0c339e138",
    ),
    Published(
        "golden",
        "hh-split/rm_data/hh_split_rm.golden.json",
        24637605,
        "e26a8a8be37798933a794fb2c53596abc02cd3d93945a905afded78ee4f63231",
    ),
    Published(
        "samples",
        "hh-split/rm_data/hh_split_rm_alpaca_v0.sample.json",
        34522169,
        "30279a0f30700b5eaf4905e9c35bb753082c9cf680286be5f6c769463a152cdc",
    ),
    Published(
        "samples",
        "hh-split/llm_data/hh_split_llm_alpaca_v0.sample.json",
        137215812,
        "549aa8425994a02bafb76918c400b5c7f4a34248d393c6b425d938a9e50867d1",
    ),
    Published(
        UNUSED,
        "hh-split/hh_cleaned_origin.train.json",
        135456578,
        "369f7eaf0e7d003fd93f11c23ced85ca4404ec6dbf3167a80e744362dce91317",
    ),
    Published(
        UNUSED,
        "hh-split/eval_data/hh_split_llm.valid.json",
        15696049,
        "200cbfe6435b7e25efd3367077f868d6cb3c8a41c315296ff928d8f3ca4defce",
    ),
)


def checked_files(folder: Path, *, samples: bool) -> Files:
    """The published files in a folder, once all of them are what was published.

    Args:
        folder: Where the user put them, with the folders of the publication or without.
        samples: Whether the samples are needed.

    Raises:
        UserError: One is missing, or of another size or content, or there is a file beside them.
    """
    places = {path: file for file in PUBLISHED if (path := _place(folder, file))}
    others = sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if not path.is_dir() and path not in places and path.name[0] != "." and path.name != "README.md"
    )
    if others:
        raise UserError(
            str(folder),
            found=f"{len(others)} files such as {others[0]!r} that the authors did not publish",
            expected=f"names such as {PUBLISHED[0].path}",
            do="remove or rename them, or set data.source: files and name them under data.files",
        )
    needed = [file for file in PUBLISHED if file.kind != UNUSED and (samples or file.kind != "samples")]
    missing = [f"{file.path} ({file.size} bytes)" for file in needed if file not in places.values()]
    if missing:
        raise UserError(
            str(folder),
            found=f"no {missing[0]}" + (f" and {len(missing) - 1} more missing" if missing[1:] else ""),
            expected=", ".join(file.path for file in needed),
            do="fetch them from the page that github.com/Linear95/APO names in data/README.md",
        )
    for path, file in places.items():
        _check(path, file)
    names = {file: str(path.relative_to(folder)) for path, file in places.items()}
    of = {kind: [names[file] for file in needed if file.kind == kind] for kind in Files.model_fields}
    return Files.model_validate({**of, "columns": {}})


def _place(folder: Path, file: Published) -> Path | None:
    """Where a file is: under its path, under its path without the first folder, or under its bare name."""
    _, _, short = file.path.partition("/")
    names = (file.path, short, Path(file.path).name)
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _check(path: Path, file: Published) -> None:
    size = path.stat().st_size
    digest = ""
    if size == file.size:
        with path.open("rb") as data:
            digest = hashlib.file_digest(data, "sha256").hexdigest()
    if digest != file.sha256:
        found = f"SHA-256 {digest}" if digest else f"{size} bytes"
        raise UserError(
            str(path),
            found=found,
            expected=f"the {file.size} bytes with SHA-256 {file.sha256} that the authors published",
            do="fetch it again; to use changed files, set data.source: files and name them under data.files",
        )
