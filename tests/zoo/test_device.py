"""Devices, precision and layout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from zoo.device import Backend, without_tf32
from zoo.errors import UsageError

CPU = Backend.choose("cpu", "fp32")


def test_what_is_asked_for_is_chosen() -> None:
    assert (CPU.device, CPU.precision, str(CPU)) == (torch.device("cpu"), "fp32", "cpu, fp32")
    assert Backend.choose("cpu", "bf16").precision == "bf16"


@pytest.mark.parametrize(("cuda", "mps", "chosen"), [(1, 1, "cuda"), (1, 0, "cuda"), (0, 1, "mps"), (0, 0, "cpu")])
def test_auto_is_the_fastest_device_there_is(monkeypatch: pytest.MonkeyPatch, cuda: int, mps: int, chosen: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: bool(mps))
    assert Backend.choose(precision="fp32").device == torch.device(chosen)


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"avx512_bf16": False, "amx_bf16": False, "avx512": True}, "fp32"),
        ({}, "fp32"),
    ],
)
def test_auto_on_a_processor_is_bf16_where_it_multiplies_that(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], precision: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert Backend.choose("cpu").precision == precision


@pytest.mark.parametrize(("multiplies", "precision"), [(True, "bf16"), (False, "fp32")])
def test_auto_on_a_processor_with_an_older_torch(
    monkeypatch: pytest.MonkeyPatch, multiplies: bool, precision: str
) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: multiplies, raising=False)
    assert Backend.choose("cpu").precision == precision


@pytest.mark.parametrize(
    ("capability", "precision"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((8, 9), "bf16"), ((9, 0), "bf16")]
)
def test_auto_on_cuda_is_bf16_from_ampere_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert Backend.choose() == Backend(torch.device("cuda"), precision)


def test_auto_on_an_apple_gpu_is_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert Backend.choose() == Backend(torch.device("mps"), "fp32")


@pytest.mark.parametrize("device", ["tpu", "", "cuda:99", "cpu:cpu", "meta", "xpu"])
def test_a_device_that_is_not_there(device: str) -> None:
    with pytest.raises(UsageError, match="device"):
        Backend.choose(device)


def test_a_precision_that_is_none() -> None:
    with pytest.raises(UsageError, match="unknown precision 'fp16'; there are: auto, bf16, fp32"):
        Backend.choose("cpu", "fp16")


def test_images_keep_their_values() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 2), dtype=np.uint8)
    images = CPU.images(pixels)
    assert (images.dtype, images.shape) == (torch.float32, (3, 2, 5, 7))
    np.testing.assert_array_equal(images.numpy(), pixels.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_images_may_be_views_and_read_only() -> None:
    pixels = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    pixels.flags.writeable = False
    expected = CPU.images(pixels.copy())
    assert torch.equal(CPU.images(pixels), expected)
    assert torch.equal(CPU.images(pixels[::-1]), expected.flip(0))


def test_a_module_is_placed_channels_last() -> None:
    module = CPU.place(torch.nn.Conv2d(4, 8, 3))
    assert module.weight.is_contiguous(memory_format=torch.channels_last)


def test_autocast_is_on_in_bf16_only() -> None:
    weights, inputs = torch.ones(4, 4), torch.ones(2, 4)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with Backend.choose("cpu", precision).autocast():
            assert (inputs @ weights).dtype == dtype


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="this torch has the older switch only")
@pytest.mark.parametrize("chosen", ["ieee", "tf32"])
def test_without_tf32_whatever_the_program_chose(chosen: str) -> None:
    cudnn = torch.backends.cudnn
    before = cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision
    try:
        cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = chosen, "tf32"
        with without_tf32():
            assert (cudnn.conv.fp32_precision, cudnn.allow_tf32) == ("ieee", False)
            with cudnn.flags(enabled=False):  # what others do inside
                pass
        assert (cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision) == (chosen, "tf32")
    finally:
        cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = before


@pytest.mark.parametrize("chosen", [True, False])
def test_without_tf32_after_the_older_switch(chosen: bool) -> None:
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.deterministic
    try:
        cudnn.allow_tf32, cudnn.deterministic = chosen, True
        with without_tf32():
            assert (cudnn.allow_tf32, cudnn.deterministic) == (False, True)
        assert cudnn.allow_tf32 is chosen
    finally:
        cudnn.allow_tf32, cudnn.deterministic = before


def test_exact_is_float32_of_cuda_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is float32 anyway, and what is bfloat16, is left as it is. Nothing here needs a GPU."""
    entered = []

    @contextmanager
    def recorded() -> Iterator[None]:
        entered.append(True)
        yield

    monkeypatch.setattr("zoo.device.without_tf32", recorded)
    for device, precision, expected in (("cuda", "fp32", 1), ("cuda", "bf16", 0), ("cpu", "fp32", 0)):
        entered.clear()
        with Backend(torch.device(device), precision).exact():
            assert len(entered) == expected
