"""chairs3d, celeba and image_folder: what is prepared, and from where."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import zoo.cli
from ibgan_plugin.adapters import celeba as celeba_module
from ibgan_plugin.adapters import chairs3d as chairs_module
from ibgan_plugin.adapters import image_folder as folder_module
from ibgan_plugin.adapters.celeba import celeba
from ibgan_plugin.adapters.chairs3d import chairs3d
from ibgan_plugin.adapters.image_folder import image_folder
from ibgan_plugin.evaluation.fid import describe_real
from tests.adapters.photographs_published import (
    PARTS,
    PUTS,
    Put,
    celeba_files,
    chair_files,
    picture,
    put_folder,
    put_tar,
    put_zip,
    written,
)
from zoo.interfaces import Dataset


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
