"""The metric as a whole: against pytorch-fid with its network, and, with small features, all that goes round them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ibgan_plugin.evaluation import fid as module
from ibgan_plugin.evaluation.fid import CHUNK, as_pixels, describe_real, fid, real_draw
from ibgan_plugin.evaluation.plugin import zoo_metrics
from zoo import settings
from zoo.errors import DataError, MetricError, SettingError, ZooError
from zoo.randomness import derived_seed
from zoo.registry import resolve

pytestmark = pytest.mark.usefixtures("no_network")


class Pictures:
    """Images held in memory: `pixels` is uint8 (n, H, W, C)."""

    factor_names = factor_sizes = None

    def __init__(self, pixels: np.ndarray, name: str = "pictures") -> None:
        self.pixels, self.name, self.read = pixels, name, 0

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def image_shape(self) -> tuple[int, ...]:
        return self.pixels.shape[1:]

    def images(self, indices):
        self.read += len(indices)
        return self.pixels[indices]


class Painter:
    """A model without parameters: the seed decides the images, which are coarse squares of random colours."""

    def __init__(self, channels: int = 3, side: int = 16) -> None:
        self.channels, self.side, self.calls = channels, side, []

    def generate(self, num: int, seed: int = 0) -> torch.Tensor:
        self.calls.append((num, seed))
        generator = torch.Generator().manual_seed(seed)
        coarse = torch.rand((num, self.channels, 4, 4), generator=generator)
        return torch.nn.functional.interpolate(coarse, size=self.side, mode="nearest")


class SmallFeatures:
    """Stands in for the Inception network: six fixed projections of the pixels."""

    dims = 6

    def __init__(self, weights, device="cpu", precision="fp32", batch_size=None) -> None:
        self.batch_size = batch_size or 16

    def __call__(self, images: np.ndarray) -> np.ndarray:
        assert images.dtype == np.uint8
        colour = np.broadcast_to(images, (*images.shape[:3], 3)).reshape(len(images), -1).astype(np.float64)
        return (colour @ np.random.default_rng(7).normal(size=(colour.shape[1], self.dims)) / 255).astype(np.float32)


@pytest.fixture
def small(monkeypatch, tmp_path: Path):
    """Return `fid` with small features, its data root and its weights file in `tmp_path`."""
    monkeypatch.setattr(module, "InceptionFeatures", SmallFeatures)
    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "data"))
    torch.save({"weight": torch.zeros(1)}, tmp_path / "weights.pth")

    def call(model, data, seed=0, **given):
        given = {"inception_weights": tmp_path / "weights.pth", "allow_unverified_weights": True} | given
        result = fid(model, data, seed, **given)
        json.dumps(result, allow_nan=False)
        return result

    return call


@pytest.fixture
def pictures() -> Pictures:
    return Pictures(np.random.default_rng(0).integers(0, 256, (700, 16, 16, 3), dtype=np.uint8))


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


def test_it_is_pytorch_fids_on_the_same_images(random_inception_weights, tmp_path, monkeypatch) -> None:
    """Gray generated and colour real images; its network, loader and reader of PNG files on the other side."""
    from pytorch_fid.fid_score import get_activations
    from pytorch_fid.inception import InceptionV3

    hub = tmp_path / "torch" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    (hub / "pt_inception-2015-12-05-6726825d.pth").symlink_to(random_inception_weights)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    model = Painter(channels=1, side=64)
    data = Pictures(generated_pixels(6, 8, Painter(channels=3, side=64)))

    files = [tmp_path / f"{i:02}.png" for i in range(12)]
    for file, pixels in zip(files, [*generated_pixels(6, 5, model)[..., 0], *data.pixels], strict=True):
        Image.fromarray(pixels).save(file)
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

    scores = [small(model, pictures, num_images=50)["score"] for model in (Painter(1), Tripled(1))]
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


def test_the_real_side_is_kept_and_found_again(small, pictures, tmp_path) -> None:
    first = small(Painter(), pictures, num_images=400)
    assert first["real_side"] == "computed"
    assert pictures.read >= 400
    pictures.read = 0
    again = small(Painter(), pictures, num_images=400)
    assert again["real_side"] == "cached"
    assert pictures.read <= CHUNK  # the images that tell whether it is the same data
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


def test_published_weights_and_counts_have_no_caveats() -> None:
    assert module._caveats(50_000, 50_000, True, "fp32") == []
    assert module._caveats(50_000, None, True, "fp32") == []
    assert len(module._caveats(50_000, 2047, True, "fp32")) == 1


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
        as_pixels(images, 4, "Model")


def test_images_are_rounded_as_saving_rounds_them(tmp_path) -> None:
    from torchvision.utils import save_image

    levels = torch.cat([torch.linspace(0, 1, 5000), torch.arange(256) / 255, (torch.arange(255) + 0.5) / 255])
    levels = levels[: 3 * 42 * 42].reshape(1, 3, 42, 42)
    save_image(levels, tmp_path / "saved.png")
    saved = np.asarray(Image.open(tmp_path / "saved.png"))
    np.testing.assert_array_equal(as_pixels(levels, 1, "Model")[0], saved)


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


def test_one_real_image_is_too_few(small) -> None:
    with pytest.raises(MetricError, match="two real images at least"):
        small(Painter(), Pictures(np.zeros((1, 8, 8, 3), np.uint8)))


def test_no_weights_file_is_an_error_before_any_work(small, pictures) -> None:
    model = Painter()
    with pytest.raises(ZooError, match="there is no Inception weights file"):
        small(model, pictures, inception_weights=Path("/nowhere/weights.pth"))
    assert model.calls == []


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
