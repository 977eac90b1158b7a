"""The VAEs' networks against numbers worked out by hand and TensorFlow's rule of "same" padding."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ibgan_plugin import networks as ibgan
from ibgan_plugin.vae import networks
from ibgan_plugin.vae.model import VAE
from zoo.errors import UsageError


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


# Locatello et al.: convolutions 16*C*32+32, 16*32*32+32, 4*32*64+64, 4*64*64+64; FC 1024*256+256; two of 256*10+10.
# Together 544 or 1,568, 16,416, 8,256, 16,448, 262,400 and twice 2,570.
# and FC 10*256+256, 256*1024+1024; deconvolutions 16*64*64+64, 16*64*32+32, 16*32*32+32, 16*32*C+C.
# Together 2,816, 263,168, 65,600, 32,800, 16,416, and 513 or 1,539.
# IB-GAN's generator on CelebA (ngf 64, D 15) as in the test of Table 4; its mirror image:
#   16*3*64+128, 16*64*128+256, 16*128*256+512, twice 9*256*256+512, 16384*1024+2048, two of 1024*15+15
#   3,200 + 131,328 + 524,800 + 1,180,672 + 16,779,264 + 30,750
# and on 3D Chairs with one channel (ngf 32, D 10):
#   16*32+64, 16*32*64+128, 16*64*128+256, twice 9*128*128+256, 8192*512+1024, two of 512*10+10
#   576 + 32,896 + 131,328 + 295,424 + 4,195,328 + 10,260
#   10*512+1024, 512*8192+16384, twice 9*128*128+256, 16*128*64+128, 16*64*32+64, 16*32+1
#   6,144 + 4,210,688 + 295,424 + 131,200 + 32,832 + 513
@pytest.mark.parametrize(
    ("channels", "settings", "encoder", "decoder"),
    [
        (1, {}, 309_204, 381_313),
        (3, {}, 310_228, 382_339),
        (3, {"networks": "ibgan", "ngf": 64, "z_dim": 15}, 18_650_014, 18_666_883),
        (1, {"networks": "ibgan", "ngf": 32, "z_dim": 10}, 4_665_812, 4_676_801),
    ],
)
def test_parameters_of_each_network_are_those_of_the_table(channels, settings, encoder, decoder):
    with torch.device("meta"):
        model = VAE((64, 64, channels), **settings)
    assert (count(model.encoder), count(model.decoder)) == (encoder, decoder)


def test_factorvaes_discriminator():
    # 10*1000+1000, five of 1000*1000+1000, 1000*2+2.
    with torch.device("meta"):
        discriminator = networks.tc_discriminator(10)
    assert count(discriminator) == 11_000 + 5 * 1_001_000 + 2_002
    assert [type(part) for part in discriminator] == [nn.Linear, nn.LeakyReLU] * 6 + [nn.Linear]
    assert {part.negative_slope for part in discriminator if isinstance(part, nn.LeakyReLU)} == {0.2}


@pytest.mark.parametrize("kind", ["locatello", "ibgan"])
def test_shapes(kind):
    model = VAE((64, 64, 3), networks=kind, ngf=4, z_dim=7)
    mu, logvar = model.encoder(torch.rand(2, 3, 64, 64))
    assert mu.shape == logvar.shape == (2, 7)
    assert model.decoder(mu).shape == (2, 3, 64, 64)


def same_padding(size, kernel, stride):
    """TensorFlow's rule: as much as makes ceil(size / stride) outputs, the odd pixel at the end."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def test_convolutions_pad_as_tensorflow_does():
    size = 64
    for part in networks.encoder("locatello", 10, 0, 1).body:
        if isinstance(part, nn.Conv2d):
            before, after = same_padding(size, part.kernel_size[0], part.stride[0])
            x = torch.randn(1, part.in_channels, size, size)
            plain = F.conv2d(F.pad(x, (before, after, before, after)), part.weight, part.bias, part.stride)
            torch.testing.assert_close(part(x), plain, rtol=1e-4, atol=1e-5)
            size //= 2
            assert plain.shape[2:] == (size, size)
    assert size == 4


