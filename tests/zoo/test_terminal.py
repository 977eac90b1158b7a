"""Data goes to stdout, everything else to stderr; progress is a bar on a terminal and a line now and then elsewhere."""

from __future__ import annotations

import io
import json
import sys

import pytest

from zoo import terminal

Capture = pytest.CaptureFixture[str]


class Clock:
    """A clock that the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(terminal.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_where_what_goes(capsys: Capture) -> None:
    terminal.note("a note")
    terminal.warn("careful")
    terminal.out("data")
    terminal.out_json({"a": [1, None]})
    out, err = capsys.readouterr()
    assert err == "a note\nwarning: careful\n"
    assert out.startswith("data\n")
    assert json.loads(out.removeprefix("data\n")) == {"a": [1, None]}


def test_what_others_wrote_is_text(capsys: Capture) -> None:
    """No markup, no escape sequences, no second line, and no failing on what an encoding cannot write."""
    terminal.table(["[b]name[/x]"], [["[/bold]"], [":smile: \x1b[31m"], ["two\nlines"]], title="[/t]")
    terminal.note("first\nsecond \x1b[2J")
    terminal.out("bytes \udcff")
    out, err = capsys.readouterr()
    for part in ("[b]name[/x]", "[/bold]", ":smile: \\x1b[31m", "two", "lines", "[/t]", "bytes \\udcff"):
        assert part in out
    assert "\x1b" not in out + err
    assert err == "first second \\x1b[2J\n"


def test_a_table_in_an_encoding_that_lacks_its_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    terminal.table(["métrique"], [["–"], ["Fréchet’s"]], title="64×64")
    terminal.out("…")
    sys.stdout.flush()
    shown = written.getvalue().decode("ascii")
    for part in ("64x64", "m\\xe9trique", "|-  ", "Fr\\xe9chet's", "..."):
        assert part in shown


def test_a_nan_is_no_json(capsys: Capture) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        terminal.out_json({"score": float("nan")})
    assert capsys.readouterr().out == ""


def test_a_table_loses_nothing_in_a_pipe(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    cells = [["a" * 60, "b" * 60], ["short", "[brackets] stay"]]
    terminal.table(["first", "second"], cells, title="the title")
    out = capsys.readouterr().out
    assert all(word in out for word in ("the title", "first", "second", "a" * 60, "b" * 60, "short"))
    monkeypatch.setenv("COLUMNS", "50")
    terminal.table(["first"], [["c" * 80]])
    folded = "".join(part.strip() for part in capsys.readouterr().out.split("\n"))
    assert folded.count("c") == 80


def test_short_work_shows_nothing(capsys: Capture, clock: Clock) -> None:
    with terminal.progress("working", 10) as progress:
        for _ in range(10):
            clock.now += 0.19
            progress.advance()
    assert capsys.readouterr() == ("", "")


def test_a_line_now_and_then_in_a_log(capsys: Capture, clock: Clock) -> None:
    with terminal.progress("working", 4_000, done=1_000) as progress:
        for _ in range(2_000):
            clock.now += 0.015625  # 64 a second, for 31.25 seconds
            progress.advance(text="loss 1")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3  # after 2 and 17 seconds, and at the end
    assert lines[0] == "working: 1,128/4,000 (28 %), 64.0/s, 0:45 left  loss 1"
    assert lines[-1] == "working: 3,000/4,000 (75 %), 64.0/s, 0:16 left  stopped"


def test_it_says_when_it_is_done(capsys: Capture, clock: Clock) -> None:
    with terminal.progress("working", 3) as progress:
        for _ in range(3):
            clock.now += 3_000
            progress.advance()
    assert capsys.readouterr().err.splitlines()[-1] == "working: 3/3 (100 %), 0.0/s, 0:00 left  done"


def test_the_line_is_closed_when_the_work_fails(capsys: Capture, clock: Clock) -> None:
    with pytest.raises(RuntimeError, match="stop"), terminal.progress("working", 3) as progress:
        clock.now += 3
        progress.advance()
        raise RuntimeError("stop")
    assert capsys.readouterr().err.splitlines()[-1].endswith("stopped")


def test_a_live_bar_on_a_terminal(capsys: Capture, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for name, value in (("TERM", "xterm-256color"), ("COLUMNS", "120")):
        monkeypatch.setenv(name, value)
    with terminal.progress("working", 200) as progress:
        for _ in range(200):
            clock.now += 0.05
            progress.advance(text="loss 1.5")
    out, err = capsys.readouterr()
    assert out == ""
    assert "working" in err
    assert "200/200" in err
    assert "20.0/s" in err
    assert "\x1b[" in err  # it is redrawn in place


def test_bars_inside_each_other_share_the_display(
    capsys: Capture, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for name, value in (("TERM", "xterm-256color"), ("COLUMNS", "120")):
        monkeypatch.setenv(name, value)
    with terminal.progress("training", 10) as outer:
        for _ in range(2):
            for _ in range(5):
                clock.now += 1
                outer.advance()
            with terminal.progress("scoring", 10) as inner:
                for _ in range(10):
                    clock.now += 1
                    inner.advance()
    err = capsys.readouterr().err
    assert err.count("\x1b[?25l") == 1  # the cursor is hidden once, for all of them
    last = err.rpartition("\x1b[2K")[2]
    assert ("training" in last, "10/10" in last, "scoring" in last) == (True, True, False)


def test_a_live_table_in_a_log(capsys: Capture, clock: Clock) -> None:
    with terminal.live_table(["run", "state"]) as table:
        for second in range(40):
            table.show([["a", "training"]], f"sweep: at second {second}")
            if second == 20:
                table.tell("a is finished")
            clock.now += 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "sweep: at second 0",
        "sweep: at second 15",
        "a is finished",
        "sweep: at second 30",
    ]


def test_a_live_table_on_a_terminal(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for name, value in (("TERM", "xterm-256color"), ("COLUMNS", "100"), ("LINES", "16")):
        monkeypatch.setenv(name, value)
    rows = [[f"run{number}", "[training]", "..."] for number in range(30)]
    with terminal.live_table(["run", "state", "more"]) as table:
        table.show(rows[:2], "0/2 finished")
        table.tell("run0 [is] finished")
        table.show(rows, "1/30 finished")
    out, err = capsys.readouterr()
    assert out == ""
    first, told, last = (part for part in err.partition("run0 [is] finished"))
    assert told
    assert "0/2 finished" in first
    assert "[training]" in first  # no markup
    assert "... and 20 more" in last
    assert ("run9" in last, "run10" in last) == (True, False)
    assert "1/30 finished" in last
    assert "\x1b[" in last  # it is redrawn in place


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3_661, "1:01:01"), (float("inf"), "?")]
)
def test_time_left(seconds: float, shown: str) -> None:
    assert terminal.clock(seconds) == shown
