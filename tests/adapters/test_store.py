from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ibgan_plugin.adapters.store import Made, Store, adopt, open_or_make
from zoo.errors import DataError, ZooError

ROWS = np.random.default_rng(0).integers(256, size=(200, 3, 5), dtype=np.uint8)
SOURCE = {"source": "a test"}


def made() -> Made:
    return Made(ROWS.shape, (ROWS[start : start + 64] for start in range(0, 200, 64)), {"more": 1})


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def never() -> Made:
    raise AssertionError("made although it is there")


def test_a_store_is_made_once_and_holds_what_was_written(tmp_path: Path) -> None:
    np.testing.assert_array_equal(open_or_make(tmp_path / "s", SOURCE, made).rows, ROWS)
    store = open_or_make(tmp_path / "s", SOURCE, never)
    np.testing.assert_array_equal(store.rows, ROWS)
    assert store.record["more"] == 1
    assert not store.rows.flags.writeable
    np.testing.assert_array_equal(np.load(tmp_path / "s" / "images.npy"), ROWS)  # any reader of .npy opens it
    assert store.record["sha256"] == sha256_of(tmp_path / "s" / "images.npy")


def test_a_store_made_of_a_finished_file_says_its_hash(tmp_path: Path) -> None:
    np.save(tmp_path / "finished.npy", ROWS)
    expected = sha256_of(tmp_path / "finished.npy")
    adopt(tmp_path / "s", tmp_path / "finished.npy", SOURCE, {"more": 1}, {"names.txt": "a\nb\n"})
    store = open_or_make(tmp_path / "s", SOURCE, never)
    np.testing.assert_array_equal(store.rows, ROWS)
    assert store.record["sha256"] == expected == sha256_of(tmp_path / "s" / "images.npy")
    assert (store.record["more"], (tmp_path / "s" / "names.txt").read_text()) == (1, "a\nb\n")
    assert not (tmp_path / "finished.npy").exists()


def test_a_store_of_the_first_format_is_read(tmp_path: Path) -> None:
    """What it was made from may be gone. Its sample was the hash's low bits."""
    open_or_make(tmp_path / "s", SOURCE, made)
    digest = hashlib.sha256()
    for row in (0, *(k * 2_654_435_761 % 200 for k in range(64)), 199):
        digest.update(ROWS[row].tobytes())
    record = json.loads((tmp_path / "s" / "record.json").read_text())
    assert record["format"] == 2
    record |= {"format": 1, "sampled_sha256": digest.hexdigest()}
    (tmp_path / "s" / "record.json").write_text(json.dumps(record))
    np.testing.assert_array_equal(open_or_make(tmp_path / "s", SOURCE, never).rows, ROWS)


def truncate(folder: Path) -> None:
    path = folder / "images.npy"
    path.write_bytes(path.read_bytes()[:-1])


def lengthen(folder: Path) -> None:
    with (folder / "images.npy").open("ab") as file:
        file.write(b"x")


def flip_a_bit(folder: Path) -> None:
    path = folder / "images.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # in the last row, which is always sampled
    path.write_bytes(bytes(data))


def replace_array(folder: Path) -> None:
    np.save(folder / "images.npy", ROWS.astype(np.int16))


def lose_array(folder: Path) -> None:
    (folder / "images.npy").unlink()


def lose_record(folder: Path) -> None:
    (folder / "record.json").unlink()


def break_record(folder: Path) -> None:
    (folder / "record.json").write_text('{"format": 1')


def age_record(folder: Path) -> None:
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps(record | {"format": 0}))


