from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ibgan_plugin.adapters import sources
from ibgan_plugin.adapters.sources import Source, Unreadable, source
from zoo.errors import DataError

CONTENTS = {f"set/{k % 3}/{k:02d}.png": bytes([k]) * (100 + k) for k in range(20)}
OTHERS = {"set/readme.txt": b"text", "set/.hidden.png": b"", "__MACOSX/set/0/._00.png": b"", "set/0/.DS_Store": b""}


def is_png(name: str) -> bool:
    return name.endswith(".png")


def write_folder(path: Path) -> Path:
    for name, content in (CONTENTS | OTHERS).items():
        if not name.startswith("__MACOSX"):
            file = path / "set" / name.removeprefix("set/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    return path / "set"


def write_zip(path: Path) -> Path:
    with zipfile.ZipFile(path / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in reversed((CONTENTS | OTHERS).items()):
            archive.writestr(name, content)
    return path / "set.zip"


def write_tar(path: Path, suffix: str = ".tar", mode: str = "w", prefix: str = "") -> Path:
    with tarfile.open(path / f"set{suffix}", mode) as archive:
        folder = tarfile.TarInfo(f"{prefix or './'}set")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in reversed((CONTENTS | OTHERS).items()):
            member = tarfile.TarInfo(prefix + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path / f"set{suffix}"


WRITERS: dict[str, Callable[[Path], Path]] = {
    "folder": write_folder,
    "zip": write_zip,
    "tar": write_tar,
    "tar.gz": lambda path: write_tar(path, ".tar.gz", "w:gz"),
    "tgz": lambda path: write_tar(path, ".tgz", "w:gz"),
    "tar.bz2": lambda path: write_tar(path, ".tar.bz2", "w:bz2"),
    "tar.xz": lambda path: write_tar(path, ".tar.xz", "w:xz"),
    "tar of .": lambda path: write_tar(path, ".tar", "w", "./"),
}


@pytest.fixture(params=WRITERS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    return source(WRITERS[request.param](tmp_path), "set/")


def test_wanted_files_are_named_and_read(opened: Source) -> None:
    names = opened.names(is_png)
    assert sorted(names) == sorted(CONTENTS)
    assert dict(opened.read(names)) == CONTENTS
    assert [name for name, _ in opened.read(names)] == names


def test_reading_can_begin_anywhere(opened: Source) -> None:
    names = opened.names(is_png)
    assert [name for name, _ in opened.read(names[7:])] == names[7:]
    assert dict(opened.read(names[::4])) == {name: CONTENTS[name] for name in names[::4]}
    assert list(opened.read([])) == []


def test_too_large_files_are_not_read_whole(opened: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_BYTES", 110)
    contents = dict(opened.read(opened.names(is_png)))
    for name, content in CONTENTS.items():
        assert isinstance(contents[name], Unreadable) == (len(content) > 110)


def test_the_identity_changes_with_the_content(tmp_path: Path) -> None:
    folder, archive = write_folder(tmp_path), write_zip(tmp_path)
    before = source(folder).identity(), source(archive).identity()
    assert before == (source(folder).identity(), source(archive).identity())
    (folder / "0" / "new.png").write_bytes(b"new")
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("set/0/new.png", b"new")
    after = source(folder).identity(), source(archive).identity()
    assert before[0] != after[0]
    assert before[1] != after[1]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_the_identity_of_an_archive_is_its_place_size_and_time(tmp_path: Path, kind: str) -> None:
    path = WRITERS[kind](tmp_path)
    status, before = path.stat(), source(path).identity()

    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))  # as many bytes, written later
    assert source(path).identity() != before
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert source(path).identity() == before

    with path.open("ab") as file:  # more bytes, and the time put back, as cp -p and rsync do
        file.write(b"\0")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert source(path).identity() != before

    (tmp_path / "elsewhere").mkdir()
    assert source(WRITERS[kind](tmp_path / "elsewhere")).identity()["source"] != before["source"]


@pytest.mark.parametrize("name", ["../evil.png", "/evil.png", "set/../../evil.png", "..\\evil.png", "C:\\evil.png"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_out_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / f"bad.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as zipped:
            zipped.writestr(name, b"x")
    else:
        with tarfile.open(path, "w") as tar:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(DataError, match="leads out"):
        source(path).names(is_png)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        member = tarfile.TarInfo("set/link.png")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(DataError, match="link"):
        source(tmp_path / "bad.tar").names(is_png)


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        member = zipfile.ZipInfo("set/link.png")
        member.create_system, member.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(DataError, match="link"):
        source(tmp_path / "bad.zip").names(is_png)


def test_linked_folders_are_not_followed_and_broken_links_are_told(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "loop").symlink_to(folder)
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    opened = source(folder, "set/")
    names = opened.names(is_png)
    assert sorted(names) == sorted([*CONTENTS, "set/gone.png"])
    assert isinstance(dict(opened.read(names))["set/gone.png"], Unreadable)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_twice_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"bad.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as zipped, pytest.warns(UserWarning, match="Duplicate"):
            zipped.writestr("a.png", b"1")
            zipped.writestr("a.png", b"2")
    else:
        with tarfile.open(path, "w") as tar:
            tar.addfile(tarfile.TarInfo("a.png"))
            tar.addfile(tarfile.TarInfo("./a.png"))
    with pytest.raises(DataError, match="twice"):
        source(path).names(is_png)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("kept", [0.0, 0.4])
def test_truncated_archives_are_told(tmp_path: Path, kind: str, kept: float) -> None:
    path = WRITERS[kind](tmp_path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(DataError, match=f"{path}.*(not a whole archive|cannot be read as a zip)"):
        source(path).names(is_png)


def test_one_damaged_member_of_a_zip_is_told_and_the_rest_read(tmp_path: Path) -> None:
    path = write_zip(tmp_path)
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("set/2/05.png")
    data = bytearray(path.read_bytes())
    data[member.header_offset + 30 + len(member.filename) + 2] ^= 0xFF
    path.write_bytes(bytes(data))
    opened = source(path)
    contents = dict(opened.read(opened.names(is_png)))
    assert isinstance(contents.pop("set/2/05.png"), Unreadable)
    assert contents == {name: content for name, content in CONTENTS.items() if name != "set/2/05.png"}


def test_neither_folder_nor_archive(tmp_path: Path) -> None:
    (tmp_path / "set.rar").touch()
    with pytest.raises(DataError, match="neither a folder nor an archive"):
        source(tmp_path / "set.rar")
