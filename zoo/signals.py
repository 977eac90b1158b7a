"""Signals that ask to stop: collected and answered at a good moment, and nobody else's handlers lost over it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from zoo import terminal
from zoo.errors import ZooError

Handler = Callable[[int, FrameType | None], object] | int


class Interrupted(ZooError):
    """A signal ended the work at a good moment; exit code 128 + its number."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number, self.exit_code = number, 128 + number


@contextmanager
def handling(handlers: Mapping[int, Handler]) -> Iterator[None]:
    """Handle signals in the block, and put the handlers that were there back.

    Only the main thread may handle signals: in another one, they stay the embedding program's.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Stopping:
    """SIGINT, SIGTERM and SIGHUP (the terminal went away), collected, not obeyed; the same again stops at once."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self._raises = False

    @contextmanager
    def raised(self) -> Iterator[None]:
        """End the block where it is when a signal comes."""
        self._raises = True
        try:
            yield
        except KeyboardInterrupt:
            if not self.received:  # raised by something else
                raise
        finally:
            self._raises = False

    def handle(self, number: int, _: object) -> None:
        """Be the handler of a signal."""
        if number in self.received:  # others may come together: a job that is preempted gets two
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.received.append(number)
        ends = "leaving the evaluation" if self._raises else "finishing this step"
        terminal.note(f"{signal.Signals(number).name}: {ends} and writing a checkpoint; again to stop at once")
        if self._raises:
            raise KeyboardInterrupt


@contextmanager
def stopping() -> Iterator[Stopping]:
    """Collect the signals that ask to stop. Under nohup SIGHUP stays ignored."""
    found = Stopping()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    with handling(dict.fromkeys(numbers, found.handle)):
        yield found
