"""Standard output whose reader may leave early (``perpixel train --help | head``)."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import Any, TextIO


class Output:
    """A text stream that goes on into nothing once its reader has gone: what a command computes and writes to files
    must not depend on who reads along, and there is nobody left to read a traceback.

    Args:
        stream: written to while somebody reads.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """See ``TextIO``."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._read_by_nobody()
            return len(text)

    def flush(self) -> None:
        """See ``TextIO``."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._read_by_nobody()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _read_by_nobody(self) -> None:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self._stream.fileno())
        os.close(nothing)


def end_quietly_on_interrupts() -> None:
    """Ctrl-C outside of a training, which handles it, ends a command with a line instead of a traceback."""
    shown = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("perpixel: interrupted", file=sys.stderr)
        else:
            shown(kind, error, trace)

    sys.excepthook = hook


def let_readers_leave() -> None:
    """Put an ``Output`` in the place of standard output."""
    if not isinstance(sys.stdout, Output):
        sys.stdout = Output(sys.stdout)
