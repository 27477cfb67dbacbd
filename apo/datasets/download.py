"""Downloads a published file from a URL and checks its hash."""

import hashlib
import os
from pathlib import Path

from apo.core.errors import UserError

ATTEMPTS = 3
SECONDS = 60.0  # without a byte
CHUNK = 1 << 20  # bytes


def download(url: str, target: Path, *, size: int, sha256: str, display_name: str) -> None:
    """Downloads a file, unless it is there already.

    Args:
        url: Its URL, http or https.
        target: The file, written once size and hash are right.
        size: Expected size in bytes.
        sha256: Expected hash in hexadecimal digits.
        display_name: The file, for progress and messages.

    Raises:
        UserError: The download failed, or is another file.
    """
    if target.is_file() and target.stat().st_size == size and sha256_of(target) == sha256:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + f".{os.getpid()}.tmp")
    try:
        for attempt in range(1, ATTEMPTS + 1):
            failure = _stream_to_file(url, part, size=size, display_name=display_name)
            if not failure:
                break
            if attempt == ATTEMPTS:
                raise UserError(
                    display_name,
                    found=f"{failure} at try {attempt} of {ATTEMPTS} to fetch it",
                    expected="the file at its address in data.authors.urls",
                    do="correct the address, try again, or fetch it by hand and put it into data.dir",
                )
        actual = f"{part.stat().st_size} bytes with SHA-256 {sha256_of(part)}"
        if actual != f"{size} bytes with SHA-256 {sha256}":
            raise UserError(
                display_name,
                found=f"{actual} at its address",
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


def _stream_to_file(url: str, part: Path, *, size: int, display_name: str) -> str:
    """Downloads at most `size` + 1 bytes into a file; returns the reason of a failure, "" for none."""
    import requests
    from tqdm import tqdm

    try:
        with (
            requests.get(url, stream=True, timeout=SECONDS) as response,
            part.open("wb") as file,
            tqdm(total=size, unit="B", unit_scale=True, desc=display_name, disable=None) as progress,
        ):
            if response.status_code != 200:
                return f"status {response.status_code}"
            remaining = size + 1
            for chunk in response.iter_content(CHUNK):
                file.write(chunk[:remaining])
                remaining -= len(chunk[:remaining])
                progress.update(len(chunk))
                if not remaining:
                    break
    except requests.exceptions.Timeout:
        return f"nothing for {SECONDS:.0f} s"
    except requests.exceptions.RequestException as error:
        return f"no connection, or one that broke ({type(error).__name__})"
    return ""
