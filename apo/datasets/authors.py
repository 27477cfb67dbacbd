"""The files that the authors of the paper published: names, sizes and SHA-256 hashes.

Their page (github.com/Linear95/APO, data/README.md) links to a shared folder of a cloud service, from which
the user downloads them. A file is read only if its size and SHA-256 are the published ones.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

from apo.core.errors import UserError
from apo.datasets.settings import Files


class Published(NamedTuple):
    """A published file: its kind in this pipeline, its path, its size in bytes, its SHA-256."""

    kind: str
    path: str
    size: int
    sha256: str


# The file of all training comparisons repeats those of the RM part and the LLM part, which are read instead.
# The validation part is drawn by `split`.
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
    """Finds the published files in a folder, with or without the published subfolders; checks hashes.

    Raises:
        UserError: A file is missing, differs from the published one, or was not published by the authors.
    """
    file_by_path = {path: file for file in PUBLISHED if (path := _find(folder, file))}
    unpublished = sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if not path.is_dir() and path not in file_by_path and path.name[0] != "." and path.name != "README.md"
    )
    if unpublished:
        raise UserError(
            str(folder),
            found=f"{len(unpublished)} files such as {unpublished[0]!r} that the authors did not publish",
            expected=f"names such as {PUBLISHED[0].path}",
            do="remove or rename them, or set data.source: files and name them under data.files",
        )
    required = [file for file in PUBLISHED if file.kind != UNUSED and (samples or file.kind != "samples")]
    missing = [f"{file.path} ({file.size} bytes)" for file in required if file not in file_by_path.values()]
    if missing:
        raise UserError(
            str(folder),
            found=f"no {missing[0]}" + (f" and {len(missing) - 1} more missing" if missing[1:] else ""),
            expected=", ".join(file.path for file in required),
            do="fetch them from the page that github.com/Linear95/APO names in data/README.md",
        )
    names: dict[str, list[str]] = {}
    for path, file in file_by_path.items():
        _check(path, file)
        if file in required:
            names.setdefault(file.kind, []).append(str(path.relative_to(folder)))
    return Files.of(names, {}, {})


def _find(folder: Path, file: Published) -> Path | None:
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
        actual = f"SHA-256 {digest}" if digest else f"{size} bytes"
        raise UserError(
            str(path),
            found=actual,
            expected=f"the {file.size} bytes with SHA-256 {file.sha256} that the authors published",
            do="download it again; for changed files, set data.source: files and name them under data.files",
        )
