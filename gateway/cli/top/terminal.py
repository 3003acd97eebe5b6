"""A terminal that a program draws on as a whole, and that looks afterwards as it did before."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any, Final, Self

_OPEN: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l"
"""The other screen, no cursor, no lines that go on in the next one."""
_CLOSE: Final = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_REST_OF_LINE: Final = "\x1b[K"
_REST_OF_SCREEN: Final = "\x1b[J"
_BOLD: Final = "\x1b[1m"
_PLAIN: Final = "\x1b[0m"


class Terminal:
    """Entered, it belongs to us; left, however, it is as it was."""

    def __enter__(self) -> Self:
        """Takes the screen and the keys."""
        self._stdin = sys.stdin.fileno()
        self._before: list[Any] = termios.tcgetattr(self._stdin)
        self._on_term = signal.signal(signal.SIGTERM, _interrupt)
        tty.setcbreak(self._stdin)
        self._write(_OPEN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives both back."""
        self._write(_CLOSE)
        termios.tcsetattr(self._stdin, termios.TCSAFLUSH, self._before)
        signal.signal(signal.SIGTERM, self._on_term)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, as they are now."""
        return shutil.get_terminal_size()

    def draw(self, lines: Sequence[str]) -> None:
        """Shows lines that fit; the first one stands out, as do those in capitals."""
        drawn = (
            f"{_BOLD}{line}{_PLAIN}" if number == 0 or line[:5].isupper() else line for number, line in enumerate(lines)
        )
        self._write(_HOME + f"{_REST_OF_LINE}\r\n".join(drawn) + _REST_OF_LINE + _REST_OF_SCREEN)

    def key(self, seconds: float) -> str:
        """Returns what was typed within so many seconds, "" for nothing, "q" if nobody can type any more."""
        readable, _, _ = select.select([self._stdin], [], [], seconds)
        if not readable:
            return ""
        return os.read(self._stdin, 64).decode(errors="replace") or "q"

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
