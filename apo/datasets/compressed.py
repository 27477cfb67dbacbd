"""The bytes of a file, unpacked where it is packed, and no more of them than its size lets expect."""

import gzip
import lzma
from io import BufferedIOBase, BufferedReader, FileIO, RawIOBase
from pathlib import Path
from typing import Any

from tqdm import tqdm

from apo.core.errors import UserError

LONGEST_ROW = 8 * 2**20  # bytes of one row
MOST_EXPANSION = 100  # times its own size that a packed file may unpack to ...
FREE_EXPANSION = 32 * 2**20  # ... beyond these bytes, which any file may
PIECE = 2**20  # bytes that are read at once
_DICTIONARY = 256 * 2**20  # bytes that the xz decoder may ask for; `xz -9` asks for 65 MiB


def opened(path: Path) -> BufferedIOBase:
    file = BufferedReader(_Watched(path), PIECE)
    if path.suffix == ".gz":
        return _Gunzipped(file)
    if path.suffix == ".xz":
        return BufferedReader(_Unxz(file))
    return file


class _Watched(FileIO):
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


class _Gunzipped(gzip.GzipFile):
    """What a .gz file holds; closing it closes the file, which the library leaves open."""

    def __init__(self, packed: BufferedIOBase) -> None:
        super().__init__(fileobj=packed)
        self._packed = packed

    def close(self) -> None:
        super().close()
        self._packed.close()


class _Unxz(RawIOBase):
    """What an .xz file holds; the library's own reader has no limit for the memory of the decoder."""

    def __init__(self, packed: BufferedIOBase) -> None:
        self._packed = packed
        self._decoder = self._new_decoder()

    def _new_decoder(self) -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_DICTIONARY)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._packed.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer; 0 at the end of the last of the streams that follow each other."""
        while True:
            packed = b""
            if self._decoder.eof:
                packed = self._decoder.unused_data.lstrip(b"\0") or self._packed.read(PIECE).lstrip(b"\0")
                if not packed:
                    return 0
                self._decoder = self._new_decoder()
            elif self._decoder.needs_input:
                packed = self._packed.read(PIECE)
                if not packed:
                    raise EOFError("the file ends before the end of its data")
            data = self._decoder.decompress(packed, max_length=len(buffer))
            if data:
                buffer[: len(data)] = data
                return len(data)


class Measured:
    """A stream of unpacked bytes that ends with an error where a packed file turns out to be a bomb."""

    def __init__(self, data: BufferedIOBase, path: Path, name: str) -> None:
        self._data, self._name = data, name
        packed = path.stat().st_size if path.suffix in (".gz", ".xz") else None
        self._left = None if packed is None else max(packed * MOST_EXPANSION, FREE_EXPANSION)

    def line(self) -> bytes:
        """The next line; the caller sees that it is whole."""
        return self._spent(self._data.readline(LONGEST_ROW + 1))

    def piece(self) -> bytes:
        return self._spent(self._data.read(PIECE))

    def _spent(self, data: bytes) -> bytes:
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise UserError(
                    self._name,
                    found=f"a packed file that unpacks to more than {MOST_EXPANSION} times its size",
                    expected="text, which packs to a tenth",
                    do="unpack it yourself, if it is what you want",
                )
        return data
