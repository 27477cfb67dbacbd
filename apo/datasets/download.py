"""A published file from an address of the user's, kept once its hash is right."""

import hashlib
import os
from pathlib import Path

from apo.core.errors import UserError

TRIES = 3
SECONDS = 60.0  # without a byte
CHUNK = 1 << 20  # bytes


def repository_cache() -> Path:
    """Where downloaded files are kept, also for an experiment that runs in another folder."""
    return Path(os.environ.get("DVC_ROOT", ".")) / ".cache" / "downloads"


def download(url: str, target: Path, *, size: int, sha256: str, display_name: str) -> None:
    """Fetches a file, unless it is there already.

    Args:
        url: Its address, http or https.
        target: Takes its place once size and hash are right.
        size: Bytes.
        sha256: In hexadecimal digits.
        display_name: The file, for progress and messages.

    Raises:
        UserError: It can't be fetched, or is another file.
    """
    if target.is_file() and target.stat().st_size == size and sha256_of(target) == sha256:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + f".{os.getpid()}.tmp")
    try:
        for tries in range(1, TRIES + 1):
            failure = _fetch(url, part, size=size, display_name=display_name)
            if not failure:
                break
            if tries == TRIES:
                raise UserError(
                    display_name,
                    found=f"{failure} at try {tries} of {TRIES} to fetch it",
                    expected="the file at its address in data.authors.urls",
                    do="correct the address, try again, or fetch it by hand and put it into data.dir",
                )
        found = f"{part.stat().st_size} bytes with SHA-256 {sha256_of(part)}"
        if found != f"{size} bytes with SHA-256 {sha256}":
            raise UserError(
                display_name,
                found=f"{found} at its address",
                expected=f"the {size} bytes with SHA-256 {sha256} that were published",
                do="correct the address in data.authors.urls: it may lead to a page and not to the file",
            )
        part.replace(target)
    except OSError as error:
        raise UserError(
            display_name,
            found=error.strerror or type(error).__name__,
            expected=f"room for {size} bytes in {target.parent}",
            do="make room, or put the file into data.dir",
        ) from None
    finally:
        part.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """The hash of a file, in hexadecimal digits."""
    with path.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def _fetch(url: str, part: Path, *, size: int, display_name: str) -> str:
    """Writes what an address gives, `size` + 1 bytes at most; says why it failed, "" if it did not."""
    import requests
    from tqdm import tqdm

    try:
        with (
            requests.get(url, stream=True, timeout=SECONDS) as answer,
            part.open("wb") as file,
            tqdm(total=size, unit="B", unit_scale=True, desc=display_name, disable=None) as progress,
        ):
            if answer.status_code != 200:
                return f"status {answer.status_code}"
            left = size + 1
            for chunk in answer.iter_content(CHUNK):
                file.write(chunk[:left])
                left -= len(chunk[:left])
                progress.update(len(chunk))
                if not left:
                    break
    except requests.exceptions.Timeout:
        return f"nothing for {SECONDS:.0f} s"
    except requests.exceptions.RequestException as error:
        return f"no connection, or one that broke ({type(error).__name__})"
    return ""
