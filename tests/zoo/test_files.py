"""Files and folders appear whole under their name, or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from zoo.errors import ZooError
from zoo.files import write_json, writing, writing_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    with writing(path) as temporary:
        assert temporary.parent == path.parent  # on the same disk, so that taking the name is one operation
        assert temporary.suffix == ".txt"
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert names(path.parent) == ["file.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_device_or_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for name in ("pipe", "null"):
        with pytest.raises(ZooError, match="what has that name is no file"), writing(tmp_path / name):
            pass
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "null").is_symlink()
    assert names(tmp_path) == ["null", "pipe"]


def test_a_file_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="stop"), writing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("stop")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]
    with writing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_a_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with writing_folder(path) as temporary:
        (temporary / "a").write_text("1")
        (temporary / "b").write_text("2")
        assert not path.exists()
    assert names(path) == ["a", "b"]
    with pytest.raises(RuntimeError, match="stop"), writing_folder(path) as temporary:
        (temporary / "a").write_text("3")
        raise RuntimeError("stop")
    assert (path / "a").read_text() == "1"
    with writing_folder(path) as temporary:
        (temporary / "c").write_text("4")
    assert names(path) == ["c"]
    assert names(tmp_path) == ["folder"]


def test_a_folder_with_folders_in_it(tmp_path: Path) -> None:
    with writing_folder(tmp_path / "tree") as temporary:
        (temporary / "a" / "b").mkdir(parents=True, mode=0o700)
        (temporary / "a" / "b" / "file").write_text("1")
        (temporary / "a" / "b" / "file").chmod(0o600)
    inside = {str(path.relative_to(tmp_path)): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert inside == {"tree": 0o755, "tree/a": 0o755, "tree/a/b": 0o755, "tree/a/b/file": 0o644}


@pytest.mark.parametrize("write", [writing, writing_folder])
def test_where_nothing_can_be_written(tmp_path: Path, write: type) -> None:
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "new"
    with pytest.raises(ZooError) as raised, write(path):
        pass
    told = f"cannot write {path}: a file is in the way of a folder; choose a folder that can be written and has room"
    assert str(raised.value) == told


def test_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, None, "é"]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": [1, None, "é"]}
    for wrong in (float("nan"), float("inf"), {1, 2}):
        with pytest.raises((TypeError, ValueError)):
            write_json(tmp_path / "a.json", wrong)
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": [1, None, "é"]}
    assert names(tmp_path) == ["a.json"]
