"""Reads a JSON list as a stream, with only a few of its elements in memory."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from apo.core.records import Row
from apo.datasets.compressed import MAX_ROW_BYTES, BoundedReader

_SPACE = re.compile(r"[ \t\r\n]*")


def _unique_keys(pairs: list[tuple[str, Any]]) -> Row:
    """A JSON object. A repeated key raises ValueError, because either value could be meant."""
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [key for key, _ in pairs]
        repeated = next(key for key in names if names.count(key) > 1)
        raise ValueError(f"the key {repeated[:40]!r} twice in one object")
    return row


DECODER = json.JSONDecoder(object_pairs_hook=_unique_keys)


class JsonList:
    """A JSON list of which only a few elements are in memory.

    An element that is incomplete in the buffer is parsed again with a buffer of twice the size.
    """

    def __init__(self, data: BoundedReader) -> None:
        self._data = data
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._position = "", 0

    def elements(self) -> Iterator[Any]:
        """The elements, one at a time. Raises ValueError or RecursionError for invalid JSON."""
        self._expect("[")
        if self._next_char() == "]":
            self._position += 1
        else:
            yield self._element()
            while self._next_char() == ",":
                self._position += 1
                self._next_char()
                yield self._element()
            self._expect("]")
        if self._next_char():
            raise ValueError("text behind the list")

    def rest(self) -> str:
        """The beginning of the text that is not parsed yet, for a message."""
        return self._text[self._position : self._position + 200]

    def _expect(self, char: str) -> None:
        if self._next_char() != char:
            raise ValueError(f"no {char!r}" + (f" but {self._next_char()!r}" if self._next_char() else ""))
        self._position += 1

    def _next_char(self) -> str:
        """The next character that is not white space, "" at the end."""
        while True:
            space = _SPACE.match(self._text, self._position)
            self._position = space.end() if space else self._position
            if self._position < len(self._text):
                return self._text[self._position]
            if not self._read_more():
                return ""

    def _read_more(self) -> bool:
        """Doubles the unread part of the buffer; returns whether there was more to read."""
        chunks = [self._text[self._position :]]
        self._position, size, enough = 0, len(chunks[0]), 2 * len(chunks[0])
        while True:
            chunk = self._data.chunk()
            chunks.append(self._decode.decode(chunk, final=not chunk))
            if not chunk or sum(map(len, chunks)) > enough:
                self._text = "".join(chunks)
                return len(self._text) > size

    def _element(self) -> Any:
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._position)
            except ValueError:
                if len(self._text) - self._position > MAX_ROW_BYTES or not self._read_more():
                    raise
                continue
            if end == len(self._text) and not isinstance(value, dict | list) and self._read_more():
                continue  # a number may go on
            if end - self._position > MAX_ROW_BYTES:
                raise ValueError(f"a row of more than {MAX_ROW_BYTES} characters")
            self._position = end
            return value
