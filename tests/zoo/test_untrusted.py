"""Opening what nobody vouches for. `tests/fuzz` gives the readers built on this all that can be thought of."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.errors import LONGEST, CheckpointError, DataError, UsageError, ZooError, one_line, shown, unknown
from zoo.untrusted import (
    Bounded,
    exists,
    open_file,
    open_member,
    open_zip,
    parse_json,
    read_bytes,
    read_json,
    refuse_link,
    user_path,
)
from zoo.untrusted_arrays import open_array


@pytest.mark.parametrize(
    ("put", "told"),
    [
        (lambda path: None, "No such file or directory"),
        (Path.mkdir, "it is a folder, expected a file"),
        (os.mkfifo, "it is a named pipe, expected a file"),
        (lambda path: path.symlink_to("/dev/null"), "it is a device, expected a file"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ],
)
def test_only_files_are_opened(tmp_path: Path, put: Callable[[Path], Any], told: str) -> None:
    put(tmp_path / "file")
    with pytest.raises(CheckpointError) as raised, open_file(tmp_path / "file", CheckpointError):
        pass
    assert str(raised.value) == f"cannot read {tmp_path / 'file'}: {told}"


def test_names_that_no_system_has(tmp_path: Path) -> None:
    for path in (tmp_path / "a\0b", tmp_path / ("x" * 5000)):
        assert not exists(path)
        refuse_link(path, DataError)
        with pytest.raises(DataError, match="cannot read"):
            read_bytes(path, 10, DataError)


def test_links_are_followed_where_a_person_named_them_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"[1]")
    (tmp_path / "link").symlink_to("file")
    assert read_json(tmp_path / "link", DataError) == [1]
    with pytest.raises(DataError, match="is a link, which is not followed there"):
        read_json(tmp_path / "link", DataError, links=False)
    assert read_json(tmp_path / "file", DataError, links=False) == [1]


def test_a_size_is_looked_at_first(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_bytes(tmp_path / "file", 5, DataError) == b"12345"
    with pytest.raises(DataError, match="is 5 bytes, larger than any file of its kind"):
        read_bytes(tmp_path / "file", 4, DataError)


@pytest.mark.parametrize("document", [{"a": [1, 2.5, None, True, "\u00e9"]}, [], 3, "x", [[]] * 1000])
def test_json_is_read(document: Any) -> None:
    assert parse_json(json.dumps(document).encode()) == document


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"NaN", "it holds NaN"),
        (b'{"a": [-Infinity]}', "it holds -Infinity"),
        (b"1e400", "1e400, which is too large"),
        (b"[" * 101 + b"]" * 101, "nested too deeply"),
        (b"[" * 100_000, "nested too deeply|Expecting value"),
        (b"\xff", "utf-8"),
        (b"1" * 10_000, "digits"),
        (b"", "Expecting value"),
        (b"{} {}", "Extra data"),
    ],
)
def test_what_is_no_strict_json_is_refused(text: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_json(text)


def zipped(path: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("member", b"x" * 1000)
    return path


def test_members_of_a_zip(tmp_path: Path) -> None:
    with open_zip(zipped(tmp_path / "a.zip"), DataError) as archive, open_member(archive, "member") as file:
        assert file.read() == b"x" * 1000
    for compression in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = zipped(tmp_path / "b.zip", compression)
        with (
            open_zip(path, DataError) as archive,
            pytest.raises(ValueError, match="packed in an unusual way"),
            open_member(archive, "member"),
        ):
            pass
    (tmp_path / "c.zip").write_bytes(b"PK and no more")
    with pytest.raises(DataError, match="cannot be read as a zip archive"), open_zip(tmp_path / "c.zip", DataError):
        pass


def test_a_bounded_file_is_not_read_in_larger_pieces() -> None:
    file = Bounded(io.BytesIO(b"x" * 100), 10)
    assert file.read(10) == b"x" * 10
    with pytest.raises(ValueError, match="said to have 11 bytes"):
        file.read(11)
    with pytest.raises(ValueError, match="more than 10 bytes"):
        file.read()
    file.seek(95)
    assert file.read() == b"x" * 5


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_numpys(tmp_path: Path, order: Any) -> None:
    arrays = {"a": np.asarray(np.arange(12.0).reshape(3, 4), order=order), "b": np.array("text"), "c": np.arange(5)}
    np.savez_compressed(tmp_path / "a.npz", allow_pickle=False, **arrays)
    with open_zip(tmp_path / "a.npz", DataError) as archive:
        for key, expected in arrays.items():
            with open_array(archive, key) as array:
                assert (array.shape, array.dtype) == (expected.shape, expected.dtype)
                np.testing.assert_array_equal(array.whole(1000), expected)
        with open_array(archive, "a") as array, pytest.raises(ValueError, match="more than 95 bytes"):
            array.whole(95)
        with pytest.raises(KeyError), open_array(archive, "d"):
            pass


def test_a_home_that_is_none() -> None:
    assert user_path("~/x") == Path.home() / "x"
    with pytest.raises(UsageError, match="no such user's home"):
        user_path("~nobody-of-that-name/x", UsageError)


def test_an_error_is_one_line_whatever_is_put_into_it() -> None:
    message = str(ZooError("a\n b\x1b[31m\udcff" + "c" * 10_000))
    assert message.startswith("a b\\x1b[31m\\udcff")
    assert message.isprintable()
    assert len(message) < LONGEST
    assert one_line("two  spaces stay, \u00e9 and \u4e2d too") == "two  spaces stay, \u00e9 and \u4e2d too"


@pytest.mark.parametrize(
    ("value", "expected"),
    [("x", "'x'"), (3, "3"), (None, "None"), ([1], "a list"), (10**5000, "a number of thousands of digits")],
    ids=["text", "number", "nothing", "list", "long"],
)
def test_values_are_shown_short(value: Any, expected: str) -> None:
    assert shown(value) == expected
    assert len(shown("y" * 10**6)) < 100
    assert len(unknown("name", "y" * 10**6, ["yes"])) < 200