def test_transposed_convolutions_are_gradients_of_convolutions_padded_as_tensorflow_does():
    size = 4
    for part in networks.decoder("locatello", 10, 0, 1):
        if isinstance(part, nn.ConvTranspose2d):
            x = torch.randn(1, part.in_channels, size, size)
            before, after = same_padding(2 * size, 4, 2)
            wide = torch.zeros(1, part.out_channels, 2 * size, 2 * size, requires_grad=True)
            forward = F.conv2d(F.pad(wide, (before, after, before, after)), part.weight, stride=2)
            (plain,) = torch.autograd.grad(forward, wide, grad_outputs=x)
            torch.testing.assert_close(part(x), plain + part.bias.view(1, -1, 1, 1), rtol=1e-4, atol=1e-5)
            size *= 2
    assert size == 64


def representations(network, x):
    """What each rectified layer holds, as (channels, height, width) or (width,)."""
    shapes = []
    for part in network:
        x = part(x)
        if isinstance(part, nn.ReLU):
            shapes.append(tuple(x.shape[1:]))
    return shapes


def test_the_mirror_image_has_the_generators_representations_in_reverse():
    generator = ibgan.generator(10, 4, 3)
    mirrored = networks.encoder("ibgan", 10, 4, 3).body
    down, up = representations(mirrored, torch.rand(2, 3, 64, 64)), representations(generator, torch.randn(2, 10))
    flat = [size if len(size) == 1 else math.prod(size) for size in up]
    # A map is flattened before a linear layer in the one and after it in the other: the 8x8 map is there twice.
    assert [math.prod(size) for size in down] == [size if isinstance(size, int) else size[0] for size in flat][::-1]
    assert down == [(4, 32, 32), (8, 16, 16), (16, 8, 8), (16, 8, 8), (16, 8, 8), (64,)]

    def convolutions(network):
        return [p for p in network if isinstance(p, nn.Conv2d | nn.ConvTranspose2d)]

    for conv, deconv in zip(convolutions(mirrored), convolutions(generator)[::-1], strict=True):
        assert (conv.kernel_size, conv.stride, conv.padding) == (deconv.kernel_size, deconv.stride, deconv.padding)
        assert (conv.in_channels, conv.out_channels) == (deconv.out_channels, deconv.in_channels)


def test_the_decoder_is_ibgans_generator_but_for_its_tanh():
    generator, decoder = ibgan.generator(10, 4, 1), networks.decoder("ibgan", 10, 4, 1)
    decoder.load_state_dict(generator.state_dict())
    codes = torch.randn(5, 10)
    for network in (generator, decoder):
        network.eval()
    with torch.no_grad():
        logits = decoder(codes)
        torch.testing.assert_close(generator(codes), torch.tanh(logits))
        # The images of both in [0, 1] agree when the last layer's weights are doubled: (tanh a + 1) / 2 = sigmoid 2a.
        torch.testing.assert_close(torch.sigmoid(2 * logits), ibgan.to_user_range(generator(codes)))


def test_ibgans_networks_see_images_in_their_own_range():
    seen = []
    model = VAE((64, 64, 1), networks="ibgan", ngf=4)
    model.encoder.body[1].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    model.encode(torch.tensor([0.0, 0.25, 1.0, 0.5]).repeat(1024).view(1, 1, 64, 64))
    assert seen[0].unique().tolist() == [-1, -0.5, 0, 1]


def test_glorot_initialisation():
    torch.manual_seed(0)
    model = VAE((64, 64, 3))
    for part in model.modules():
        if isinstance(part, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            kernel = math.prod(part.weight.shape[2:])
            bound = (6 / (kernel * (part.weight.shape[0] + part.weight.shape[1]))) ** 0.5
            n = part.weight.numel()
            assert 0.99 * bound < part.weight.abs().max() <= bound
            assert part.weight.std().item() == pytest.approx(bound / 3**0.5, rel=4 / n**0.5)
            assert not part.bias.any()


def test_orthogonal_initialisation_of_ibgans_networks():
    torch.manual_seed(0)
    model = VAE((64, 64, 3), networks="ibgan", ngf=4, init="orthogonal")
    weight = model.encoder.mean.weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(10), rtol=0, atol=1e-5)


def test_other_sizes_are_refused():
    with pytest.raises(UsageError, match="64x64 images, the dataset has 32x64"):
        VAE((32, 64, 1))
