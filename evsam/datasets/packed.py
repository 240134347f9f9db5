"""Annotation files of hundreds of megabytes, read in little memory: one value of an array after the other."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_decode = json.JSONDecoder().raw_decode

WINDOW = 1 << 22
"""Bytes of a text that are decoded at once."""

_SPACE = re.compile(r"[ \t\n\r]*")


class Part(NamedTuple):
    """A value in a json text.

    Attributes:
        name: of the member of the outermost object that it is, or in whose array it stands.
        value: what it says; None for the array itself, which comes before its elements.
        begin: where it begins in the text, in bytes.
        end: where it ends.
        element: whether it is an element of the array.
    """

    name: str
    value: Any
    begin: int
    end: int
    element: bool = False


def json_text(path: Path) -> bytes:
    """The content of a json file as UTF-8, whatever encoding of Unicode it has.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no text.
    """
    content = path.read_bytes()
    encoding = json.detect_encoding(content)
    return content if encoding == "utf-8" else content.decode(encoding).encode()


def json_parts(text: bytes, arrays: Container[str]) -> Iterator[Part]:
    """The members of a json object; of some, whose values are arrays, one element at a time.

    Python's objects take several times the memory of the text that they are read from: here there are never those of
    more than one part.

    Args:
        text: UTF-8.
        arrays: names of the members whose elements are handed out one by one.

    Raises:
        ValueError: it is no json, no object, or one of ``arrays`` is no array.
    """
    cursor = _Cursor(text)
    for _ in cursor.items("{", "}"):
        name = cursor.part("").value
        if not isinstance(name, str):
            raise ValueError(f"byte {cursor.at}: expected a name")
        cursor.take(":")
        if name not in arrays:
            yield cursor.part(name)
        elif cursor.sees("["):
            yield Part(name, None, cursor.at, cursor.at)
            for _ in cursor.items("[", "]"):
                yield cursor.part(name, element=True)
        else:
            raise ValueError(f"{name}: expected an array")
    cursor.expect_end()


def json_elements(text: bytes) -> Iterator[Part]:
    """The elements of a json array, one at a time.

    Args:
        text: UTF-8.

    Raises:
        ValueError: it is no json, or no array.
    """
    cursor = _Cursor(text)
    for _ in cursor.items("[", "]"):
        yield cursor.part("", element=True)
    cursor.expect_end()


class _Cursor:
    """A place in a json text; behind each step it stands on the next character that is no space.

    The text is decoded in windows: as a whole it would be in memory twice.
    """

    def __init__(self, text: bytes) -> None:
        self._text, self._ascii = text, text.isascii()
        self._window, self._base = "", 0
        self.at = 0
        self._move(0)

    def _more(self) -> bool:
        """Make the window begin here and reach further than before; False if it reaches the end of the text."""
        if self._base + len(self._window) >= len(self._text):
            return False
        size = max(WINDOW, 2 * (self._base + len(self._window) - self.at))
        # one character for each byte: positions are those in the text
        self._base, self._window = self.at, self._text[self.at : self.at + size].decode("latin-1")
        return True

    def _move(self, at: int) -> None:
        self.at = at
        while True:
            space = _SPACE.match(self._window, self.at - self._base)
            end = space.end() if space else 0
            self.at = self._base + end
            if end < len(self._window) or not self._more():
                return

    def sees(self, character: str) -> bool:
        """Whether it stands on this character; on the end, if that is empty."""
        return self._here() == character

    def _here(self) -> str:
        return self._window[self.at - self._base : self.at - self._base + 1]

    def take(self, characters: str) -> str:
        """The character that it stands on, which must be one of these."""
        found = self._here()
        if not found or found not in characters:
            raise ValueError(f"byte {self.at}: expected {' or '.join(characters)}, got {found or 'the end'}")
        self._move(self.at + 1)
        return found

    def expect_end(self) -> None:
        """Check that nothing follows."""
        if not self.sees(""):
            raise ValueError(f"byte {self.at}: expected the end")

    def items(self, opening: str, closing: str) -> Iterator[None]:
        """A step for each item of an array or object, which the caller takes."""
        self.take(opening)
        more = not self.sees(closing) or self.take(closing) != closing
        while more:
            yield
            more = self.take("," + closing) == ","

    def part(self, name: str, element: bool = False) -> Part:
        """The value that begins here."""
        begin = self.at
        while True:
            try:
                value, end = _decode(self._window, begin - self._base)
            except json.JSONDecodeError as error:
                if self._more():
                    continue
                raise ValueError(f"byte {self._base + error.pos}: {error.msg}") from None
            # a number may go on behind the window: 1 may be of 10, 1.5 or 1e5
            if self._window[end : end + 1] not in ("", ".", "e", "E") or not self._more():
                break
        end += self._base
        self._move(end)
        return Part(name, value if self._ascii else json.loads(self._text[begin:end]), begin, end, element)


class Packed(Sequence[list[Any]]):
    """Lists of values, kept as json text and parsed when they are asked for.

    Python objects would take several times the memory; and worker processes, which share the memory of the process that
    they are forked from, would copy each as soon as they look at it, for its reference count is written.

    Args:
        text: json in which the values stand.
        lists: of each list, where its values begin and end in the text, in bytes.
    """

    def __init__(self, text: bytes, lists: Iterable[Iterable[tuple[int, int]]]) -> None:
        places, ends = array("q"), array("q", [0])
        for spans in lists:
            for begin, end in spans:
                places.extend((begin, end))
            ends.append(len(places))
        self._text = text
        self._places, self._ends = np.array(places), np.array(ends)

    @classmethod
    def of(cls, lists: Iterable[Sequence[Any]]) -> Packed:
        """Pack lists of anything that json can hold."""
        text, spans = bytearray(), []
        for values in lists:
            inside = json.dumps(values, separators=(",", ":")).encode()[1:-1]
            spans.append([(len(text), len(text) + len(inside))] if values else [])
            text += inside
        return cls(bytes(text), spans)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        places = self._places[self._ends[index] : self._ends[index + 1]].reshape(-1, 2).tolist()
        return json.loads(b"[%b]" % b",".join(self._text[begin:end] for begin, end in places))
