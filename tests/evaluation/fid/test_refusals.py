"""What is refused, and what is scored but said not to be comparable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ibgan_plugin.evaluation import fid as module
from ibgan_plugin.evaluation import inception
from ibgan_plugin.evaluation.fid import fid
from ibgan_plugin.evaluation.images import as_pixels
from tests.evaluation.fid.stand_ins import Painter, Pictures, SmallFeatures
from zoo import settings
from zoo.errors import MetricError, SettingError, ZooError

pytestmark = pytest.mark.usefixtures("no_network")


def test_what_cannot_be_compared_is_said(small, pictures, capsys, monkeypatch) -> None:
    result = small(Painter(), pictures, num_images=100, precision="bf16")
    assert not result["comparable_with_published"]
    bias, weights, precision = result["caveats"]
    assert "100 images are fewer than the 2048 features" in bias
    assert "not the published ones" in weights
    assert "bf16" in precision
    errors = capsys.readouterr().err
    assert errors.count("warning: fid: ") == 3
    many = Pictures(pictures.pixels[np.arange(2100) % 700])
    (bias, *_) = small(Painter(), many, num_images=2048)["caveats"]
    assert "where published scores use 50000" in bias


def test_a_part_of_a_dataset_is_not_the_published_one(small, pictures, tmp_path, capsys) -> None:
    pictures.caveat = "5 of 202,599 images"
    told = "dataset 'pictures' is not the published one: 5 of 202,599 images"
    result = small(Painter(), pictures, num_images=400)
    assert told in result["caveats"]
    assert f"warning: fid: {told}\n" in capsys.readouterr().err
    (file,) = (tmp_path / "data" / "fid").iterdir()  # in place of the dataset, and taken at its word
    assert told not in small(Painter(), pictures, num_images=400, real_statistics=file)["caveats"]


def test_published_weights_and_counts_have_no_caveats(small, pictures, monkeypatch) -> None:
    monkeypatch.setattr(module, "PUBLISHED_IMAGES", 400)
    monkeypatch.setattr(module, "FEWEST_FOR_FULL_RANK", 6)
    monkeypatch.setattr(inception.Weights, "verified", True)
    assert small(Painter(), pictures, num_images=400)["comparable_with_published"]
    pictures.caveat = "5 of 202,599 images"
    assert not small(Painter(), pictures, num_images=400)["comparable_with_published"]


def test_published_counts_have_no_caveats() -> None:
    assert module._caveats(50_000, 50_000, True, "fp32") == []
    assert module._caveats(50_000, None, True, "fp32") == []
    assert len(module._caveats(50_000, 2047, True, "fp32")) == 1
    assert module._caveats(50_000, 202_599, True, "fp32") == [
        "202599 images, where published scores use 50000; the score is biased less"
    ]


# Refusals.


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_images_that_are_not_finite_are_a_reason_not_a_score(small, pictures, bad) -> None:
    class Diverged(Painter):
        def generate(self, num, seed=0):
            images = super().generate(num, seed)
            images[3, 0, 0, 0] = bad
            return images

    with pytest.raises(MetricError, match=r"Diverged\.generate returned NaN or infinity in 1 of 50 images"):
        small(Diverged(), pictures, num_images=50)


def test_features_that_are_not_finite_are_a_reason_not_a_score(small, pictures, monkeypatch) -> None:
    class Overflowing(SmallFeatures):
        def __call__(self, images):
            found = super().__call__(images)
            found[1, 2] = np.inf
            return found

    monkeypatch.setattr(module, "InceptionFeatures", Overflowing)
    with pytest.raises(MetricError, match="features of 1 of 50 generated images are NaN or infinite"):
        small(Painter(), pictures, num_images=50)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.full((4, 3, 8, 8), -1.0), "values from -1 to -1"),
        (torch.full((4, 3, 8, 8), 200.0), "expected images in"),
        (torch.zeros((4, 2, 8, 8)), "expected .4, 1 or 3, H, W"),
        (torch.zeros((3, 3, 8, 8)), "for 4 images"),
        (torch.zeros((4, 8, 8)), "for 4 images"),
        (torch.zeros((4, 3, 8, 8), dtype=torch.uint8), "torch.uint8; expected a float32 tensor"),
        (np.zeros((4, 3, 8, 8), np.uint8), "uint8; expected a float32 tensor or array"),
        (np.full((4, 3, 8, 8), np.nan), "NaN or infinity in 4 of 4 images"),
        ([0.5], "returned list; expected a float32 tensor"),
    ],
)
def test_what_is_no_image_is_refused(images, said) -> None:
    with pytest.raises(MetricError, match=said):
        as_pixels(images, "Model.generate returned", 4)


def test_a_model_that_cannot_generate_is_told_so(small, pictures) -> None:
    class Broken:
        def generate(self, num, seed=0):
            raise RuntimeError("no weights\nand more lines")

    with pytest.raises(MetricError, match="object has no generate method"):
        small(object(), pictures)
    with pytest.raises(MetricError) as caught:
        small(Broken(), pictures, num_images=50)
    assert str(caught.value) == "Broken.generate failed on 50 images: no weights"


@pytest.mark.parametrize("shape", [(50, 16, 16, 4), (50, 16, 16)])
def test_datasets_of_other_images_are_refused_before_any_work(small, shape) -> None:
    model = Painter()
    with pytest.raises(MetricError, match="fid needs uint8"):
        small(model, Pictures(np.zeros(shape, np.uint8)), num_images=50)
    assert model.calls == []


@pytest.mark.parametrize(
    ("model", "shape", "said"),
    [
        (Painter(channels=1), (16, 16, 3), "16x16x1, and those of dataset 'pictures' are 16x16x3"),
        (Painter(channels=3), (16, 16, 1), "16x16x3, and those of dataset 'pictures' are 16x16x1"),
        (Painter(side=32), (16, 16, 3), "32x32x3, and those of dataset 'pictures' are 16x16x3"),
    ],
    ids=["gray model", "gray data", "another size"],
)
def test_images_of_another_shape_than_the_datasets_are_refused(small, model, shape, said, tmp_path) -> None:
    data = Pictures(np.random.default_rng(0).integers(0, 256, (700, *shape), dtype=np.uint8))
    small(Painter(channels=shape[2]), data, num_images=400)
    for settings_of_real_side in ({}, {"cache": False}):
        with pytest.raises(MetricError) as caught:
            small(model, data, num_images=400, **settings_of_real_side)
        assert str(caught.value).startswith(f"Painter.generate returned images of {said}; ")
    assert len(model.calls) == 2  # one chunk each, before the long way through the real images
    (file,) = (tmp_path / "data" / "fid").iterdir()  # statistics do not say
    assert small(model, data, num_images=400, real_statistics=file)["score"] > 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda pixels: pixels.tolist(), "a list for 50 images; fid needs uint8 .50, H, W, 1 or 3.$"),
        (lambda pixels: torch.from_numpy(pixels).float(), r"float32 \(50, 16, 16, 3\) for 50 images; fid needs uint8"),
    ],
)
def test_real_images_of_another_kind_are_told(small, pictures, changed, said) -> None:
    class Other(Pictures):
        def images(self, indices):
            return changed(super().images(indices))

    with pytest.raises(MetricError, match=rf"^images\(\) of dataset 'pictures' returned {said}"):
        small(Painter(), Other(pictures.pixels), num_images=50)


def test_real_images_may_be_tensors(small, pictures) -> None:
    class Tensors(Pictures):
        def images(self, indices):
            return torch.from_numpy(super().images(indices))

    scores = [
        small(Painter(), kind(pictures.pixels), num_images=50, cache=False)["score"] for kind in (Pictures, Tensors)
    ]
    assert scores[0] == scores[1]


def test_one_real_image_is_too_few(small) -> None:
    with pytest.raises(MetricError, match="two real images at least"):
        small(Painter(), Pictures(np.zeros((1, 8, 8, 3), np.uint8)))


def test_no_weights_file_is_an_error_before_any_work(small, pictures) -> None:
    model = Painter()
    with pytest.raises(ZooError, match="there is no Inception weights file"):
        small(model, pictures, inception_weights=Path("/nowhere/weights.pth"))
    assert model.calls == []


def test_settings_are_checked_from_the_signature() -> None:
    words = {
        "num_images": "2048",
        "precision": "bf16",
        "inception_weights": "w.pth",
        "allow_unverified_weights": "true",
    }
    assert settings.validated(fid, words, "fid") == {
        "num_images": 2048,
        "precision": "bf16",
        "inception_weights": Path("w.pth"),
        "allow_unverified_weights": True,
    }
    for wrong in ({"num_images": "1"}, {"precision": "fp16"}, {"batch_size": "0"}, {"real_seed": "-1"}):
        with pytest.raises(SettingError):
            settings.validated(fid, wrong, "fid")
