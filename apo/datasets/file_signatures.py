"""Recognizes files that hold no rows by their first bytes: Git LFS pointers, web pages, archives."""

from apo.core.errors import UserError

_COMPRESSED_TWICE = "give it the file ending of its compression (.gz, .xz), or decompress it once more"
# First bytes, description, fix.
_STARTS: tuple[tuple[tuple[bytes, ...], str, str], ...] = (
    (
        (b"version https://git-lfs",),
        "a Git LFS pointer, not the file that it points to",
        "download the file itself, for instance with `git lfs pull`",
    ),
    (
        (b"<!doctype", b"<html", b"<?xml"),
        "a web page, perhaps an error of the server",
        "download the file again, from the address of the raw file",
    ),
    ((b"pk\x03\x04", b"pk\x05\x06"), "a zip archive", "decompress it and name the files in it"),
    ((b"\x1f\x8b",), "gzip data", _COMPRESSED_TWICE),
    ((b"\xfd7zxz\0",), "xz data", _COMPRESSED_TWICE),
    ((b"\x28\xb5\x2f\xfd",), "zstd data", "decompress it"),
    ((b"bzh",), "bzip2 data", "decompress it"),
    ((b"par1",), "parquet data", "give it the ending .parquet"),
    ((b"sqlite format 3\0",), "a database", "write its rows as JSON Lines"),
    (
        (b"\xff\xfe", b"\xfe\xff"),
        "text in UTF-16",
        "convert it, for instance with `iconv -f UTF-16 -t UTF-8`",
    ),
)
_TEXTS_ONLY = _STARTS[:2]


def check_signature(start: bytes, name: str, *, compressed: bool) -> None:
    """Checks that a file does not begin like one that holds no rows.

    A `compressed` file should be binary, so only texts are looked for.

    Raises:
        UserError: It begins like one of `_STARTS`, or as UTF-16 without a mark.
    """
    beginning = start[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for starts, description, do in _TEXTS_ONLY if compressed else _STARTS:
        if beginning.startswith(starts):
            raise UserError(name, found=description, expected="rows of data", do=do)
    for byte_order, odd in {"LE": 1, "BE": 0}.items():
        if not compressed and len(start) >= 8 and not any(start[odd:64:2]) and all(start[1 - odd : 64 : 2]):
            do = f"convert it, for instance with `iconv -f UTF-16{byte_order} -t UTF-8`"
            raise UserError(name, found="text in UTF-16", expected="rows of data", do=do)
