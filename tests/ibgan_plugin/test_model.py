"""What every model offers: generate, encode, decode, and the bounds of those that have them."""

import math

import numpy as np
import pytest
import torch

from ibgan_plugin.gaussians import kl_per_dimension
from ibgan_plugin.losses import mi_lower_bound
from ibgan_plugin.model import IBGAN, InfoGAN
from ibgan_plugin.networks import to_model_range
from ibgan_plugin.vae.model import VAE
from tests.systems import VAES
from zoo.errors import UsageError
from zoo.interfaces import Model
from zoo.randomness import torch_stream
from zoo.registry import default_registry
from zoo.specs import ModelSpec


@pytest.fixture(params=["gan", "infogan", "ibgan", "vae", "vae with IB-GAN's networks"])
def system(build, squares, request):
    """A system after two steps, so that its BatchNorms have statistics, left in training mode."""
    name, _, networks = request.param.partition(" with ")
    made = build(name, channels=3, model={"networks": "ibgan", "ngf": 4} if networks else {})
    made.train(squares(8, channels=3), 2)
    return made


def test_the_four_vaes_are_one_model():
    targets = {default_registry().spec(ModelSpec, name).target for name in VAES}
    assert targets == {"ibgan_plugin.vae.model:VAE"}


def test_it_is_a_model(system):
    assert isinstance(system.model, Model)


def test_generate_returns_images_that_depend_on_the_seed_alone(system):
    torch.manual_seed(1)
    images = system.model.generate(5, seed=3)
    assert images.shape == (5, 3, 64, 64)
    assert images.dtype == torch.float32
    assert images.device.type == "cpu"
    assert images.is_contiguous()
    assert 0 <= images.min() <= images.max() <= 1
    torch.manual_seed(2)
    assert torch.equal(images, system.model.generate(5, seed=3))
    assert not torch.equal(images, system.model.generate(5, seed=4))


def test_encode_returns_codes_and_decode_takes_them(system, squares):
    images = squares(6, channels=3, seed=2)
    codes = system.model.encode(images)
    assert codes.shape == (6, 10)
    assert codes.dtype == torch.float32
    assert torch.equal(codes, system.model.encode(images)), "nothing is sampled"
    decoded = system.model.decode(codes)
    assert decoded.shape == (6, 3, 64, 64)
    assert decoded.dtype == torch.float32
    assert decoded.is_contiguous()
    assert 0 <= decoded.min() <= decoded.max() <= 1


def test_an_image_is_coded_alike_in_any_batch_and_any_memory_layout(system, squares):
    images = squares(7, channels=3, seed=2)
    codes, decoded = system.model.encode(images), system.model.decode(system.model.encode(images))
    for i in range(7):
        torch.testing.assert_close(system.model.encode(images[i : i + 1])[0], codes[i], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(system.model.decode(codes[i : i + 1])[0], decoded[i], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(system.model.encode(images.contiguous()), codes, rtol=1e-4, atol=1e-5)


def test_many_images_are_generated_in_parts_that_do_not_show(system):
    every = system.model.generate(300, seed=0)
    assert every.shape == (300, 3, 64, 64)
    model, stream = system.model, torch_stream(0, "generate")
    model.eval()
    with torch.no_grad():
        if isinstance(model, VAE):
            codes = torch.randn((300, 10), generator=stream)
        else:
            codes = model.bottleneck(torch.randn((300, model.z_dim), generator=stream), stream)[0]
    torch.testing.assert_close(model.decode(codes), every, rtol=1e-4, atol=1e-5)


def test_no_method_leaves_a_trace(system, squares):
    """The module's mode, its weights and statistics, the gradients and the caller's random state are as before."""
    model = system.model
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random_state = torch.random.get_rng_state()
    for training in (True, False):
        model.train(training)
        codes = model.encode(squares(3, channels=3))
        for made in (codes, model.decode(codes), model.generate(3)):
            assert not made.requires_grad
        assert all(part.training == training for part in model.modules())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(random_state, torch.random.get_rng_state())


def test_a_part_that_is_frozen_stays_frozen(system, squares):
    system.model.train()
    part = next(system.model.children())
    part.eval()
    system.model.decode(system.model.encode(squares(2, channels=3)))
    system.model.generate(2)
    assert system.model.training
    assert not any(module.training for module in part.modules())


def test_the_mode_comes_back_after_an_error_too(system):
    system.model.train()
    with pytest.raises(UsageError, match=r"codes have shape \(2, 9\), expected \(n, 10\)"):
        system.model.decode(torch.zeros(2, 9))
    assert all(part.training for part in system.model.modules())


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (np.zeros((2, 3, 64, 64), np.float32), "images are of type ndarray, expected a torch.Tensor"),
        (torch.zeros(2, 64, 64, 3), r"images have shape \(2, 64, 64, 3\), expected \(n, 3, 64, 64\)"),
        (torch.full((2, 3, 64, 64), 255.0), r"images are in \[255, 255\], expected them in \[0, 1\]"),
        (torch.full((2, 3, 64, 64), -1.0), r"images are in \[-1, -1\], expected them in \[0, 1\]"),
        (torch.zeros(2, 3, 64, 64, dtype=torch.uint8), r"images are torch.uint8, expected float in \[0, 1\]"),
    ],
)
def test_what_are_no_images_is_told(system, images, told):
    with pytest.raises(UsageError, match=told):
        system.model.encode(images)


