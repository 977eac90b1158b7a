"""The networks of Tables 4, 5 and 6 and of the authors' code, against numbers worked out by hand."""

import pytest
import torch
from torch import nn

from ibgan_plugin import networks
from ibgan_plugin.gaussians import sample_gaussian
from ibgan_plugin.model import GAN, IBGAN, InfoGAN
from zoo.errors import UsageError


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


# Worked out from the tables, layer by layer; BN is twice its channels, a layer before it has no bias.
# G, ngf 16, D 10, one channel:       10*256+512, 256*4096+8192, twice 9*64*64+128, 16*64*32+64, 16*32*16+32, 16*16+1
#                                     3,072 + 1,056,768 + 73,984 + 32,832 + 8,224 + 257
# the same, three channels:           the last layer is 3*256+3 = 771
# G of CelebA, ngf 64, D 15:          15*1024+2048, 1024*16384+32768, twice 9*256*256+512, 16*256*128+256,
#                                     16*128*64+128, 16*64*3+3
#                                     17,408 + 16,809,984 + 1,180,672 + 524,544 + 131,200 + 3,075
G_SPRITES, G_COLOR, G_CELEBA = 1_175_137, 1_175_651, 18_666_883
# front, ndf 16:                      16*16*C+16, 16*16*32+64, 16*32*64+128 = (272 or 784) + 8,256 + 32,896
# front of CelebA, ndf 64, C 3:       16*3*64+64, 16*64*128+256, 16*128*256+512 = 3,136 + 131,328 + 524,800
FRONT_SPRITES, FRONT_COLOR, FRONT_CELEBA = 41_424, 41_936, 659_264
# head, ndf 16:                       twice 9*64*64+128, 8*8*64*256+512, and 256*d+d, where d is 1 (D) or D_z (Q)
#                                     73,984 + 1,049,088 + (257, 4,112 for 16, or 2,570 for 10)
HEAD_D, HEAD_Q16, HEAD_Q10 = 1_123_329, 1_127_184, 1_125_642
# head of CelebA, ndf 64:             twice 9*256*256+512, 8*8*256*1024+2048, 1024*d+d; 1,025 for D, 65,600 for D_z 64
HEAD_D_CELEBA, HEAD_Q_CELEBA = 17_960_961, 18_025_536
# the authors' heads, ndf 16:         9*64*128+256, 8*8*128*256+512, and for Q 256*256+512; then 256*d+d
#                                     73,984 + 2,097,664 + 257,   and 73,984 + 2,097,664 + 66,048 + 4,112
HEAD_D_AUTHORS, HEAD_Q_AUTHORS = 2_171_905, 2_241_808
# e, D_z 16, D_r 10. Table 4: 16*64+128, 64*64+128, 64*32+64, 32*20+20; Table 5: 16*32+64, 32*32+64, 660;
# authors: 16*32+32, 32*32+32, 660. CelebA, D_z 64, D_r 15: 64*64+128, 64*64+128, 64*32+64, 32*30+30
E_TABLE4, E_TABLE5, E_AUTHORS, E_CELEBA = 8_148, 2_324, 2_260, 11_550


@pytest.mark.parametrize(
    ("model", "channels", "settings", "expected"),
    [
        (IBGAN, 1, {"variant": "table4"}, (G_SPRITES, FRONT_SPRITES, HEAD_D, HEAD_Q16, E_TABLE4)),
        (
            IBGAN,
            3,
            {"variant": "table5"},
            (G_COLOR, 0, FRONT_COLOR + HEAD_D, FRONT_COLOR + HEAD_Q16, E_TABLE5),
        ),
        (
            IBGAN,
            1,
            {"variant": "authors"},
            (G_SPRITES, 0, FRONT_SPRITES + HEAD_D_AUTHORS, FRONT_SPRITES + HEAD_Q_AUTHORS, E_AUTHORS),
        ),
        (
            IBGAN,
            3,
            {"z_dim": 64, "r_dim": 15, "ngf": 64, "ndf": 64},
            (G_CELEBA, FRONT_CELEBA, HEAD_D_CELEBA, HEAD_Q_CELEBA, E_CELEBA),
        ),
        (InfoGAN, 1, {}, (G_SPRITES, FRONT_SPRITES, HEAD_D, HEAD_Q10, 0)),
        (GAN, 3, {}, (G_COLOR, FRONT_COLOR, HEAD_D, HEAD_Q10, 0)),
    ],
    ids=["Table 4", "Table 5", "authors", "Table 4, CelebA", "Table 6, InfoGAN", "Table 6, GAN"],
)
def test_parameters_of_each_network_are_those_of_the_table(model, channels, settings, expected):
    with torch.device("meta"):
        built = model((64, 64, channels), **settings)
    encoder = count(built.encoder) if hasattr(built, "encoder") else 0
    assert (
        count(built.generator),
        count(built.front),
        count(built.discriminator),
        count(built.reconstructor),
        encoder,
    ) == expected
    assert count(built) == sum(expected)


def test_the_authors_reconstructor_of_one_dimension_is_still_theirs() -> None:
    """Q has a 1x1 layer more than D, also where both have one output."""
    model = IBGAN((64, 64, 1), variant="authors", z_dim=1, ngf=4, ndf=4)
    weights = [sum(p.dim() > 1 for p in head.parameters()) for head in (model.discriminator, model.reconstructor)]
    assert weights[1] == weights[0] + 1


