"""`python -m apo.fetch NAME` downloads the models (pretrained/) and data sets (data/input/) of a preset.

Safetensors, json, parquet and texts alone. A folder is written atomically; an interrupted download resumes.
Every file is checked against the hash that the hub lists at that commit (SHA-256, or that of a git blob).
"""

import argparse
import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from tqdm import tqdm

from apo.core.errors import UserError
from apo.preset import FOLDER, Pinned, names, read_preset

MANIFEST = ".fetched.json"
SECONDS = 30.0  # for the list of files
CHUNK = 1 << 22  # bytes
WEIGHTS = ("*.safetensors",)
ROWS = ("*.json", "*.jsonl", "*.json.gz", "*.jsonl.gz", "*.parquet")
TEXTS = ("README*", "LICENSE*", "NOTICE*")
PATTERNS = {
    "model": (*WEIGHTS, "*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt", *TEXTS),
    "dataset": (*ROWS, *TEXTS),
}
REQUIRED_PATTERNS = {"model": WEIGHTS, "dataset": ROWS}


class File(NamedTuple):
    """A file as the hub lists it; `kind` of its digest is `sha256` or `git_sha1`."""

    path: str
    size: int
    kind: str
    digest: str


def fetch(
    name: str, *, presets: Path = FOLDER, root: Path = Path(), endpoint: str | None = None
) -> Iterator[str]:
    """Downloads the models and data sets of a preset, one folder after the other.

    Args:
        root: The repository.
        endpoint: The address of the hub; None for that of the environment.

    Yields:
        A line for each folder, once it is complete.

    Raises:
        UserError: An entry is invalid (then nothing is downloaded), the hub can't be reached or has no such
            commit, a file differs from the listed one, or a folder exists with other content.
    """
    for pinned in read_preset(name, presets)[1]:
        yield _fetch_one(pinned, root, endpoint)


