"""The logs of a run: a JSON document a line, each with its `step`; metrics.jsonl and evaluations.jsonl are two.

A line that is not whole, as the last one of a killed run may be, is no record and is left out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from zoo.errors import CheckpointError, ZooError
from zoo.files import cannot_write, writing
from zoo.untrusted import LARGEST_STEP, exists, open_file, parse_json, refuse_link

# What a file from elsewhere may claim.
_LONGEST_LINE = 8 * 2**20  # bytes; an evaluation has a few thousand
LARGEST_KEPT = 32 * 2**20  # bytes of lines, which take up to thirty times as much memory
_LARGEST_LOG = 2**30  # bytes; a million steps that log each have a quarter of that


def append(path: Path, record: Mapping[str, Any]) -> None:
    """Append one line. Raises ZooError where the file cannot be written, CheckpointError where it is a link."""
    line = json.dumps(record, allow_nan=False) + "\n"
    refuse_link(path, CheckpointError)
    try:
        with path.open("a+b") as handle:
            if handle.tell() and not _ends_a_line(handle):  # what stands there was cut short
                line = "\n" + line
            handle.write(line.encode())
    except OSError as error:
        raise ZooError(cannot_write(path, error)) from error


def records(path: Path) -> list[dict[str, Any]]:
    """Return all records, oldest first; none where there is no such file.

    Raises ZooError where they are more than memory should hold; `each_record` goes through any number.
    """
    size, found = 0, []
    for line in lines(path) if exists(path) else ():
        record = record_of(line)
        if record is not None:
            found.append(record)
            size += len(line)
        if size > LARGEST_KEPT:
            raise ZooError(f"{path} holds more than {LARGEST_KEPT:,} bytes of records, too many to look at at once")
    return found


def each_record(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what `records` returns, one by one."""
    found = map(record_of, lines(path)) if exists(path) else ()
    return (record for record in found if record is not None)


def drop_after(path: Path, step: int) -> None:
    """Drop the records after a step, and lines that are none; a file without any is left as it is."""
    if not exists(path) or all(_step_of(line) <= step for line in lines(path)):
        return
    with writing(path) as temporary, temporary.open("wb") as kept:
        kept.writelines(line for line in lines(path) if _step_of(line) <= step)


def lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a log; one that is longer than any in parts, which are no records. ZooError where it fails."""
    with open_file(path, ZooError, links=False) as log:
        size = os.fstat(log.fileno()).st_size
        if size > _LARGEST_LOG:
            raise ZooError(f"{path} is {size:,} bytes, larger than any log; move it away")
        while line := log.readline(_LONGEST_LINE):
            yield line


def record_of(line: bytes) -> dict[str, Any] | None:
    """The record in a line of a log, with its `step`; None where it is not whole, or is none that a run would write."""
    try:
        record = parse_json(line)
    except ValueError:
        return None
    step = record.get("step") if isinstance(record, dict) else None
    sound = isinstance(step, int | float) and not isinstance(step, bool) and 0 <= step <= LARGEST_STEP
    return record if sound else None


def _step_of(line: bytes) -> float:
    """The step of a log line; a half-written last line counts as later than everything."""
    record = record_of(line)
    return float("inf") if record is None else float(record["step"])


def _ends_a_line(handle: BinaryIO) -> bool:
    handle.seek(-1, os.SEEK_END)
    return handle.read(1) == b"\n"