@pytest.mark.parametrize(("variant", "shared"), [("table4", True), ("table5", False), ("authors", False)])
def test_the_front_is_shared_where_the_table_shares_it_and_a_setting_says_otherwise(variant, shared):
    def has_shared_front(**settings):
        return count(IBGAN((64, 64, 1), ngf=4, ndf=4, variant=variant, **settings).front) > 0

    assert has_shared_front() == shared
    assert has_shared_front(share_front=True)
    assert not has_shared_front(share_front=False)


def test_nothing_is_shared_in_table_5():
    model = IBGAN((64, 64, 3), ngf=4, ndf=4, variant="table5")
    of_d = {id(p) for p in model.discriminator.parameters()}
    assert of_d.isdisjoint(id(p) for p in model.reconstructor.parameters())


@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_ranges(channels):
    torch.manual_seed(0)
    model = IBGAN((64, 64, channels), ngf=4, ndf=4, z_dim=6, r_dim=5)
    images = model.generator(100 * torch.randn(3, 5))
    assert images.shape == (3, channels, 64, 64)
    assert images.min() >= -1
    assert images.max() <= 1
    features = model.front(images)
    assert features.shape == (3, 16, 8, 8)
    assert model.discriminator(features).shape == (3, 1)
    assert model.reconstructor(features).shape == (3, 6)
    mu, logvar = model.encoder(torch.randn(3, 6))
    assert mu.shape == logvar.shape == (3, 5)


def test_a_valid_convolution_over_the_whole_map_is_the_matrix_product_that_stands_for_it():
    head = networks.head(4, 1, "table4", reconstructs=False)
    at = next(index for index, part in enumerate(head) if isinstance(part, networks.Flatten))
    product = head[at : at + 2]
    convolution = nn.Conv2d(16, 64, 8, bias=False)
    with torch.no_grad():
        convolution.weight.copy_(product[1].weight.view(64, 16, 8, 8))
        features = torch.randn(2, 16, 8, 8).contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(product(features), convolution(features).flatten(1), rtol=1e-4, atol=1e-5)


def weights(module):
    return [part for part in module.modules() if isinstance(part, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]


def check_biases_and_batch_norms(module):
    for part in module.modules():
        if getattr(part, "bias", None) is not None:
            assert not part.bias.any()
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            assert (part.weight == 1).all()


def test_normal_initialisation():
    torch.manual_seed(0)
    model = IBGAN((64, 64, 3), init="normal")
    for part in weights(model):
        n = part.weight.numel()
        # Four standard errors of a mean and of a standard deviation.
        assert abs(part.weight.mean().item()) < 4 * 0.02 / n**0.5
        assert abs(part.weight.std().item() - 0.02) < 4 * 0.02 / (2 * n) ** 0.5
    check_biases_and_batch_norms(model)


def test_orthogonal_initialisation():
    torch.manual_seed(0)
    model = IBGAN((64, 64, 3), init="orthogonal", ngf=4, ndf=4)
    for part in weights(model):
        matrix = part.weight.detach().flatten(1)
        short = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        torch.testing.assert_close(short @ short.T, torch.eye(len(short)), rtol=0, atol=1e-5)
    check_biases_and_batch_norms(model)


def test_a_layer_that_batch_norm_follows_has_no_bias_and_every_other_one_has():
    for variant in ("table4", "table5", "authors"):
        parts = [
            part
            for part in IBGAN((64, 64, 1), ngf=4, ndf=4, variant=variant).modules()
            if not list(part.children()) and not isinstance(part, nn.Flatten | nn.Unflatten | nn.Identity)
        ]
        for part, following in zip(parts, [*parts[1:], None], strict=True):
            if isinstance(part, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                normalised = isinstance(following, nn.BatchNorm1d | nn.BatchNorm2d)
                assert (part.bias is None) == normalised


def test_sampling_has_the_mean_and_the_deviation_asked_for_and_gradients_in_both():
    mu = torch.tensor([[1.0, -2.0]]).repeat(20_000, 1).requires_grad_()
    logvar = torch.tensor([[0.0, 2.0]]).repeat(20_000, 1).requires_grad_()
    drawn = sample_gaussian(mu, logvar, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(0), torch.tensor([1.0, -2.0]), rtol=0, atol=0.08)
    torch.testing.assert_close(drawn.std(0), torch.tensor([1.0, 2.718]), rtol=0.03, atol=0)
    by_mu, by_logvar = torch.autograd.grad(drawn.sum(), [mu, logvar])
    assert (by_mu == 1).all()
    torch.testing.assert_close(by_logvar, 0.5 * (drawn - mu))


@pytest.mark.parametrize("shape", [(32, 64, 1), (128, 128, 3)])
def test_other_sizes_are_refused(shape):
    with pytest.raises(UsageError, match=f"64x64 images, the dataset has {shape[0]}x{shape[1]}"):
        IBGAN(shape)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_flatten_is_torchs_and_gives_the_gradient_back_in_the_layout_of_the_maps(layout: torch.memory_format) -> None:
    maps = torch.randn(5, 3, 4, 4).to(memory_format=layout).requires_grad_()
    weights = torch.randn(48)
    activated = nn.functional.leaky_relu(maps, 0.2)
    seen: list[torch.Tensor] = []
    flat = networks.Flatten()(activated)
    activated.register_hook(seen.append)
    (gradient,) = torch.autograd.grad((flat * weights).sum(), maps)
    (expected,) = torch.autograd.grad((nn.Flatten()(nn.functional.leaky_relu(maps, 0.2)) * weights).sum(), maps)
    assert torch.equal(flat, nn.Flatten()(activated))
    assert torch.equal(gradient, expected)
    assert seen[0].is_contiguous(memory_format=layout)
