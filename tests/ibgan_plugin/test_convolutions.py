"""The convolutions against those of torch which they stand for."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ibgan_plugin.convolutions import Double, DoublingConv, PatchConv, doubled


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("channels_in", "channels_out"), [(6, 4), (5, 1), (1, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_torchs_transposed_convolution(channels_in: int, channels_out: int, bias: bool) -> None:
    maps, weight = random(3, channels_in, 5, 7), random(channels_in, channels_out, 4, 4, seed=1)
    biases = random(channels_out, seed=2) if bias else None
    expected = F.conv_transpose2d(maps, weight, biases, stride=2, padding=1)
    torch.testing.assert_close(doubled(maps, weight, biases), expected, rtol=0, atol=1e-12)


def pair(kind: str) -> tuple[nn.Module, nn.Module]:
    """One of ours and torch's, with the same weights."""
    ours, plain = {
        "doubling": lambda: (DoublingConv(16, 3), nn.ConvTranspose2d(16, 3, 4, stride=2, padding=1)),
        "patches": lambda: (PatchConv(16, 3), nn.Conv2d(16, 3, 2, stride=2)),
    }[kind]()
    plain.load_state_dict(ours.state_dict())
    return ours, plain


@pytest.mark.parametrize(("kind", "way"), [("doubling", "Double"), ("patches", "Permute")])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_training_in_bfloat16_takes_this_way_and_gives_torchs_results_and_gradients(
    kind: str, way: str, layout: torch.memory_format
) -> None:
    ours, plain = pair(kind)
    maps = random(8, 16, 6, 6).float().contiguous(memory_format=layout).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = ours(maps)
    assert way in result.grad_fn.name()
    assert result.dtype == torch.bfloat16
    expected = plain(maps)
    torch.testing.assert_close(result.float(), expected, rtol=0.02, atol=0.02)
    weights = random(*expected.shape, seed=1).float()
    got = torch.autograd.grad((result.float() * weights).sum(), [maps, *ours.parameters()])
    wanted = torch.autograd.grad((expected * weights).sum(), [maps, *plain.parameters()])
    for gradient, right in zip(got, wanted, strict=True):
        assert gradient.dtype == torch.float32
        assert (gradient - right).norm() < 0.01 * right.norm()


@pytest.mark.parametrize("kind", ["doubling", "patches"])
def test_a_penalty_on_a_gradient_reaches_the_kernel_in_bfloat16_too(kind: str) -> None:
    def of_kernel(module: nn.Module) -> torch.Tensor:
        maps = random(4, 16, 6, 6).float().requires_grad_()
        (gradient,) = torch.autograd.grad(module(maps).float().square().sum(), maps, create_graph=True)
        (found,) = torch.autograd.grad(gradient.square().sum(), module.get_parameter("weight"))
        return found

    ours, plain = pair(kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = of_kernel(ours)
    wanted = of_kernel(plain)
    assert (got - wanted).norm() < 0.02 * wanted.norm()


def test_gradients_of_first_and_second_order_are_those_of_finite_differences() -> None:
    module = DoublingConv(3, 2).double()
    maps = random(2, 3, 3, 4).requires_grad_()
    inputs = (maps, *module.parameters())
    assert torch.autograd.gradcheck(Double.apply, inputs)
    assert torch.autograd.gradgradcheck(Double.apply, inputs)


@pytest.mark.parametrize("kind", ["doubling", "patches"])
@pytest.mark.parametrize("gradients", [True, False])
def test_float32_and_generating_are_torchs_own_bit_for_bit(kind: str, gradients: bool) -> None:
    ours, plain = pair(kind)
    maps = random(2, 16, 6, 6).float()
    with torch.set_grad_enabled(gradients):
        assert torch.equal(ours(maps), plain(maps))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ours(maps), plain(maps))


def test_sizes_that_these_ways_are_not_for_are_torchs_own() -> None:
    (ours, plain), (patches, torchs) = pair("doubling"), pair("patches")
    maps = random(2, 16, 5, 7).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ours(maps, output_size=[11, 15]), plain(maps, output_size=[11, 15]))
        assert torch.equal(patches(maps), torchs(maps))
