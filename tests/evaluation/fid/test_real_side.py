"""The real side: which images are drawn, what is kept of them and when it is used again, and given statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ibgan_plugin.evaluation.fid import CHUNK, describe_real, real_draw
from tests.evaluation.fid.stand_ins import Painter, Pictures, SmallFeatures
from zoo.errors import DataError

pytestmark = pytest.mark.usefixtures("no_network")


@pytest.mark.parametrize("size", [100, 5000, 737_280, 377_487_360])
def test_the_draw_has_no_repetitions_and_covers_the_data(size: int) -> None:
    drawn, said = real_draw(size, 50, 0)
    assert drawn.dtype == np.int64
    assert len(np.unique(drawn)) == 50
    assert (np.diff(drawn) > 0).all()
    assert drawn[0] >= 0
    assert drawn[-1] < size
    assert drawn.mean() == pytest.approx(size / 2, rel=0.3)
    assert said == f"50 of {size} images, at random without replacement, real_seed 0"
    assert not np.array_equal(drawn, real_draw(size, 50, 1)[0])


def test_a_dataset_that_is_too_small_is_taken_whole() -> None:
    assert real_draw(30, 50, 0)[1] == "all 30 images"
    np.testing.assert_array_equal(real_draw(30, 30, 4)[0], np.arange(30))


# The cache.


def test_the_real_side_is_kept_and_found_again(small, pictures, tmp_path) -> None:
    first = small(Painter(), pictures, num_images=400)
    assert first["real_side"] == "computed"
    assert pictures.read >= 400
    pictures.read = 0
    again = small(Painter(), pictures, num_images=400)
    assert again["real_side"] == "cached"
    assert pictures.read <= CHUNK + 1  # the images that tell whether it is the same data, and of which shape
    assert again["score"] == first["score"]
    assert {key: value for key, value in again.items() if key != "real_side"} == {
        key: value for key, value in first.items() if key != "real_side"
    }
    assert small(Painter(), pictures, 9, num_images=400)["real_side"] == "cached"  # another seed, the same real images
    (file,) = (tmp_path / "data" / "fid").iterdir()
    with np.load(file, allow_pickle=False) as kept:
        assert set(kept.files) >= {"mu", "sigma", "n", "dataset", "preparation", "resize", "weights_sha256"}
        assert int(kept["n"]) == 400


@pytest.mark.parametrize(
    "change",
    [
        {"num_images": 399},
        {"real_seed": 1},
        {"precision": "bf16"},
        {"data": "one pixel of each image"},
        {"data": "another name"},
        {"data": "another preparation"},
        {"weights": 1},
    ],
    ids=str,
)
def test_a_cache_of_anything_else_is_not_used(small, pictures, tmp_path, change) -> None:
    small(Painter(), pictures, num_images=400)
    other = Pictures(pictures.pixels.copy())
    given = {"num_images": 400}
    match change:
        case {"data": "one pixel of each image"}:
            other.pixels[:, 3, 4, 1] ^= 1
        case {"data": "another name"}:
            other.name = "other"
        case {"data": "another preparation"}:
            other.preparation = "centre crop 148"
        case {"weights": _}:
            torch.save({"weight": torch.ones(1)}, tmp_path / "weights.pth")
        case _:
            given |= change
    assert small(Painter(), other, **given)["real_side"] == "computed"
    assert small(Painter(), other, **given)["real_side"] == "cached"


def test_images_that_differ_anywhere_in_the_draw_are_told_apart_and_others_are_not_looked_at(pictures) -> None:
    """What is hashed is spread over the draw: of 400 images, some in every 40."""
    drawn = np.arange(300, 700)
    before = describe_real(pictures, drawn, "the last 400")["pixels_sha256"]
    for start in range(340, 660, 40):
        other = Pictures(pictures.pixels.copy())
        other.pixels[start : start + 40, 8, 8, 1] ^= 1  # the pixel in the middle
        assert describe_real(other, drawn, "the last 400")["pixels_sha256"] != before, start
    other = Pictures(pictures.pixels.copy())
    other.pixels[:300] ^= 1
    assert describe_real(other, drawn, "the last 400")["pixels_sha256"] == before


def test_a_cache_whose_record_differs_is_not_used_whatever_its_name(small, pictures, tmp_path) -> None:
    small(Painter(), pictures, num_images=400)
    (first,) = (tmp_path / "data" / "fid").iterdir()
    small(Painter(), pictures, num_images=300)
    (second,) = set((tmp_path / "data" / "fid").iterdir()) - {first}
    second.replace(first)
    assert small(Painter(), pictures, num_images=400)["real_side"] == "computed"


def test_the_cache_stays_in_its_folder_whatever_the_datasets_name(small, pictures, tmp_path) -> None:
    pictures.name = "../../up/ünd\nmore"
    small(Painter(), pictures, num_images=400)
    (file,) = (tmp_path / "data" / "fid").iterdir()
    assert file.name.startswith("______up_ünd_more-")
    assert small(Painter(), pictures, num_images=400)["real_side"] == "cached"


def test_a_damaged_cache_is_told_and_made_anew(small, pictures, tmp_path, capsys) -> None:
    before = small(Painter(), pictures, num_images=400)
    (file,) = (tmp_path / "data" / "fid").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    after = small(Painter(), pictures, num_images=400)
    assert after["real_side"] == "computed"
    assert after["score"] == before["score"]
    assert "computing the real side anew" in capsys.readouterr().err
    assert file.read_bytes() == whole


def test_without_the_cache_nothing_is_written(small, pictures, tmp_path) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert small(Painter(), pictures, num_images=400, cache=False)["real_side"] == "computed"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_data_root_that_cannot_be_written_costs_a_warning_only(small, pictures, tmp_path, capsys) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "fid").write_text("a file where the folder should be")
    assert small(Painter(), pictures, num_images=400)["score"] > 0
    assert "statistics are not kept: cannot write" in capsys.readouterr().err


# Given statistics.


def test_given_statistics_take_the_place_of_the_data(small, pictures, tmp_path) -> None:
    computed = small(Painter(), pictures, num_images=700, cache=False)
    features = SmallFeatures(None)(pictures.pixels).astype(np.float64)
    np.savez(tmp_path / "theirs.npz", mu=features.mean(axis=0), sigma=np.cov(features, rowvar=False))
    pictures.read = 0
    given = small(Painter(), pictures, num_images=700, real_statistics=tmp_path / "theirs.npz")
    assert given["score"] == pytest.approx(computed["score"], rel=1e-9)
    assert given["num_real_images"] is None
    assert given["real_side"] == str(tmp_path / "theirs.npz")
    assert pictures.read == 0


def test_given_statistics_of_other_weights_are_refused(small, pictures, tmp_path) -> None:
    small(Painter(), pictures, num_images=400)
    (file,) = (tmp_path / "data" / "fid").iterdir()
    assert small(Painter(), pictures, num_images=400, real_statistics=file)["num_real_images"] == 400
    with pytest.raises(DataError, match="computed with precision 'fp32', and this run uses bf16"):
        small(Painter(), pictures, num_images=400, real_statistics=file, precision="bf16")
    torch.save({"weight": torch.ones(1)}, tmp_path / "weights.pth")
    with pytest.raises(DataError, match="computed with weights_sha256"):
        small(Painter(), pictures, num_images=400, real_statistics=file)
