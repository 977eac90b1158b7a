"""chairs3d, celeba and image_folder: what is told of sources that are missing, damaged, partial or others."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import zoo.cli
from ibgan_plugin.adapters import celeba as celeba_module
from ibgan_plugin.adapters import chairs3d as chairs_module
from ibgan_plugin.adapters import image_folder as folder_module
from ibgan_plugin.adapters.celeba import celeba
from ibgan_plugin.adapters.chairs3d import chairs3d
from ibgan_plugin.adapters.image_folder import image_folder
from tests.adapters.photographs_published import (
    PUTS,
    Put,
    celeba_files,
    chair_files,
    picture,
    put_folder,
    put_tar,
    put_zip,
    stores,
)
from zoo.errors import DataError


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
    assert "did you mean 'size'" in capsys.readouterr().err


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
