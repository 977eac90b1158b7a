"""The one place that owns the terminal: data to stdout, everything else to stderr.

Progress is a live bar with rate and time left on a terminal, and a plain line now and then elsewhere (a log file, a
notebook's captured output). Work that is over within `QUIET_SECONDS` shows nothing.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from zoo.errors import ZooError, one_line

QUIET_SECONDS = 2.0
PLAIN_LINE_SECONDS = 15.0
_PLAINER = str.maketrans({"–": "-", "×": "x", "’": "'", "…": "..."})


def note(message: str) -> None:
    """Print one line for a person (a hint, a path, a state) on stderr. A terminal that is gone stops no work."""
    with suppress(OSError):
        print(one_line(message), file=sys.stderr, flush=True)  # noqa: T201  # this module is where printing is done


def warn(message: str) -> None:
    """Print one warning line on stderr, but not into a line that a shell is completing."""
    if "_ZOO_COMPLETE" not in os.environ:
        note(f"warning: {message}")


def trace(error: BaseException) -> None:
    """Print the traceback of an error that is told in one line, where `ZOO_DEBUG` asks for it."""
    if os.environ.get("ZOO_DEBUG", "") not in ("", "0"):
        with suppress(OSError):
            traceback.print_exception(error)


def out(text: str) -> None:
    """Print data on stdout. What its encoding cannot write, such as bytes of a path that are no text, is escaped.

    Raises ZooError where stdout is on a full disk, and BrokenPipeError where its reader went away.
    """
    with _writing_stdout():
        print(_writable(text), flush=True)  # noqa: T201  # printing is done here


def out_json(document: Any) -> None:
    """Print one JSON document on stdout. A NaN is a programming error here, and raises."""
    out(json.dumps(document, indent=2, allow_nan=False))


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """Print a table on stdout, as wide as the terminal (wide enough for its content where there is none)."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    # What a file or a person wrote is text: no markup, and nothing that speaks to the terminal.
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 160  # a log or a pipe has no width of its own; rich would fold at 80
    grid = Table(title=title and _printable(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        grid.add_column(_printable(header), overflow="fold")
    for row in rows:
        grid.add_row(*map(_printable, row))
    with _writing_stdout():
        console.print(grid)
        sys.stdout.flush()


@contextmanager
def _writing_stdout() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # as it is: nobody reads on, and nothing has to be said
        raise
    except OSError as error:
        raise ZooError(f"stdout cannot be written: {error.strerror}") from None


def _printable(cell: str) -> str:
    """A cell whose lines are one line each, without control characters, as stdout can write it."""
    return _writable("\n".join(map(one_line, cell.split("\n"))))


def _writable(text: str) -> str:
    """The text with what stdout's encoding lacks escaped; a dash or a cross becomes its ASCII cousin."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        return text.encode(encoding).decode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAINER).encode(encoding, "backslashreplace").decode(encoding)


class Progress:
    """Counts what is done; `advance(n, text)` is all that the working code calls."""

    def __init__(self, description: str, total: int, done: int = 0) -> None:
        self.description, self.total, self.done = description, total, done
        self._first, self._started = done, time.monotonic()
        self._shown = 0.0
        self._task: Any = None

    def advance(self, n: int = 1, text: str = "") -> None:
        """Count `n` more units as done; `text` (a loss, a score) stands at the end of the line."""
        self.done += n
        now = time.monotonic()
        if now - self._started < QUIET_SECONDS or now - self._shown < (0.1 if sys.stderr.isatty() else 0.0):
            return
        if sys.stderr.isatty():
            self._show_bar(text)
            self._shown = now
        elif now - self._shown >= PLAIN_LINE_SECONDS:
            note(self._line(now, text))
            self._shown = now

    def close(self) -> None:
        """Take the bar away; in a log, end with one line where lines were shown."""
        if self._task is not None:
            with suppress(OSError):  # the terminal may be gone
                self._show_bar("")
                _take_away(self._task)
        elif self._shown:
            note(self._line(time.monotonic(), "done" if self.done >= self.total else "stopped"))

    def _line(self, now: float, text: str) -> str:
        rate = (self.done - self._first) / max(now - self._started, 1e-9)
        left = (self.total - self.done) / rate if rate else float("inf")
        share = 100 * self.done / max(self.total, 1)
        line = f"{self.description}: {self.done:,}/{self.total:,} ({share:.0f} %), {rate:,.1f}/s, {clock(left)} left"
        return f"{line}  {text}" if text else line

    def _show_bar(self, text: str) -> None:
        bars = _bars()
        if self._task is None:
            self._task = bars.add_task(self.description, total=self.total, rate="", text="")
        rate = (self.done - self._first) / max(time.monotonic() - self._started, 1e-9)
        bars.update(self._task, completed=self.done, rate=f"{rate:,.1f}/s", text=text)


_display: Any = None  # the one that all open bars share: an evaluation's stands under its training's


def _bars() -> Any:
    """The display of the bars, started with the first of them."""
    global _display
    if _display is None:
        from rich import progress
        from rich.console import Console

        _display = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[rate]}"),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[text]}"),
            console=Console(stderr=True),
        )
        _display.start()
    return _display


def _take_away(task: Any) -> None:
    """Remove a bar; the last one stays to be seen, and the display ends."""
    global _display
    if len(_display.tasks) > 1:
        _display.remove_task(task)
    else:
        _display, ended = None, _display
        ended.stop()


@contextmanager
def progress(description: str, total: int, *, done: int = 0) -> Iterator[Progress]:
    """Show progress over `total` units, `done` of which were done before (a resumed run), on stderr."""
    shown = Progress(description, total, done)
    try:
        yield shown
    finally:
        shown.close()


class LiveTable:
    """A table that is redrawn in place on a terminal, and one line about it now and then elsewhere."""

    def __init__(self, headers: Sequence[str]) -> None:
        self._headers = headers
        self._shown = float("-inf")
        self._live: Any = None

    def show(self, rows: Sequence[Sequence[str]], summary: str) -> None:
        """Draw `rows` with `summary` under them. The first rows are those to see where there is no room for all."""
        if sys.stderr.isatty():
            self._draw(rows, summary)
        elif time.monotonic() - self._shown >= PLAIN_LINE_SECONDS:
            note(summary)
            self._shown = time.monotonic()

    def tell(self, message: str) -> None:
        """Print one line that stays, above the table."""
        if self._live is not None:
            self._live.console.print(message, markup=False, highlight=False, soft_wrap=True)
        else:
            note(message)

    def close(self) -> None:
        """Leave the table as it was drawn last."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self, rows: Sequence[Sequence[str]], summary: str) -> None:
        from rich import box
        from rich.console import Console
        from rich.live import Live
        from rich.table import Table
        from rich.text import Text

        if self._live is None:
            # stdout and stderr are left alone: whoever prints while the table is there uses `tell`.
            console = Console(stderr=True, highlight=False)
            self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
            self._live.start()
        room = max(self._live.console.height - 6, 1)  # for the header, its rule and what stands below
        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=Text(summary), caption_justify="left")
        for header in self._headers:
            grid.add_column(header, no_wrap=True)
        for row in rows[:room]:
            grid.add_row(*map(Text, row))
        if len(rows) > room:
            grid.add_row(Text(f"... and {len(rows) - room} more"))
        self._live.update(grid, refresh=True)


@contextmanager
def live_table(headers: Sequence[str]) -> Iterator[LiveTable]:
    """Show a table of work in progress on stderr."""
    shown = LiveTable(headers)
    try:
        yield shown
    finally:
        shown.close()


def clock(seconds: float) -> str:
    """Seconds as 1:02:03 or 2:03; "?" where there is no telling."""
    if seconds == float("inf"):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
