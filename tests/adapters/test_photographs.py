"""chairs3d, celeba and image_folder, from small sources in exactly the publishers' layouts."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import zoo.cli
from ibgan_plugin.adapters import celeba as celeba_module
from ibgan_plugin.adapters import chairs3d as chairs_module
from ibgan_plugin.adapters import image_folder as folder_module
from ibgan_plugin.adapters import preparation
from ibgan_plugin.adapters.celeba import celeba
from ibgan_plugin.adapters.chairs3d import chairs3d
from ibgan_plugin.adapters.image_folder import image_folder
from ibgan_plugin.evaluation.fid import describe_real
from tests.processes import PEAK
from zoo.errors import DataError
from zoo.interfaces import Dataset

Files = dict[str, bytes]

AZIMUTHS = [round(360 * k / 31) for k in range(31)]
# 31 views from each elevation, numbered 0..30 and 32..62: the published numbers leave 31 out.
VIEWS = [f"image_{k + 32 * e:03d}_p0{20 + 10 * e}_t{AZIMUTHS[k]:03d}_r096.png" for e in (0, 1) for k in range(31)]
PARTS = ("list_eval_partition.txt", "identity_CelebA.txt", "list_attr_celeba.txt", "list_bbox_celeba.txt")


@cache
def picture(seed: int, width: int, height: int, kind: str) -> bytes:
    """An image of smooth random colours: small as a file, different everywhere."""
    coarse = np.random.default_rng(seed).integers(256, size=(5, 4, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST).save(stream, kind)
    return stream.getvalue()


def chair_files(chairs: int) -> Files:
    names = [f"rendered_chairs/{0x1005F475 + 977 * c:032x}/renders/{view}" for c in range(chairs) for view in VIEWS]
    files = {name: picture(k % 50, 600, 600, "PNG") for k, name in enumerate(names)}
    return files | {"rendered_chairs/all_chair_names.mat": b"MATLAB 5.0 MAT-file"}


def celeba_files(faces: int) -> Files:
    return {f"img_align_celeba/{k + 1:06d}.jpg": picture(k % 50, 178, 218, "JPEG") for k in range(faces)}


def put_folder(parent: Path, files: Files) -> None:
    for name, content in files.items():
        (parent / name).parent.mkdir(parents=True, exist_ok=True)
        (parent / name).write_bytes(content)


def put_tar(parent: Path, files: Files) -> None:
    parent.mkdir(parents=True, exist_ok=True)
    stem = next(iter(files)).split("/")[0]
    with tarfile.open(parent / f"{stem}.tar", "w") as archive:
        for name, content in sorted(files.items(), reverse=True):  # the archive's order is not that of the names
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def put_zip(parent: Path, files: Files) -> None:
    parent.mkdir(parents=True, exist_ok=True)
    stem = next(iter(files)).split("/")[0]
    with zipfile.ZipFile(parent / f"{stem}.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


Put = Callable[[Path, Files], None]
PUTS = pytest.mark.parametrize("put", [put_folder, put_tar, put_zip], ids=["folder", "tar", "zip"])


def stores(root: Path) -> list[str]:
    """All files in the folder of prepared stores that are not locks."""
    prepared = root / "prepared"
    found = [path for path in prepared.rglob("*") if path.is_file() and not path.name.endswith(".lock")]
    return sorted(str(path.relative_to(prepared)) for path in found)


def written(content: bytes) -> Any:
    return Image.open(io.BytesIO(content))


# --- what is prepared ---


@PUTS
def test_chairs_are_gray_whole_and_in_order(tmp_path: Path, put: Put, capsys: pytest.CaptureFixture[str]) -> None:
    files = chair_files(2)
    put(tmp_path / "chairs3d", files)
    data = chairs3d(tmp_path)
    assert "124 of the 86,366" in capsys.readouterr().err
    assert isinstance(data, Dataset)
    assert (data.name, len(data), data.image_shape) == ("chairs3d", 124, (64, 64, 1))
    assert data.factor_names is None
    assert data.factor_sizes is None
    images = data.images(np.arange(124))
    for image, name in zip(images, sorted(name for name in files if name.endswith(".png")), strict=True):
        expected = written(files[name]).convert("L").resize((64, 64), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(image[..., 0], np.asarray(expected))


@PUTS
def test_celeba_is_cropped_and_in_order(tmp_path: Path, put: Put) -> None:
    files = celeba_files(30)
    put(tmp_path / "celeba", files)
    for part in PARTS:
        (tmp_path / "celeba" / part).write_text("".join(f"{k + 1:06d}.jpg {k % 3}\n" for k in range(30)))
    data = celeba(tmp_path)
    assert (data.name, len(data), data.image_shape) == ("celeba", 30, (64, 64, 3))
    picked = np.array([7, 0, 29, 7])
    for image, index in zip(data.images(picked), picked, strict=True):
        face = written(files[f"img_align_celeba/{index + 1:06d}.jpg"]).crop((15, 35, 163, 183))
        np.testing.assert_array_equal(image, np.asarray(face.resize((64, 64), Image.Resampling.BILINEAR)))


def test_a_folder_of_any_images(tmp_path: Path) -> None:
    files = {
        "image_folder/b/2.PNG": picture(1, 80, 60, "PNG"),
        "image_folder/a.jpg": picture(2, 300, 200, "JPEG"),
        "image_folder/b/1.webp": picture(3, 64, 64, "WEBP"),
        "image_folder/notes.txt": b"not an image, and not called one",
    }
    put_folder(tmp_path, files)
    data = image_folder(tmp_path)
    assert (len(data), data.image_shape) == (3, (64, 64, 3))
    expected = written(files["image_folder/b/1.webp"]).convert("RGB")
    np.testing.assert_array_equal(data.images(np.array([1]))[0], np.asarray(expected))
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "image_folder", elsewhere)
    named = image_folder(tmp_path / "other-root", source=str(elsewhere), size=32, grayscale=True)
    assert (len(named), named.image_shape, named.source) == (3, (32, 32, 1), str(elsewhere))
    prepared = [describe_real(of, np.arange(3), "all 3 images")["preparation"] for of in (data, named)]
    assert [json.loads(str(one)) for one in prepared] == [
        {"size": size, "crop": "square", "grayscale": gray, "resize": "bilinear, antialiased"}
        for size, gray in ((64, False), (32, True))
    ]


def test_images_that_changed_since_are_told_until_they_are_prepared_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my faces"
    put_folder(folder, {f"{number}.png": picture(number, 64, 64, "PNG") for number in range(3)})
    assert len(image_folder(tmp_path, source=folder, size=32)) == 3
    capsys.readouterr()
    assert len(image_folder(tmp_path, source=folder, size=32)) == 3
    assert capsys.readouterr().err == ""
    put_folder(folder, {"3.png": picture(3, 64, 64, "PNG")})
    assert len(image_folder(tmp_path, source=folder, size=32)) == 3
    command = f"zoo data prepare image_folder --set 'source={folder}' --set size=32 --data-root {tmp_path}"
    told = f"{folder} has changed since its 3 images were prepared, which are used; {command} makes them anew"
    assert capsys.readouterr().err == f"warning: {told}\n"
    note = folder_module.info(tmp_path, source=folder, size=32)["note"]
    assert note == f"ready, but the files have changed since: `{command}` makes it anew"
    assert zoo.cli.run(shlex.split(command)[1:]) == 0
    assert len(image_folder(tmp_path, source=folder, size=32)) == 4
    shutil.rmtree(folder)  # not needed any more
    assert len(image_folder(tmp_path, source=folder, size=32)) == 4
    assert "has changed" not in capsys.readouterr().err


def test_the_command_that_prepares_is_of_the_settings_asked_about(tmp_path: Path) -> None:
    put_zip(tmp_path / "celeba", celeba_files(1))
    noted = [celeba_module.info(tmp_path, **settings)["note"] for settings in ({}, {"crop": None, "size": 32})]
    noted += [chairs_module.info(None)["note"], chairs_module.info(None, grayscale=False)["note"]]
    commands = [note.partition("`")[2].rstrip("`") for note in noted]
    assert commands == [
        f"zoo data prepare celeba --data-root {tmp_path}",
        f"zoo data prepare celeba --set size=32 --set crop=none --data-root {tmp_path}",
        "zoo data prepare chairs3d",
        "zoo data prepare chairs3d --set grayscale=false",
    ]


def test_settings_give_stores_of_their_own(tmp_path: Path) -> None:
    put_zip(tmp_path / "celeba", celeba_files(8))
    first = celeba(tmp_path)
    whole = celeba(tmp_path, crop=None, size=32)
    assert whole.image_shape == (32, 32, 3)
    assert celeba(tmp_path).store.folder == first.store.folder != whole.store.folder


def test_the_record_says_what_was_done(tmp_path: Path) -> None:
    put_zip(tmp_path / "celeba", celeba_files(8))
    folder = celeba_module.prepare(tmp_path)
    record = json.loads((folder / "record.json").read_text())
    assert record["made_from"]["source"] == str(tmp_path / "celeba" / "img_align_celeba.zip")
    assert record["made_from"]["recipe"]["crop"] == 148
    assert record["made_from"]["recipe"]["size"] == 64
    assert (record["images"], record["published"], record["complete"]) == (8, 202_599, False)
    assert record["sha256"] == hashlib.sha256((folder / "images.npy").read_bytes()).hexdigest()
    names = (folder / "files.txt").read_text().splitlines()
    assert names == sorted(celeba_files(8))


def test_a_prepared_store_needs_its_source_no_more(tmp_path: Path) -> None:
    put_folder(tmp_path / "celeba", celeba_files(8))
    images = celeba(tmp_path).images(np.arange(8))
    shutil.rmtree(tmp_path / "celeba")
    np.testing.assert_array_equal(celeba(tmp_path).images(np.arange(8)), images)
    assert celeba_module.prepare(tmp_path).is_dir()


def test_preparing_again_takes_a_changed_source_and_only_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_folder(tmp_path / "celeba", celeba_files(8))
    array = celeba_module.prepare(tmp_path) / "images.npy"
    before = array.stat().st_ino
    celeba_module.prepare(tmp_path)
    assert array.stat().st_ino == before
    put_folder(tmp_path / "celeba", celeba_files(9))
    celeba_module.prepare(tmp_path)
    assert len(celeba(tmp_path)) == 9
    folder = array.parent
    assert capsys.readouterr().err.splitlines()[1] == (
        f"making {folder} again: {folder} was made from something else: the files had other names or sizes"
    )


@pytest.mark.parametrize("place", ["celeba", ".", "celeba/Img"])
def test_places_where_people_keep_celeba(tmp_path: Path, place: str) -> None:
    put_zip(tmp_path / place, celeba_files(3))
    assert len(celeba(tmp_path)) == 3


def test_disentanglement_libs_data_folder_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_tar(tmp_path / "theirs" / "chairs3d", chair_files(1))
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", str(tmp_path / "theirs"))
    assert len(chairs3d(tmp_path / "root")) == 62


def test_kaggles_doubled_folder(tmp_path: Path) -> None:
    put_folder(tmp_path / "celeba", {f"img_align_celeba/{name}": data for name, data in celeba_files(3).items()})
    assert len(celeba(tmp_path)) == 3


# --- what is told ---


@pytest.mark.parametrize("module", [chairs_module, celeba_module, folder_module], ids=lambda m: m.LAYOUT.name)
def test_missing_sources_are_told_with_what_to_fetch_and_where_to_put_it(tmp_path: Path, module: Any) -> None:
    told = module.info(tmp_path)
    assert told["ready"] is False
    [fetch] = told["missing"]
    assert str(tmp_path) in fetch
    with pytest.raises(DataError) as raised:
        getattr(module, module.LAYOUT.name)(tmp_path)
    looked = f"looked in {tmp_path} (--data-root or ZOO_DATA names another data root)"
    assert str(raised.value) == f"{module.LAYOUT.name} is not there: {looked}; {fetch}"
    assert stores(tmp_path) == []


def test_where_was_looked_names_disentanglement_libs_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", str(tmp_path / "theirs"))
    with pytest.raises(DataError, match=re.escape(f"looked in {tmp_path / 'root'} and {tmp_path / 'theirs'} (")):
        celeba(tmp_path / "root")


def test_a_folder_that_was_moved_is_told_with_how_to_name_it_anew(tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        image_folder(tmp_path, source=tmp_path / "faces")
    assert str(raised.value).endswith(
        f"; there is no folder or archive {tmp_path / 'faces'}; name where it is now with --set dataset.source=PATH "
        "(zoo data prepare: --set source=PATH)"
    )


def test_info_follows_the_state(tmp_path: Path) -> None:
    put_zip(tmp_path / "celeba", celeba_files(5))
    before = celeba_module.info(tmp_path)
    assert (before["ready"], before["missing"]) == (False, [])
    assert before["source"] == str(tmp_path / "celeba" / "img_align_celeba.zip")
    celeba_module.prepare(tmp_path)
    celeba_module.prepare(tmp_path, size=32)
    after = celeba_module.info(tmp_path)
    assert (after["ready"], after["images"], after["missing"]) == (True, 5, [])
    assert sorted(after["prepared"]) == ["32-148-rgb", "64-148-rgb"]
    json.dumps([before, after], allow_nan=False)
    assert celeba_module.info(tmp_path, size=32)["ready"]
    assert not celeba_module.info(tmp_path, size=128)["ready"]


def test_a_part_of_a_published_dataset_says_so_however_often_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_zip(tmp_path / "celeba", celeba_files(5))
    put_zip(tmp_path / "chairs3d", chair_files(1))
    put_folder(tmp_path / "image_folder", celeba_files(2))  # anybody's own are all there is
    parts = {celeba_module: "5 of 202,599 images", chairs_module: "62 of 86,366 images", folder_module: None}
    for module, part in parts.items():
        dataset = getattr(module, module.LAYOUT.name)
        assert [dataset(tmp_path).caveat for _ in range(2)] == [part, part]
        assert module.info(tmp_path)["note"] == ("ready" if part is None else f"ready, but not whole: {part}")
    monkeypatch.setattr(celeba_module, "LAYOUT", replace(celeba_module.LAYOUT, published=5))
    assert celeba(tmp_path).caveat is None
    assert celeba_module.info(tmp_path)["note"] == "ready"


def test_info_of_a_folder_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put_folder(tmp_path / "mine", {"a.png": picture(0, 40, 40, "PNG")})
    words = ["--data-root", str(tmp_path / "root"), "--set", f"source={tmp_path / 'mine'}", "--set", "grayscale=yes"]
    told = []
    for action, rest in (("info", ["--json"]), ("prepare", []), ("info", ["--json"])):
        assert zoo.cli.run(["data", action, "image_folder", *words, *rest]) == 0
        told.append(capsys.readouterr().out)
    before, after = json.loads(told[0]), json.loads(told[2])
    assert (before["ready"], before["source"], before["missing"]) == (False, str(tmp_path / "mine"), [])
    assert (after["ready"], after["images"], after["image_shape"]) == (True, 1, [64, 64, 1])
    assert zoo.cli.run(["data", "info", "image_folder", "--set", "sise=3"]) == 2
    assert "image_folder.size" in capsys.readouterr().err


@PUTS
def test_every_bad_file_is_named_and_nothing_is_left(tmp_path: Path, put: Put) -> None:
    files = celeba_files(40)
    files["img_align_celeba/000003.jpg"] = files["img_align_celeba/000003.jpg"][:2000]
    files["img_align_celeba/000005.jpg"] = picture(0, 64, 64, "JPEG")
    files["img_align_celeba/000008.jpg"] = b"not an image at all"
    files["img_align_celeba/000009.jpg"] = b""
    del files["img_align_celeba/000012.jpg"]
    put(tmp_path / "celeba", files)
    (tmp_path / "celeba" / "list_eval_partition.txt").write_text("".join(f"{k:06d}.jpg 0\n" for k in range(1, 42)))
    with pytest.raises(DataError) as raised:
        celeba(tmp_path)
    message = str(raised.value)
    assert "\n" not in message
    for expected in (
        "000003.jpg is damaged",
        "000005.jpg is 64x64; 178x218 was expected",
        "000008.jpg is not an image",
        "000009.jpg is empty",
        "000012.jpg is missing",
        "000041.jpg is missing",
    ):
        assert expected in message
    assert message.count(".jpg") == 6
    assert message.endswith("; fetch these files again")
    assert stores(tmp_path) == []


def test_a_bad_file_of_a_persons_own_is_theirs_to_remove_or_repair(tmp_path: Path) -> None:
    put_folder(tmp_path / "image_folder", {"a.png": picture(0, 40, 40, "PNG"), "b.png": b"not an image at all"})
    with pytest.raises(DataError, match=r"b\.png is not an image; remove or repair these files$"):
        image_folder(tmp_path)
    assert stores(tmp_path) == []


def test_a_gap_in_the_numbers_is_told_without_the_list(tmp_path: Path) -> None:
    files = celeba_files(10)
    del files["img_align_celeba/000004.jpg"]
    put_zip(tmp_path / "celeba", files)
    with pytest.raises(DataError, match=r"img_align_celeba/000004.jpg is missing"):
        celeba(tmp_path)


def test_a_damaged_list_is_told(tmp_path: Path) -> None:
    put_zip(tmp_path / "celeba", celeba_files(3))
    (tmp_path / "celeba" / "list_eval_partition.txt").write_text("000001.jpg 0\n<html>not found</html>\n")
    with pytest.raises(DataError, match=r"list_eval_partition.txt, line 2"):
        celeba(tmp_path)


def test_a_chair_without_one_of_its_views_is_told(tmp_path: Path) -> None:
    files = chair_files(2)
    gone = next(name for name in files if "image_040" in name)
    del files[gone]
    put_folder(tmp_path / "chairs3d", files)
    with pytest.raises(DataError) as raised:
        chairs3d(tmp_path)
    assert f"{gone.rsplit('/', 1)[0]}/image_040_*.png is missing" in str(raised.value)
    assert stores(tmp_path) == []


def test_a_folder_without_images_is_told(tmp_path: Path) -> None:
    (tmp_path / "image_folder").mkdir()
    (tmp_path / "image_folder" / "notes.txt").touch()
    with pytest.raises(DataError, match="holds no images"):
        image_folder(tmp_path)
    with pytest.raises(DataError, match="no folder or archive"):
        image_folder(tmp_path, source=str(tmp_path / "nowhere"))


def test_another_dataset_is_given_up_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {name: picture(0, 64, 64, "JPEG") for name in celeba_files(600)}
    put_folder(tmp_path / "celeba", files)
    with pytest.raises(DataError, match="the rest was not looked at"):
        celeba(tmp_path)
    assert stores(tmp_path) == []


def test_an_unsafe_archive_is_refused(tmp_path: Path) -> None:
    put_tar(tmp_path / "celeba", celeba_files(3) | {"img_align_celeba/../../../evil.jpg": b"x"})
    with pytest.raises(DataError, match="leads out"):
        celeba(tmp_path)
    assert stores(tmp_path) == []


# --- interruption, several processes, memory ---

PREPARE = "import sys; from pathlib import Path; from ibgan_plugin.adapters.celeba import prepare; "


@PUTS
def test_an_interrupted_preparation_goes_on(tmp_path: Path, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    files = celeba_files(300)
    put(tmp_path / "whole" / "celeba", files)
    put(tmp_path / "broken" / "celeba", files)
    expected = celeba(tmp_path / "whole").images(np.arange(300))

    applied = 0
    alone = threading.Lock()
    apply = preparation.Recipe.apply

    def counting(self: Any, *arguments: Any) -> Any:
        nonlocal applied
        with alone:
            applied += 1
            last = applied == 150
        if last:
            raise KeyboardInterrupt
        return apply(self, *arguments)

    monkeypatch.setattr(preparation.Recipe, "apply", counting)
    with pytest.raises(KeyboardInterrupt):
        celeba(tmp_path / "broken")
    before, applied = applied, 1000  # never 150 again
    data = celeba(tmp_path / "broken")
    assert before < 300
    assert applied - 1000 == 300 - 128  # two blocks of 64 were complete
    np.testing.assert_array_equal(data.images(np.arange(300)), expected)
    assert all(not name.startswith(".") for name in stores(tmp_path / "broken"))


def test_a_killed_preparation_goes_on_from_its_last_note(tmp_path: Path) -> None:
    put_folder(tmp_path / "celeba", celeba_files(1200))
    program = "from ibgan_plugin.adapters import preparation; preparation.SAVE_EVERY = 64; " + PREPARE
    program += "prepare(Path(sys.argv[1]))"
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stderr=subprocess.PIPE)
    note = tmp_path / "prepared" / "celeba" / ".64-148-rgb.partial" / "progress.json"
    deadline = time.monotonic() + 60
    while not note.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = json.loads(note.read_text())["done"]
    assert 0 < done < 1200
    finished = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    assert f"after {done:,} images" in finished.stderr
    put_zip(tmp_path / "other" / "celeba", celeba_files(1200))
    np.testing.assert_array_equal(
        celeba(tmp_path).images(np.arange(1200)), celeba(tmp_path / "other").images(np.arange(1200))
    )


def test_a_partial_of_another_source_is_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_folder(tmp_path / "celeba", celeba_files(200))

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(preparation.bisect, "bisect_left", lambda names, name: interrupted() if "150" in name else 0)
        with pytest.raises(KeyboardInterrupt):
            celeba(tmp_path)
    put_folder(tmp_path / "celeba", {"img_align_celeba/000001.jpg": picture(77, 178, 218, "JPEG")})
    put_zip(
        tmp_path / "other" / "celeba",
        celeba_files(200) | {"img_align_celeba/000001.jpg": picture(77, 178, 218, "JPEG")},
    )
    np.testing.assert_array_equal(
        celeba(tmp_path).images(np.arange(200)), celeba(tmp_path / "other").images(np.arange(200))
    )


def test_processes_that_start_at_once_share_one_preparation(tmp_path: Path) -> None:
    put_zip(tmp_path / "celeba", celeba_files(200))
    program = PREPARE + "print(prepare(Path(sys.argv[1])))"
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    printed = {process.communicate(timeout=120)[0].strip() for process in running}
    assert all(process.returncode == 0 for process in running)
    assert printed == {str(tmp_path / "prepared" / "celeba" / "64-148-rgb")}
    assert stores(tmp_path) == [f"celeba/64-148-rgb/{name}" for name in ("files.txt", "images.npy", "record.json")]


@pytest.mark.parametrize("put", [put_folder, put_tar], ids=["folder", "tar"])
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path, put: Put) -> None:
    program = f"{PREPARE}prepare(Path(sys.argv[1])); print({PEAK})"
    peaks = []
    for faces in (200, 1600):  # 17 MB of prepared images more
        put(tmp_path / str(faces) / "celeba", celeba_files(faces))
        command = [sys.executable, "-c", program, str(tmp_path / str(faces))]
        environment = os.environ | {"MALLOC_ARENA_MAX": "1"}
        finished = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=120)
        peaks.append(int(finished.stdout))
    assert peaks[1] - peaks[0] < 8_000  # KB
