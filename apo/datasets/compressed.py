"""The bytes of a file, decompressed where it is compressed, and no more of them than its size lets expect."""

import gzip
import lzma
from io import BufferedIOBase, BufferedReader, FileIO, RawIOBase
from pathlib import Path
from typing import Any

from tqdm import tqdm

from apo.core.errors import UserError

MAX_ROW_BYTES = 8 * 2**20  # bytes of one row
MAX_EXPANSION = 100  # times its own size that a compressed file may decompress to ...
UNCHECKED_BYTES = 32 * 2**20  # ... beyond these bytes, which any file may
CHUNK = 2**20  # bytes that are read at once
_DICTIONARY = 256 * 2**20  # bytes that the xz decoder may ask for; `xz -9` asks for 65 MiB


def open_decompressed(path: Path) -> BufferedIOBase:
    file = BufferedReader(_ProgressFile(path), CHUNK)
    if path.suffix == ".gz":
        return _GzipReader(file)
    if path.suffix == ".xz":
        return BufferedReader(_XzReader(file))
    return file


class _ProgressFile(FileIO):
    """A file that shows on a terminal how much of it is read, once that has taken a while."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        size = path.stat().st_size
        self._bar = tqdm(total=size, desc=path.name, unit="B", unit_scale=True, delay=2, disable=None)

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        self._bar.update(count)
        return count

    def close(self) -> None:
        self._bar.close()
        super().close()


class _GzipReader(gzip.GzipFile):
    """What a .gz file holds; closing it closes the file, which the library leaves open."""

    def __init__(self, compressed: BufferedIOBase) -> None:
        super().__init__(fileobj=compressed)
        self._compressed = compressed

    def close(self) -> None:
        super().close()
        self._compressed.close()


class _XzReader(RawIOBase):
    """What an .xz file holds; the library's own reader has no limit for the memory of the decoder."""

    def __init__(self, compressed: BufferedIOBase) -> None:
        self._compressed = compressed
        self._decoder = self._new_decoder()

    def _new_decoder(self) -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_DICTIONARY)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._compressed.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer; 0 at the end of the last of the streams that follow each other."""
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
    """Decompressed bytes, with an error where a file decompresses to far more than its size."""

    def __init__(self, data: BufferedIOBase, path: Path, name: str) -> None:
        self._data, self._name = data, name
        compressed = path.stat().st_size if path.suffix in (".gz", ".xz") else None
        self._left = None if compressed is None else max(compressed * MAX_EXPANSION, UNCHECKED_BYTES)

    def line(self) -> bytes:
        """The next line; the caller sees that it is whole."""
        return self._spent(self._data.readline(MAX_ROW_BYTES + 1))

    def chunk(self) -> bytes:
        return self._spent(self._data.read(CHUNK))

    def _spent(self, data: bytes) -> bytes:
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise UserError(
                    self._name,
                    found=f"a compressed file that decompresses to more than {MAX_EXPANSION} times its size",
                    expected="text, which packs to a tenth",
                    do="decompress it yourself, if it is what you want",
                )
        return data
