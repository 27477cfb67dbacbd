"""A JSON list as a stream: no more than a few of its elements are in memory."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from apo.core.records import Row
from apo.datasets.compressed import MAX_ROW_BYTES, BoundedReader

_SPACE = re.compile(r"[ \t\r\n]*")


def _once(pairs: list[tuple[str, Any]]) -> Row:
    """An object of JSON, no key of which comes twice: which of two values counts, nobody can know."""
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for key in names if names.count(key) > 1)
        raise ValueError(f"the key {twice[:40]!r} twice in one object")
    return row


DECODER = json.JSONDecoder(object_pairs_hook=_once)


class JsonList:
    """A JSON list of which no more than a few elements are in memory.

    An element that is not whole in the text at hand is tried again with twice as much of it.
    """

    def __init__(self, data: BoundedReader) -> None:
        self._data = data
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._at = "", 0

    def elements(self) -> Iterator[Any]:
        """The elements, one at a time. Raises ValueError or RecursionError where there is no JSON."""
        self._take("[")
        if self._next() == "]":
            self._at += 1
        else:
            yield self._element()
            while self._next() == ",":
                self._at += 1
                self._next()
                yield self._element()
            self._take("]")
        if self._next():
            raise ValueError("text behind the list")

    def _take(self, char: str) -> None:
        if self._next() != char:
            raise ValueError(f"no {char!r}" + (f" but {self._next()!r}" if self._next() else ""))
        self._at += 1

    def _next(self) -> str:
        """The next character that is no white space, "" at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _more(self) -> bool:
        """Reads on, as much again as is not yet used up; whether there was something."""
        chunks = [self._text[self._at :]]
        self._at, size, wanted = 0, len(chunks[0]), 2 * len(chunks[0])
        while True:
            chunk = self._data.chunk()
            chunks.append(self._decode.decode(chunk, final=not chunk))
            if not chunk or sum(map(len, chunks)) > wanted:
                self._text = "".join(chunks)
                return len(self._text) > size

    def _element(self) -> Any:
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except ValueError:
                if len(self._text) - self._at > MAX_ROW_BYTES or not self._more():
                    raise
                continue
            if end == len(self._text) and not isinstance(value, dict | list) and self._more():
                continue  # a number may go on
            if end - self._at > MAX_ROW_BYTES:
                raise ValueError(f"a row of more than {MAX_ROW_BYTES} characters")
            self._at = end
            return value