def test_fewer_than_no_images_cannot_be_generated(system):
    assert len(system.model.generate(0)) == 0
    with pytest.raises(UsageError, match="-1 images cannot be generated; ask for 0 or more"):
        system.model.generate(-1)


def test_images_of_another_float_type_are_taken(system, squares):
    images = squares(2, channels=3)
    assert torch.equal(system.model.encode(images.double()), system.model.encode(images))


def test_the_representation_takes_two_steps_in_ibgan_and_one_in_the_others(build, squares):
    images = squares(4)
    gan = build("infogan").model.eval()
    x = to_model_range(images)
    with torch.no_grad():
        assert torch.equal(gan.encode(images), gan.reconstructor(gan.front(x)))
        ibgan = build("ibgan").model.eval()
        mu, _ = ibgan.encoder(ibgan.reconstructor(ibgan.front(x)))
        assert torch.equal(ibgan.encode(images), mu)
        vae = build("vae").model.eval()
        assert torch.equal(vae.encode(images), vae.encoder(images)[0])


def test_images_in_0_1_are_the_networks_range_rescaled(build):
    gan = build("gan").model.eval()
    codes = torch.randn(3, 10)
    with torch.no_grad():
        torch.testing.assert_close(gan.decode(codes) * 2 - 1, gan.generator(codes), rtol=0, atol=1e-6)
        vae = build("vae").model.eval()
        torch.testing.assert_close(vae.decode(codes), 1 / (1 + torch.exp(-vae.decoder(codes))), rtol=0, atol=1e-6)


def test_mi_bounds_are_the_terms_of_the_objective_averaged_over_draws(build, squares):
    for name, has_encoder in (("gan", False), ("infogan", False), ("ibgan", True)):
        system = build(name)
        system.train(squares(8), 2)
        model = system.model
        bounds = model.mi_bounds(num=600, seed=5)
        assert str(bounds) == str(model.mi_bounds(num=600, seed=5))
        stream, lower, kl = torch_stream(5, "mi_bounds"), [], []
        model.eval()
        with torch.no_grad():
            for n in (250, 250, 100):
                fakes = model.fakes(n, stream)
                z_hat = model.reconstructor(model.front(fakes.images))
                lower.append(n * mi_lower_bound(fakes.z, z_hat).item())
                if has_encoder:
                    kl.append(n * kl_per_dimension(fakes.mu, fakes.logvar))
        assert bounds["mi_lower"] == pytest.approx(sum(lower) / 600, rel=1e-5, abs=1e-7)
        if has_encoder:
            torch.testing.assert_close(bounds["kl"].float(), sum(kl) / 600, rtol=1e-4, atol=1e-6)
            assert bounds["mi_upper"] == pytest.approx(bounds["kl"].sum().item())
        else:
            assert bounds["mi_upper"] is None
            assert bounds["kl"] is None


def test_mi_bounds_meet_their_closed_forms():
    """A Q that says 0 has bound 0; an encoder that ignores z and returns N(m, s^2) has the KL of that Gaussian."""
    model = IBGAN((64, 64, 1), ngf=4, ndf=4)
    with torch.no_grad():
        model.reconstructor[-1].weight.zero_()
        model.encoder.layers[-1].weight.zero_()
        model.encoder.layers[-1].bias.copy_(torch.tensor([2.0] * 10 + [-2 * math.log(2)] * 10))
    bounds = model.mi_bounds(num=10)
    assert bounds["mi_lower"] == pytest.approx(0, abs=1e-4)
    torch.testing.assert_close(bounds["kl"], torch.full((10,), 1.625 + math.log(2), dtype=torch.float64))


def test_the_vaes_have_no_such_bounds(build, vae_name):
    assert not hasattr(build(vae_name).model, "mi_bounds")


def test_players_own_every_parameter_once(build, system_name):
    system = build(system_name)
    model, loss = system.model, system.loss
    owned = [id(p) for parameters in system.trainer.parameters.values() for p in parameters.values()]
    everything = [id(p) for part in (model, loss) if isinstance(part, torch.nn.Module) for p in part.parameters()]
    assert len(set(owned)) == len(owned)
    assert set(owned) == set(everything)


def test_who_plays_on_whose_side(build):
    assert list(build("gan").trainer.parameters) == ["discriminator", "generator", "reconstructor"]
    assert list(build("infogan").trainer.parameters) == ["discriminator", "generator"]
    assert list(build("factor_vae").trainer.parameters) == ["vae", "discriminator"]
    ibgan = build("ibgan")
    of_generator = {id(p) for p in ibgan.trainer.parameters["generator"].values()}
    for part in (ibgan.model.generator, ibgan.model.encoder, ibgan.model.reconstructor):
        assert {id(p) for p in part.parameters()} <= of_generator
    assert of_generator.isdisjoint(id(p) for p in ibgan.model.front.parameters())


def test_the_encoder_may_be_narrower_than_the_noise():
    model = IBGAN((64, 64, 1), z_dim=64, r_dim=15, ngf=4, ndf=4)
    assert model.code_dim == 15
    assert model.encode(torch.rand(2, 1, 64, 64)).shape == (2, 15)
    assert InfoGAN((64, 64, 1), z_dim=12, ngf=4, ndf=4).code_dim == 12
