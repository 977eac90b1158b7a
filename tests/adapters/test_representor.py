"""The TorchScript file gives what `model.encode` gives, as the challenge's kit calls it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import zoo
from ibgan_plugin.adapters import as_ground_truth_data
from ibgan_plugin.adapters.representor import write_representor
from zoo.building import build_model
from zoo.config import resolve_config
from zoo.device import Backend
from zoo.errors import ZooError
from zoo.registry import default_registry

SMALL = {"ibgan": {"model.ngf": 4, "model.ndf": 4}, "gan": {"model.ngf": 4, "model.ndf": 4}, "factor_vae": {}}


def a_model(name: str, channels: int = 3, **settings: Any) -> Any:
    """A model whose codes vary with the image, as those of a trained one do."""
    config = resolve_config(default_registry(), name, "color_dsprites", typed=SMALL[name] | settings)
    config = config.model_copy(update={"image_shape": (64, 64, channels)})
    model = build_model(default_registry(), config, Backend.choose("cpu", "fp32"))
    stream = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=stream)
        elif isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=stream)
    return model.eval()


def read(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return torch.jit.load(str(path))


def represent(scripted: Any, images: NDArray[Any]) -> NDArray[np.float32]:
    """The kit's representation function: NHWC in, moved to NCHW, made float32."""
    with torch.no_grad():
        codes: NDArray[np.float32] = scripted(torch.from_numpy(np.moveaxis(images, 3, 1)).float()).numpy()
    return codes


@pytest.mark.parametrize(
    ("name", "settings", "dimensions"),
    [
        ("ibgan", {"model.variant": "table4"}, 10),
        ("ibgan", {"model.variant": "table5"}, 10),
        ("ibgan", {"model.variant": "authors", "model.r_dim": 7}, 7),
        ("gan", {}, 10),
        ("factor_vae", {}, 10),
    ],
)
def test_codes_are_those_of_encode_for_batches_of_any_size(
    tmp_path: Path, drawn: Path, name: str, settings: dict[str, Any], dimensions: int
) -> None:
    model = a_model(name, **settings)
    assert write_representor(model, (64, 64, 3), tmp_path / "model.pt") == dimensions
    scripted = read(tmp_path / "model.pt")
    data = as_ground_truth_data(zoo.load_dataset("color_dsprites_dlib", data_root=drawn))
    random_state = np.random.RandomState(0)
    for count in (1, 5, 64, 131):  # the traced batch is of 2
        images = data.sample_observations(count, random_state)
        assert images.dtype == np.float64
        expected = model.encode(torch.from_numpy(np.moveaxis(images, 3, 1)).float())
        codes = represent(scripted, images)
        assert codes.shape == (count, dimensions)
        np.testing.assert_allclose(codes, expected, rtol=0, atol=1e-5)
        direct = scripted(torch.from_numpy(np.moveaxis(images, 3, 1)))  # float64 into the file itself
        assert (direct.dtype, direct.requires_grad) == (torch.float32, False)
        np.testing.assert_allclose(direct, expected, rtol=0, atol=1e-5)
    assert expected.std(0).max() > 0.01  # so the comparison had something to compare


def test_the_file_is_tied_to_no_device_and_the_model_is_left_as_it_was(tmp_path: Path) -> None:
    model = a_model("ibgan").train()
    write_representor(model, (64, 64, 3), tmp_path / "model.pt")
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    graph = str(read(tmp_path / "model.pt").inlined_graph)
    assert "aten::_convolution" in graph or "aten::conv2d" in graph
    assert "Device" not in graph  # a constant of that type would name the device that the trace was made on


def test_it_is_written_without_a_warning_and_alone(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    write_representor(a_model("factor_vae"), (64, 64, 3), tmp_path / "model.pt")
    assert not recwarn.list
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.pt"]


class Encoding(nn.Module):
    """A model whose `encode` is a function of the images."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def encode(self, images: Tensor) -> Any:
        return self.function(images)


def one_by_one(images: Tensor) -> Tensor:
    return torch.stack([image.mean((1, 2)) for image in images])


def raising(images: Tensor) -> Tensor:
    raise RuntimeError("two\nlines")


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda images: images.numpy().mean((2, 3)), "cannot be written as a TorchScript file"),
        (one_by_one, "ValueError: traced with two images it does not take 1"),
        (lambda images: images.mean((2, 3)) + torch.rand(3), "its codes would be off by"),
        (lambda images: images.mean((1, 2, 3)), "and (n, D)"),
        (lambda images: images.mean((2, 3)) * float("nan"), "its codes would be off by nan"),
        (raising, "RuntimeError: two lines"),
    ],
)
def test_an_encode_that_cannot_be_traced_is_refused(tmp_path: Path, function: Any, told: str) -> None:
    with pytest.raises(ZooError) as raised:
        write_representor(Encoding(function), (64, 64, 3), tmp_path / "model.pt")
    message = str(raised.value)
    assert message.startswith("Encoding.encode cannot be written as a TorchScript file: ")
    assert told in message
    assert "\n" not in message
    assert not list(tmp_path.iterdir())


@pytest.fixture(autouse=True)
def same_random_numbers() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