def _fetch_one(pinned: Pinned, root: Path, endpoint: str | None) -> str:
    target = root / pinned.to
    if os.path.lexists(target):
        return _check_fetched(pinned, target)
    partial = target.with_name(f"{target.name}.{pinned.revision[:12]}.tmp")
    with _explain_errors(pinned, partial):
        files, left_out = _list(pinned, endpoint)
        partial.mkdir(parents=True, exist_ok=True)
        with _locked(partial):
            if os.path.lexists(target):  # another process was faster
                shutil.rmtree(partial)
                return _check_fetched(pinned, target)
            _download(pinned, files, partial, endpoint)
            manifest = {"pinned": _identity(pinned), "files": [file._asdict() for file in files]}
            (partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
            partial.replace(target)
    line = f"{pinned.to}: {pinned}, {_total_size(files)}, licence {pinned.licence}"
    remaining = f" and {len(left_out) - 5} more" if len(left_out) > 5 else ""
    return line + (f"; left out: {', '.join(left_out[:5])}{remaining}" if left_out else "")


def _identity(pinned: Pinned) -> dict[str, Any]:
    """The fields that determine the files of a folder."""
    return pinned.model_dump(mode="json", include={"repo", "type", "revision", "folders"})


def _check_fetched(pinned: Pinned, target: Path) -> str:
    """Compares an existing folder with its manifest, without the network."""

    def fail(where: str, found: str, expected: str = str(pinned)) -> UserError:
        do = f"move {pinned.to} away, or remove it, and fetch again"
        return UserError(where, found=found, expected=expected, do=do)

    try:
        manifest = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
        files = [File(**file) for file in manifest["files"]]
        fetched = Pinned.model_validate_json(json.dumps(pinned.model_dump() | manifest["pinned"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise fail(pinned.to, "something that no preset fetched") from None
    if _identity(fetched) != _identity(pinned):
        raise fail(pinned.to, f"other files, or those of {fetched}")
    _check_known_hashes(pinned, files)
    paths = (path for path in target.rglob("*") if path.name != ".DS_Store" and not path.is_dir())
    present = {path.relative_to(target).as_posix() for path in paths}
    for name in sorted(present ^ {MANIFEST, *(file.path for file in files)}):
        raise fail(f"{pinned.to}/{name}", "a file too many" if name in present else "no such file")
    with _bar(f"checking {pinned.to}", files) as progress:
        for file in files:
            if (digest := _digest(target / file.path, file.kind, progress.update)) != file.digest:
                raise fail(f"{pinned.to}/{file.path}", f"{file.kind} {digest}", f"{file.digest}, of {pinned}")
    return f"{pinned.to}: {pinned} is there and intact, {_total_size(files)}"


def _list(pinned: Pinned, endpoint: str | None) -> tuple[list[File], list[str]]:
    """The files to download, and the names of the others."""
    from huggingface_hub import HfApi

    info: Any = HfApi(endpoint=endpoint).repo_info(
        pinned.repo, repo_type=pinned.type, revision=pinned.revision, files_metadata=True, timeout=SECONDS
    )
    if info.sha != pinned.revision:
        found = f"the commit {info.sha} under that name at the hub"
        do = "correct the revision in the preset: it is a branch or a tag"
        raise UserError(pinned.to, found=found, expected=f"{pinned.repo} at {pinned.revision}", do=do)
    files, left_out = [], []
    for entry in sorted(info.siblings or (), key=lambda entry: entry.rfilename):
        if not _is_taken(pinned, entry.rfilename):
            left_out += [entry.rfilename] if not entry.rfilename.startswith(".") else []
            continue
        kind, digest = ("sha256", entry.lfs.sha256) if entry.lfs else ("git_sha1", entry.blob_id)
        if digest is None or entry.size is None:
            raise UserError(
                pinned.to,
                found=f"no hash of {entry.rfilename} in the list of the hub",
                expected="a hash of each file: without one it can't be checked",
                do="unset HF_ENDPOINT, or name a mirror that lists hashes",
            )
        files.append(File(entry.rfilename, entry.size, kind, digest))
    required = REQUIRED_PATTERNS[pinned.type]
    if not any(fnmatchcase(file.path, pattern) for file in files for pattern in required):
        found = f"only {', '.join(left_out[:5]) or 'texts'} in {pinned}"
        expected = f"{' or '.join(required)} (pickles are not fetched)"
        raise UserError(pinned.to, found=found, expected=expected, do="pin another commit or repository")
    _check_known_hashes(pinned, files)
    return files, left_out


def _is_taken(pinned: Pinned, name: str) -> bool:
    path = PurePosixPath(name)
    if path.is_absolute() or "\\" in name or any(part.startswith(".") for part in path.parts):
        return False
    if not any(fnmatchcase(path.name, pattern) for pattern in PATTERNS[pinned.type]):
        return False
    if pinned.type == "model":
        return len(path.parts) == 1
    is_text = len(path.parts) == 1 and any(fnmatchcase(name, pattern) for pattern in TEXTS)
    return not pinned.folders or path.parts[0] in pinned.folders or is_text


def _check_known_hashes(pinned: Pinned, files: Sequence[File]) -> None:
    listed = {file.path: file.digest for file in files}
    for path, expected in pinned.sha256.items():
        if listed.get(path) != expected:
            raise UserError(
                f"{pinned.to}/{path}",
                found=f"the hash {listed[path]} at the hub" if path in listed else "no such file at the hub",
                expected=f"{expected}, as the preset says of {pinned}",
                do="correct the preset, or unset HF_ENDPOINT if a mirror has other files",
            )


def _download(pinned: Pinned, files: Sequence[File], partial: Path, endpoint: str | None) -> None:
    """Downloads the missing bytes of each file, and checks its hash."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get  # hf_hub_download does not resume a killed download
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    paths = {partial / file.path: file for file in files}
    for path in [path for path in partial.rglob("*") if path.is_file()]:
        if path not in paths or path.stat().st_size > paths[path].size:
            path.unlink()
    present_bytes = _size_of(partial)
    if sum(file.size for file in files) - present_bytes > (free := shutil.disk_usage(partial).free):
        raise OSError(errno.ENOSPC, f"room for {free / 1e9:.1f} GB")
    with _bar(pinned.to, files, present_bytes) as progress:
        for path, file in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            options: dict[str, Any] = {"repo_type": pinned.type, "revision": pinned.revision}
            url = hf_hub_url(pinned.repo, file.path, endpoint=endpoint, **options)
            options = {"expected_size": file.size, "headers": headers, "_tqdm_bar": progress}
            with path.open("ab") as stream:
                http_get(url, stream, resume_size=stream.tell(), **options)
            if (digest := _digest(path, file.kind)) != file.digest:
                path.unlink()
                raise UserError(
                    f"{pinned.to}/{file.path}",
                    found=f"a download with {file.kind} {digest}",
                    expected=f"{file.digest}, as the hub lists it for {pinned}",
                    do="run it again, which fetches that file anew; unset HF_ENDPOINT if a mirror is wrong",
                )


def _digest(path: Path, kind: str, progress: Callable[[int], object] = lambda _: None) -> str:
    """The hash of a file: `sha256`, or `git_sha1`, the hash of a git blob."""
    digest = hashlib.sha256() if kind == "sha256" else hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            progress(len(chunk))
    return digest.hexdigest()


def _bar(desc: str, files: Sequence[File], initial: int = 0) -> Any:
    total = sum(file.size for file in files)
    return tqdm(total=total, initial=initial, unit="B", unit_scale=True, desc=desc, disable=None)


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _total_size(files: Sequence[File]) -> str:
    return f"{len(files)} files, {sum(file.size for file in files) / 1e9:.2f} GB"


@contextlib.contextmanager
def _locked(partial: Path) -> Iterator[None]:
    handle = os.open(partial, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _explain_errors(pinned: Pinned, partial: Path) -> Iterator[None]:
    """Turns errors of the hub, the network and the disk into a UserError with the progress so far."""
    from httpx2 import HTTPError, InvalidURL
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
    from huggingface_hub.errors import RevisionNotFoundError as NoRevision
    from huggingface_hub.utils import logging as hub_logging

    hub_logging.set_verbosity(logging.CRITICAL)  # it warns of every try
    do = "run it again where there is a network: it resumes"
    try:
        yield
        return
    except GatedRepoError:
        found, do = "a repository behind a login", "accept its licence on its page, and run `hf auth login`"
    except (RepositoryNotFoundError, NoRevision) as error:
        found = "no such " + ("commit" if isinstance(error, NoRevision) else "repository, or no access to it")
        do = "correct the preset"
    except HfHubHTTPError as error:
        found = f"status {error.response.status_code} from the hub"
    except (HTTPError, InvalidURL, ConnectionError) as error:
        found = f"no connection to the hub, or one that broke ({type(error).__name__})"
    except BlockingIOError:
        found, do = "another process that fetches it", "wait for it"
    except OSError as error:
        found = error.strerror or "a download that ended early"
        do = "make room, or check the permissions; then run it again: it resumes" if error.strerror else do
    except (ValueError, KeyError, TypeError) as error:
        found, do = f"an answer that is none of a hub ({type(error).__name__})", "correct HF_ENDPOINT"
    so_far = f"{_size_of(partial) / 1e6:.1f} MB of it in {partial}" if partial.is_dir() else "nothing of it"
    raise UserError(pinned.to, found=f"{found}, and {so_far}", expected=str(pinned), do=do) from None


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help=f"one of {', '.join(names())}")
    options = parser.parse_args(arguments)
    try:
        if not read_preset(options.name)[1]:
            print(f"preset {options.name} pins nothing to fetch; docs/presets.md says what it takes")
        for line in fetch(options.name):
            print(line, flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command resumes", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
