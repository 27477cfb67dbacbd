"""Reads a file as a stream, decompressed, with a bound on how far it may expand."""

import gzip
import lzma
from io import BufferedIOBase, BufferedReader, FileIO, RawIOBase
from pathlib import Path
from typing import Any

from tqdm import tqdm

from apo.core.errors import UserError

MAX_ROW_BYTES = 8 * 2**20  # bytes of one row; of parquet, as JSON
MAX_EXPANSION = 100  # the largest ratio of decompressed to compressed size ...
UNCHECKED_BYTES = 32 * 2**20  # ... of a file that decompresses to more than these bytes
CHUNK = 2**20  # bytes that are read at once
_XZ_MEMORY = 256 * 2**20  # bytes that the xz decoder may ask for; `xz -9` asks for 65 MiB


def open_decompressed(path: Path) -> BufferedIOBase:
    """Opens a file for reading; `.gz` and `.xz` files are decompressed."""
    file = BufferedReader(_ProgressFile(path), CHUNK)
    if path.suffix == ".gz":
        return _GzipReader(file)
    if path.suffix == ".xz":
        return BufferedReader(_XzReader(file))
    return file


class _ProgressFile(FileIO):
    """A file with a progress bar on a terminal, after two seconds of reading."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        size = path.stat().st_size
        self._progress = tqdm(total=size, desc=path.name, unit="B", unit_scale=True, delay=2, disable=None)

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        self._progress.update(count)
        return count

    def close(self) -> None:
        self._progress.close()
        super().close()


class _GzipReader(gzip.GzipFile):
    """The content of a .gz file. Closing it closes the file too, which the library leaves open."""

    def __init__(self, compressed: BufferedIOBase) -> None:
        super().__init__(fileobj=compressed)
        self._compressed = compressed

    def close(self) -> None:
        super().close()
        self._compressed.close()


class _XzReader(RawIOBase):
    """The content of an .xz file. The library's own reader does not limit the memory of the decoder."""

    def __init__(self, compressed: BufferedIOBase) -> None:
        self._compressed = compressed
        self._decoder = self._new_decoder()

    def _new_decoder(self) -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._compressed.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer; returns 0 after the last of the concatenated streams."""
        while True:
            compressed = b""
            if self._decoder.eof:
                compressed = self._decoder.unused_data.lstrip(b"\0") or self._compressed.read(CHUNK).lstrip(
                    b"\0"
                )
                if not compressed:
                    return 0
                self._decoder = self._new_decoder()
            elif self._decoder.needs_input:
                compressed = self._compressed.read(CHUNK)
                if not compressed:
                    raise EOFError("the file ends before the end of its data")
            data = self._decoder.decompress(compressed, max_length=len(buffer))
            if data:
                buffer[: len(data)] = data
                return len(data)


class BoundedReader:
    """Decompressed bytes. A file that decompresses to far more than its size raises UserError."""

    def __init__(self, data: BufferedIOBase, path: Path, name: str) -> None:
        self._data, self._name = data, name
        compressed = path.stat().st_size if path.suffix in (".gz", ".xz") else None
        self._remaining = None if compressed is None else max(compressed * MAX_EXPANSION, UNCHECKED_BYTES)

    def line(self) -> bytes:
        """The next line, at most `MAX_ROW_BYTES` + 1 bytes of it."""
        return self._within_bound(self._data.readline(MAX_ROW_BYTES + 1))

    def chunk(self) -> bytes:
        """The next `CHUNK` bytes, fewer at the end."""
        return self._within_bound(self._data.read(CHUNK))

    def _within_bound(self, data: bytes) -> bytes:
        if self._remaining is not None:
            self._remaining -= len(data)
            if self._remaining < 0:
                raise UserError(
                    self._name,
                    found=f"a compressed file that decompresses to more than {MAX_EXPANSION} times its size",
                    expected="text, which packs to a tenth",
                    do="decompress it yourself, if it is what you want",
                )
        return data