@pytest.mark.parametrize(
    "damage",
    [truncate, lengthen, flip_a_bit, replace_array, lose_array, lose_record, break_record, age_record],
    ids=lambda damage: damage.__name__,
)
def test_a_damaged_store_is_noticed_and_made_again(
    tmp_path: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "s"
    open_or_make(folder, SOURCE, made)
    damage(folder)
    with pytest.raises(DataError, match=str(folder)):
        Store(folder)
    np.testing.assert_array_equal(open_or_make(folder, SOURCE, made).rows, ROWS)
    assert "again" in capsys.readouterr().err


@pytest.mark.parametrize("tenth", range(1, 9))
def test_damage_in_the_middle_is_noticed_too(tmp_path: Path, tenth: int) -> None:
    """The rows looked at are spread over all: of 200, some in every 20, and whole."""
    open_or_make(tmp_path / "s", SOURCE, made)
    path = tmp_path / "s" / "images.npy"
    data = bytearray(path.read_bytes())
    rows = np.frombuffer(data, np.uint8, offset=len(data) - ROWS.size).reshape(ROWS.shape)
    rows[20 * tenth : 20 * tenth + 20, 1, 2] ^= 1  # the pixel in the middle
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="is damaged: sampled rows differ from its record"):
        Store(tmp_path / "s")


def test_a_store_made_from_something_else_is_made_again(tmp_path: Path) -> None:
    open_or_make(tmp_path / "s", SOURCE, made)
    other = open_or_make(tmp_path / "s", {"source": "another"}, lambda: Made((2, 4), [np.ones((2, 4), np.uint8)]))
    assert other.rows.shape == (2, 4)


@pytest.mark.parametrize(
    ("before", "told"),
    [
        ({"source": "/faces2"}, "source: '/faces', before '/faces2'"),
        ({"recipe": {"size": 64, "crop": None}}, "recipe.crop: 'square', before None"),
        ({"bytes": 45, "mtime_ns": 1}, "bytes: 46, before 45; the file was changed at another time"),
        ({"listing_sha256": "a" * 64}, "the files had other names or sizes"),
        ({"recipe": "text"}, "its record says other things of it"),
        ({"source": ["a"]}, "source: '/faces', before a list"),
    ],
    ids=str,
)
def test_what_a_store_was_made_from_is_told_by_what_differs(
    tmp_path: Path, before: dict[str, Any], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    now = {"source": "/faces", "recipe": {"size": 64, "crop": "square"}, "bytes": 46, "mtime_ns": 2}
    now["listing_sha256"] = "b" * 64
    open_or_make(tmp_path / "s", now | before, made)
    open_or_make(tmp_path / "s", now, made)
    folder = tmp_path / "s"
    assert capsys.readouterr().err == f"making {folder} again: {folder} was made from something else: {told}\n"


def test_failing_halfway_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Made:
        def blocks():  # type: ignore[no-untyped-def]
            yield ROWS[:100]
            raise DataError("image 100 is damaged")

        return Made(ROWS.shape, blocks())

    with pytest.raises(DataError, match="image 100"):
        open_or_make(tmp_path / "s", SOURCE, failing)
    with pytest.raises(DataError, match="100 rows came where 200"):
        open_or_make(tmp_path / "s", SOURCE, lambda: Made(ROWS.shape, [ROWS[:100]]))
    assert [path.name for path in tmp_path.iterdir()] == [".s.lock"]


def test_a_folder_that_cannot_be_written_is_one_line_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ZooError, match=r"cannot write .*file/s: .*--data-root") as raised:
        open_or_make(tmp_path / "file" / "s", SOURCE, made)
    assert "\n" not in str(raised.value)


def test_a_pickled_store_is_its_path(tmp_path: Path) -> None:
    store = open_or_make(tmp_path / "s", SOURCE, made)
    pickled = pickle.dumps(store)
    assert len(pickled) < 500
    np.testing.assert_array_equal(pickle.loads(pickled).rows, ROWS)  # noqa: S301  # written a line above


@pytest.mark.parametrize("shape", [(64, 64, 3), (7,), (4096,)], ids=str)
def test_read_gives_the_rows_asked_for(tmp_path: Path, shape: tuple[int, ...]) -> None:
    rows = np.random.default_rng(1).integers(256, size=(50, *shape), dtype=np.uint8)
    store = open_or_make(tmp_path / "s", SOURCE, lambda: Made(rows.shape, [rows]))
    indices = np.array([49, 0, 7, 7, 48, 1])  # the ends, twice the same, and no order
    read = store.read(indices)
    np.testing.assert_array_equal(read, rows[indices])
    assert read.flags.writeable
    assert store.read(np.array([], dtype=np.int64)).shape == (0, *shape)
