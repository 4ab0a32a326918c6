"""Ctrl-C that a run heeds between two steps, not in the middle of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def held_back() -> Iterator[Callable[[], None]]:
    """Keep the first Ctrl-C until the run looks for it; a second one is raised where it comes.

    Python raises KeyboardInterrupt wherever the main thread happens to be: between the two statements of a transaction,
    or in the finaliser of an object, where it is lost. Only that is changed: a program that handles or ignores the
    signal goes on to do so, and other threads than the main one never see it.

    Yields
    ------
    callable
        Raises KeyboardInterrupt if Ctrl-C was pressed. What was pressed after the last look is raised at the end.
    """
    pressed = False

    def note(*_: object) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def look() -> None:
        if pressed:
            raise KeyboardInterrupt

    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield look
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield look
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    look()
