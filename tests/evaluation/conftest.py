"""A small data set with known factors, and encoders whose codes are known functions of the factors."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import zoo
from zoo.run import RunDirectory


class FactoredImages:
    """Every combination of the factors once; pixel (0, i) of an image holds the value of factor i, the rest is 7."""

    name = "factored"

    def __init__(self, sizes: tuple[int, ...] = (3, 4, 5, 6), channels: int = 1) -> None:
        self.factor_sizes: tuple[int, ...] | None = sizes
        self.factor_names: tuple[str, ...] | None = tuple("abcdefghij"[: len(sizes)])
        self.image_shape = (8, 8, channels)
        self.images_read = 0

    def __len__(self) -> int:
        return int(np.prod(self.factor_sizes))

    def images(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        factors = self.factors_of(indices)
        images = np.full((len(indices), *self.image_shape), 7, np.uint8)
        images[:, 0, : factors.shape[1], :] = factors[:, :, np.newaxis]
        self.images_read += len(indices)
        return images

    def index_of(self, factors: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.ravel_multi_index(tuple(np.asarray(factors).T), self.factor_sizes).astype(np.int64)

    def factors_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.stack(np.unravel_index(indices, self.factor_sizes), axis=1).astype(np.int64)


class NoisyFactoredImages(FactoredImages):
    """The same with random observations: pixel (1, 0) is uniform noise, and `observe` draws it."""

    name = "noisy"

    def observe(self, indices: NDArray[np.int64], random_state: np.random.RandomState) -> NDArray[np.float64]:
        images = self.images(indices) / 255
        images[:, 1, 0, :] = random_state.uniform(0, 1, (len(indices), 1))
        return images


class FactorEncoder:
    """Reads the factors off the image and codes them as `transform(float64 (n, F)) -> (n, D)`."""

    def __init__(self, transform=lambda factors: factors, num_factors: int = 4) -> None:
        self.transform, self.num_factors, self.encoded = transform, num_factors, 0

    def factors(self, images: torch.Tensor) -> NDArray[np.float64]:
        assert images.dtype == torch.float32
        return np.rint(images[:, 0, 0, : self.num_factors].numpy().astype(np.float64) * 255)

    def encode(self, images: torch.Tensor):
        self.encoded += len(images)
        return self.transform(self.factors(images))


class NoiseReadingEncoder(FactorEncoder):
    """Codes of the factors plus the image's noise, in float32 as networks give them."""

    def encode(self, images: torch.Tensor):
        noise = images[:, 0, 1, :1].numpy()
        return (self.transform(self.factors(images)) + 2 * noise).astype(np.float32)


def identity(factors):
    return factors


def rotated(factors):
    """The centred factors under a fixed rotation that mixes all of them."""
    rng = np.random.default_rng(5)
    rotation, _ = np.linalg.qr(rng.normal(size=(factors.shape[1], factors.shape[1])))
    return factors @ rotation


def with_dead_dimensions(factors):
    """One constant dimension before the factors and one after."""
    return np.hstack([np.full((len(factors), 1), 0.5), factors, np.zeros((len(factors), 1))])


def constant(factors):
    return np.full((len(factors), 3), 0.25)


def nan(factors):
    return np.where(factors == 1, np.nan, factors)


@pytest.fixture
def data() -> FactoredImages:
    return FactoredImages()


REPRESENTATIONS = {
    "identity": identity,
    "rotated": rotated,
    "dead dimensions": with_dead_dimensions,
    "constant": constant,
    "NaN": nan,
}


@pytest.fixture
def noisy_data() -> NoisyFactoredImages:
    return NoisyFactoredImages()


@pytest.fixture
def noise_reading_encoder() -> NoiseReadingEncoder:
    return NoiseReadingEncoder(rotated)


@pytest.fixture
def make_data() -> type[FactoredImages]:
    return FactoredImages


