"""What a data file turns out to be that is none: the pointer to a file, a web page, an archive."""

from apo.core.errors import UserError

_PACKED_AGAIN = "give it the ending of its packing (.gz, .xz), or unpack it once more"
# How such files begin, what they are, and what to do.
_STARTS: tuple[tuple[tuple[bytes, ...], str, str], ...] = (
    (
        (b"version https://git-lfs",),
        "a Git LFS pointer, not the file that it points to",
        "fetch the file itself, for instance with `git lfs pull`",
    ),
    (
        (b"<!doctype", b"<html", b"<?xml"),
        "a web page, perhaps an error of the server",
        "fetch the file again, from the address of the raw file",
    ),
    ((b"pk\x03\x04", b"pk\x05\x06"), "a zip archive", "unpack it and name the files in it"),
    ((b"\x1f\x8b",), "gzip data", _PACKED_AGAIN),
    ((b"\xfd7zxz\0",), "xz data", _PACKED_AGAIN),
    ((b"\x28\xb5\x2f\xfd",), "zstd data", "unpack it"),
    ((b"bzh",), "bzip2 data", "unpack it"),
    ((b"par1",), "parquet data", "give it the ending .parquet"),
    ((b"sqlite format 3\0",), "a database", "write its rows as JSON Lines"),
    (
        (b"\xff\xfe", b"\xfe\xff"),
        "text in UTF-16",
        "convert it, for instance with `iconv -f UTF-16 -t UTF-8`",
    ),
)
_TEXTS_ONLY = _STARTS[:2]


def refuse_disguised(start: bytes, name: str, *, packed: bool) -> None:
    """Ends where a file's first bytes say that it is of another kind.

    Args:
        start: The first bytes of the file as it lies there, or of what it unpacks to.
        name: What the file is called in messages.
        packed: The format is a binary one, so only a text in its place is looked for.

    Raises:
        UserError: It is.
    """
    found = start[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for starts, what, do in _TEXTS_ONLY if packed else _STARTS:
        if found.startswith(starts):
            raise UserError(name, found=what, expected="rows of data", do=do)
