"""What the command line writes to the terminal, or to whatever stands in its place."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TextIO


def say(text: str) -> None:
    """A line of the result, on standard output."""
    write(sys.stdout, f"{text}\n", "standard output")


def note(text: str) -> None:
    """A line about the result, on standard error."""
    write(sys.stderr, f"{text}\n", "standard error")


def complain(error: BaseException | str) -> None:
    """One line that says what is wrong."""
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    elif isinstance(error, MemoryError):
        text = f"not enough memory ({text})" if text else "not enough memory"
    note("evsam: " + " ".join(text.split()))


def write(stream: TextIO | None, text: str, name: str) -> None:
    """Write at once; where nobody reads any more (``evsam info | head -1``), that is no error.

    Raises:
        OSError: it cannot be written for another reason, such as a full disk.
    """
    if stream is None:  # closed before the program began
        return
    encoding = stream.encoding or "utf-8"
    try:  # names of files may have characters that the terminal has not
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except BrokenPipeError:  # what is still to come, and the flush at the end of the process, goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise OSError(error.errno, error.strerror, name) from error


class Progress:
    """A bar on standard error with what is done and the time that is left, if that is a terminal.

    Args:
        total: how many things there are to do; of a single one nothing is shown, unless it has parts.
        done: how many of them were done before.
        parts: whether things are long, so that it is shown how much of each is done.

    Attributes:
        shown: whether there is a terminal to show it.
    """

    def __init__(self, total: int, done: int = 0, *, parts: bool = False) -> None:
        self._total, self._before = total, done
        self.shown = (total > 1 or parts) and sys.stderr is not None and sys.stderr.isatty()
        self._start = time.monotonic()

    def show(self, done: float, name: str) -> None:
        """Draw the bar.

        Args:
            done: how many things are done; with parts, how much of the next one too.
            name: of the one that comes next.
        """
        if not self.shown:
            return
        filled = int(24 * done / self._total)
        bar = "#" * filled + "-" * (24 - filled)
        text = f"[{bar}] {self.text(done)}  {name}"
        write(sys.stderr, "\r\x1b[K" + text[: shutil.get_terminal_size().columns - 1], "standard error")

    def text(self, done: float) -> str:
        """How many things are done, and the time that is left."""
        left = ""
        if done > self._before:
            seconds = (time.monotonic() - self._start) / (done - self._before) * (self._total - done)
            minutes, rest = divmod(round(seconds), 60)
            hours = f"{minutes // 60}:{minutes % 60:02}" if minutes >= 60 else f"{minutes}"
            left = f", {hours}:{rest:02} left"
        return f"{int(done)}/{self._total}{left}" if self._total > 1 else f"{done:.0%}{left}"

    def clear(self) -> None:
        """Take the bar away, for a line to be written."""
        if self.shown:
            write(sys.stderr, "\r\x1b[K", "standard error")
