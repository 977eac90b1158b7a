"""The doubling convolution against torch's transposed convolution, which it stands for."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ibgan_plugin.convolutions import Double, DoublingConv, doubled


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("channels_in", "channels_out"), [(6, 4), (5, 1), (1, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_torchs_transposed_convolution(channels_in: int, channels_out: int, bias: bool) -> None:
    maps, weight = random(3, channels_in, 5, 7), random(channels_in, channels_out, 4, 4, seed=1)
    biases = random(channels_out, seed=2) if bias else None
    expected = F.conv_transpose2d(maps, weight, biases, stride=2, padding=1)
    torch.testing.assert_close(doubled(maps, weight, biases), expected, rtol=0, atol=1e-12)


def test_training_in_bfloat16_takes_this_way_and_gives_torchs_results_and_gradients() -> None:
    ours = DoublingConv(16, 3)
    plain = nn.ConvTranspose2d(16, 3, 4, stride=2, padding=1)
    plain.load_state_dict(ours.state_dict())
    maps = random(8, 16, 6, 6).float().requires_grad_()
    weights = random(8, 3, 12, 12, seed=1).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = ours(maps)
    assert "Double" in result.grad_fn.name()  # type: ignore[union-attr]
    assert result.dtype == torch.bfloat16
    expected = plain(maps)
    torch.testing.assert_close(result.float(), expected, rtol=0.02, atol=0.02)
    got = torch.autograd.grad((result.float() * weights).sum(), [maps, *ours.parameters()])
    wanted = torch.autograd.grad((expected * weights).sum(), [maps, *plain.parameters()])
    for gradient, right in zip(got, wanted, strict=True):
        assert gradient.dtype == torch.float32
        assert (gradient - right).norm() < 0.01 * right.norm()


def test_gradients_of_first_and_second_order_are_those_of_finite_differences() -> None:
    module = DoublingConv(3, 2).double()
    maps = random(2, 3, 3, 4).requires_grad_()
    inputs = (maps, *module.parameters())
    assert torch.autograd.gradcheck(Double.apply, inputs)
    assert torch.autograd.gradgradcheck(Double.apply, inputs)


@pytest.mark.parametrize("gradients", [True, False])
def test_float32_and_generating_are_torchs_own_bit_for_bit(gradients: bool) -> None:
    ours, plain = DoublingConv(4, 2), nn.ConvTranspose2d(4, 2, 4, stride=2, padding=1)
    plain.load_state_dict(ours.state_dict())
    maps = random(2, 4, 5, 5).float()
    with torch.set_grad_enabled(gradients):
        assert torch.equal(ours(maps), plain(maps))
        assert torch.equal(ours(maps, output_size=[11, 11]), plain(maps, output_size=[11, 11]))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ours(maps), plain(maps))
