"""The score as a whole: against pytorch-fid with its network, by hand with small features, of any model and dataset."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ibgan_plugin.evaluation.fid import CHUNK, fid, real_draw
from ibgan_plugin.evaluation.images import as_pixels
from ibgan_plugin.evaluation.plugin import zoo_metrics
from tests.evaluation.fid.stand_ins import Painter, Pictures, SmallFeatures
from zoo import settings
from zoo.errors import MetricError
from zoo.randomness import derived_seed
from zoo.registry import resolve

pytestmark = pytest.mark.usefixtures("no_network")


def generated_pixels(num: int, seed: int, model: Painter) -> np.ndarray:
    """What the metric must have seen: chunk by chunk, rounded as torchvision's `save_image` rounds."""
    chunks = [
        model.generate(min(CHUNK, num - start), derived_seed(seed, "fid: generated images", start // CHUNK))
        for start in range(0, num, CHUNK)
    ]
    return torch.cat(chunks).mul(255).add(0.5).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """The Fréchet distance of two sets of feature vectors by the SVD of their deviations, at any rank."""
    x1, x2 = ((x - x.mean(axis=0)) / np.sqrt(len(x) - 1) for x in (first, second))
    overlap = np.linalg.svd(x1 @ x2.T, compute_uv=False).sum()
    shift = first.mean(axis=0) - second.mean(axis=0)
    return float(shift @ shift + (x1**2).sum() + (x2**2).sum() - 2 * overlap)


@pytest.mark.parametrize("channels", [1, 3], ids=["gray", "colour"])
def test_it_is_pytorch_fids_on_the_same_images(random_inception_weights, tmp_path, monkeypatch, channels) -> None:
    """Its network, loader and reader of PNG files on the other side."""
    from pytorch_fid.fid_score import get_activations
    from pytorch_fid.inception import InceptionV3

    hub = tmp_path / "torch" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    (hub / "pt_inception-2015-12-05-6726825d.pth").symlink_to(random_inception_weights)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    model = Painter(channels, side=64)
    data = Pictures(generated_pixels(6, 8, Painter(channels, side=64)))

    files = [tmp_path / f"{i:02}.png" for i in range(12)]
    for file, pixels in zip(files, [*generated_pixels(6, 5, model), *data.pixels], strict=True):
        Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(file)
    activations = get_activations(files, InceptionV3([3]), batch_size=12, num_workers=0)
    theirs = distance(activations[:6], activations[6:])

    ours = fid(model, data, 5, num_images=6, allow_unverified_weights=True, data_root=tmp_path, cache=False)
    assert ours["score"] == pytest.approx(theirs, rel=1e-5)
    assert not ours["weights"]["verified"]


def test_the_whole_of_the_small_pipeline_by_hand(small, pictures) -> None:
    model = Painter()
    result = small(model, pictures, 3, num_images=600)
    features = SmallFeatures(None)
    chosen, said = real_draw(700, 600, 0)
    expected = distance(features(generated_pixels(600, 3, Painter())), features(pictures.pixels[chosen]))
    assert result["score"] == pytest.approx(expected, rel=1e-6)
    assert result["protocol"]["real_images"] == said
    assert [num for num, _ in model.calls] == [CHUNK, CHUNK, 600 - 2 * CHUNK]
    assert len({seed for _, seed in model.calls}) == 3


def test_a_model_that_gives_the_data_is_at_zero(small, pictures) -> None:
    class Copier:
        start = 0

        def generate(self, num, seed=0):
            images = pictures.pixels[self.start : self.start + num]
            self.start += num
            return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255

    result = small(Copier(), pictures, num_images=700)
    spread = np.var(SmallFeatures(None)(pictures.pixels), axis=0).sum()
    assert result["score"] == pytest.approx(0, abs=1e-9 * float(spread))
    assert result["protocol"]["real_images"] == "all 700 images"


def test_the_seed_decides_and_the_batch_size_does_not(small, pictures) -> None:
    results = [
        small(Painter(), pictures, seed, num_images=300, batch_size=batch)
        for seed, batch in ((0, None), (0, 7), (1, 7))
    ]
    scores = [result["score"] for result in results]
    assert scores[0] == scores[1] != scores[2]
    assert results[0]["protocol"] == results[1]["protocol"]  # so that they stand in one curve
    assert [result["batch_size"] for result in results] == [16, 7, 7]


def test_gray_images_count_as_three_equal_channels(small, pictures) -> None:
    class Tripled(Painter):
        def generate(self, num, seed=0):
            return super().generate(num, seed).repeat(1, 3, 1, 1)

    gray = pictures.pixels[..., :1]
    scores = [
        small(model, Pictures(pixels), num_images=50)["score"]
        for model, pixels in ((Painter(1), gray), (Tripled(1), np.repeat(gray, 3, axis=3)))
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-12)


def test_images_and_a_length_are_all_that_a_dataset_needs(small, pictures, tmp_path) -> None:
    class Bare:
        def __init__(self):
            self.images = pictures.images

    class Sized(Bare):
        def __len__(self):
            return len(pictures)

    expected = small(Painter(), pictures, num_images=400, cache=False)
    found = small(Painter(), Sized(), num_images=400)
    assert found["score"] == expected["score"]
    assert found["protocol"]["dataset"] == "Sized"
    assert small(Painter(), Sized(), num_images=400)["real_side"] == "cached"
    model = Painter()
    with pytest.raises(MetricError, match="fid needs to know how many images dataset 'Bare' has; give it a method __l"):
        small(model, Bare(), num_images=400)
    assert model.calls == []
    (file,) = (tmp_path / "data" / "fid").iterdir()
    assert small(model, Bare(), num_images=400, real_statistics=file)["score"] == expected["score"]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_model_may_return_arrays(small, pictures, dtype) -> None:
    class Arrays(Painter):
        def generate(self, num, seed=0):
            return np.flip(super().generate(num, seed).numpy().astype(dtype), axis=3)

    class Tensors(Painter):
        def generate(self, num, seed=0):
            return torch.from_numpy(Arrays().generate(num, seed).copy())

    arrays, tensors = (small(model, pictures, num_images=50)["score"] for model in (Arrays(), Tensors()))
    assert arrays == tensors


def test_a_module_generates_in_evaluation_mode_and_is_left_as_it_was(small, pictures) -> None:
    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.dropout, self.norm = torch.nn.Dropout(), torch.nn.BatchNorm2d(3)

        def generate(self, num, seed=0):
            return self.norm(self.dropout(Painter().generate(num, seed))).clamp(0, 1)

    model = Module()
    scores = [small(model, pictures, num_images=50)["score"] for _ in range(2)]
    assert scores[0] == scores[1]
    assert model.training and model.dropout.training and model.norm.training
    assert model.norm.num_batches_tracked == 0


def test_images_are_rounded_as_saving_rounds_them(tmp_path) -> None:
    from torchvision.utils import save_image

    levels = torch.cat([torch.linspace(0, 1, 5000), torch.arange(256) / 255, (torch.arange(255) + 0.5) / 255])
    levels = levels[: 3 * 42 * 42].reshape(1, 3, 42, 42)
    save_image(levels, tmp_path / "saved.png")
    saved = np.asarray(Image.open(tmp_path / "saved.png"))
    np.testing.assert_array_equal(as_pixels(levels, "Model.generate returned", 1)[0], saved)


def test_it_is_registered_with_the_papers_table_2() -> None:
    spec = next(spec for spec in zoo_metrics() if spec.name == "fid")
    assert resolve(spec.target) is fid
    assert not spec.needs_factors
    assert len(spec.published) == 14
    rows = {
        data: min(score for (_, at), score in spec.published.items() if at == data) for data in ("celeba", "chairs3d")
    }
    assert rows == {"celeba": spec.published["ibgan", "celeba"], "chairs3d": spec.published["ibgan", "chairs3d"]}
    assert rows == {"celeba": 7.4, "chairs3d": 25.5}
    for setting in settings.settings_of(fid):
        assert f"        {setting}:" in (fid.__doc__ or "")