@pytest.fixture
def make_encoder() -> type[FactorEncoder]:
    """Build an encoder from a function of the float64 (n, F) factors."""
    return FactorEncoder


@pytest.fixture
def representation():
    """Build the encoder of a named representation."""
    return lambda name: FactorEncoder(REPRESENTATIONS[name])


@pytest.fixture(scope="session")
def random_inception_weights(tmp_path_factory) -> Path:
    """A weights file for pytorch-fid's Inception network: random, with statistics in every BatchNorm.

    Its patched blocks have the parameters of torchvision's, so torchvision's network makes the state dict.
    """
    import torchvision  # it takes a second

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, init_weights=False)
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.normal_(module.bias, 0, 0.1)
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    file = tmp_path_factory.mktemp("inception") / "random.pth"
    torch.save(network.state_dict(), file)
    return file


@pytest.fixture
def no_network(monkeypatch) -> None:
    """Fail on every attempt to reach another machine."""

    def refuse(*args, **_):
        raise AssertionError(f"network access: {args}")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


SMALL_RUN = {"batch_size": 8, "log_every": 1, "device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="session")
def ibgan_run(drawn: Path, tmp_path_factory) -> Path:
    """A small IB-GAN after 4 steps on dSprites, with scores at 2 and 4; not to be written to.

    Its last checkpoint has larger weights, so that codes and images differ as they would after long training.
    """
    out = tmp_path_factory.mktemp("runs") / "ibgan run"
    settings = {"model.ngf": 4, "model.ndf": 4}
    zoo.train(
        "ibgan", "dsprites", out=out, steps=4, seed=3, settings=settings, data_root=drawn, save_every=2, **SMALL_RUN
    )
    model = zoo.load("ibgan", out, device="cpu")
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.dim() > 1:
                weights.mul_(16 if name.startswith("generator") else 8)
    RunDirectory(out).save(4, model.state_dict(), {}, {})
    with (out / "evaluations.jsonl").open("w") as file:
        for step, factorvae, fid in ((2, 0.25, 90.0), (4, 0.5, 80.0), (4, 0.5, 95.0)):
            protocol = {"votes": 800 if step == 4 else 300, "seed": 0}
            metrics = {
                "factorvae": {"score": factorvae, "num_active_dims": 3, "protocol": protocol},
                "fid": {"score": fid, "protocol": {"num_images": 50_000}},
            }
            record = {"step": step, "dataset": "dsprites", "seed": 0, "metrics": metrics, "errors": {}}
            file.write(json.dumps(record) + "\n")
    return out


@pytest.fixture(scope="session")
def vae_run(drawn: Path, tmp_path_factory) -> Path:
    """A small VAE after 2 steps on dSprites, never evaluated; not to be written to."""
    out = tmp_path_factory.mktemp("runs") / "vae"
    settings = {"model.ngf": 4, "model.z_dim": 3}
    zoo.train("vae", "dsprites", out=out, steps=2, seed=0, settings=settings, data_root=drawn, **SMALL_RUN)
    return out


@pytest.fixture(scope="session")
def gan_run(tmp_path_factory) -> tuple[Path, Path]:
    """A small GAN after 2 steps on coloured photographs without factors, and the data root it needs."""
    root = tmp_path_factory.mktemp("photographs")
    (root / "image_folder").mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        coarse = Image.fromarray(rng.integers(256, size=(4, 4, 3), dtype=np.uint8))
        coarse.resize((64, 64)).save(root / "image_folder" / f"{i}.png")
    out = root / "gan"
    settings = {"model.ngf": 4, "model.ndf": 4, "model.z_dim": 40}
    zoo.train("gan", "image_folder", out=out, steps=2, seed=0, settings=settings, data_root=root, **SMALL_RUN)
    return out, root


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path], Path]:
    """Copy a run, to be written to."""
    return lambda run: Path(shutil.copytree(run, tmp_path / "copies" / run.name))
