"""The files that the authors of the paper published: names, sizes and SHA-256 hashes.

Their page (github.com/Linear95/APO, data/README.md) links to a shared folder of a cloud service. The user
downloads the files from there, or gives a URL for each. A file is read only if its size and SHA-256 are the
published ones.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from apo.core.errors import UserError
from apo.datasets.download import download, sha256_of
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
    """The published files in a folder, with their sizes and hashes checked.

    Args:
        folder: Where the user put them, with the folders of the publication or without.
        samples: Whether the samples are needed.

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
    required = _required_files(samples)
    missing = [f"{file.path} ({file.size} bytes)" for file in required if file not in file_by_path.values()]
    if missing:
        raise UserError(
            str(folder),
            found=f"no {missing[0]}" + (f" and {len(missing) - 1} more missing" if missing[1:] else ""),
            expected=", ".join(file.path for file in required),
            do="fetch them from the page that github.com/Linear95/APO names in data/README.md",
        )
    for path, file in file_by_path.items():
        _check(path, file)
    return _file_names(required, {file: str(path.relative_to(folder)) for path, file in file_by_path.items()})


def fetched_files(urls: Mapping[str, str], folder: Path, *, samples: bool) -> tuple[Files, dict[str, str]]:
    """Downloads the published files from the user's URLs and keeps them.

    Args:
        urls: URL by file name, with the folders of the publication or without.
        folder: Where they are kept, under their published paths.
        samples: Whether the samples are needed.

    Returns:
        Their names in that folder, and the display name of each.

    Raises:
        UserError: A name is unknown or missing, or a downloaded file differs from the published one.
    """
    addresses: dict[Published, str] = {}
    for name, url in urls.items():
        file = next((file for file in PUBLISHED if name in (file.path, Path(file.path).name)), None)
        if file is None or file in addresses or not url.startswith(("http://", "https://")):
            raise UserError(
                "params.yaml: data.authors.urls",
                found=f"{name[:100]!r}: {url[:100]!r}",
                expected=f"names such as {Path(PUBLISHED[0].path).name}, each once, and https://...",
                do="correct it, or write {} and put the files into data.dir",
            )
        addresses[file] = url
    required = _required_files(samples)
    if missing := [Path(file.path).name for file in required if file not in addresses]:
        raise UserError(
            "params.yaml: data.authors.urls",
            found=f"no address of {', '.join(missing)}",
            expected=f"one for each of {len(required)} files",
            do="add them, or write {} and put the files into data.dir",
        )
    for file in required:
        url, name = addresses[file], Path(file.path).name
        download(url, folder / file.path, size=file.size, sha256=file.sha256, display_name=name)
    paths = {file: file.path for file in required}
    return _file_names(required, paths), {path: path for path in paths.values()}


def _required_files(samples: bool) -> list[Published]:
    return [file for file in PUBLISHED if file.kind != UNUSED and (samples or file.kind != "samples")]


def _file_names(required: list[Published], names: Mapping[Published, str]) -> Files:
    """The file names by kind, for `read_files`."""
    kinds = {file.kind for file in required}
    return Files.of({kind: [names[file] for file in required if file.kind == kind] for kind in kinds}, {}, {})


def _find(folder: Path, file: Published) -> Path | None:
    """Where a file is: under its path, under its path without the first folder, or under its bare name."""
    _, _, short = file.path.partition("/")
    names = (file.path, short, Path(file.path).name)
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _check(path: Path, file: Published) -> None:
    size = path.stat().st_size
    digest = ""
    if size == file.size:
        digest = sha256_of(path)
    if digest != file.sha256:
        actual = f"SHA-256 {digest}" if digest else f"{size} bytes"
        raise UserError(
            str(path),
            found=actual,
            expected=f"the {file.size} bytes with SHA-256 {file.sha256} that the authors published",
            do="download it again; for changed files, set data.source: files and name them under data.files",
        )
