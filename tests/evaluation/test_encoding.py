import numpy as np
import pytest
import torch

from ibgan_plugin.evaluation.betavae import betavae
from ibgan_plugin.evaluation.encoding import EncodedImages, encode_images, encode_indices, images_tensor
from ibgan_plugin.evaluation.factorvae import factorvae
from ibgan_plugin.evaluation.mig import mig
from zoo.device import evaluation_mode
from zoo.errors import MetricError


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_become_channels_first_floats_that_can_be_viewed(channels):
    images = np.random.default_rng(0).integers(0, 256, (5, 6, 7, channels), dtype=np.uint8)
    tensor = images_tensor(images)
    assert tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor.numpy(), np.moveaxis(images, 3, 1).astype(np.float32) / np.float32(255))
    assert tensor.stride() == torch.empty(5, channels, 6, 7).stride()


def test_float_images_keep_their_values():
    images = np.random.default_rng(0).uniform(size=(2, 4, 4, 3))
    np.testing.assert_array_equal(images_tensor(images).numpy(), np.moveaxis(images, 3, 1).astype(np.float32))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64, torch.float16, torch.bfloat16])
def test_tensors_are_taken_as_arrays_are(dtype):
    images = torch.randint(0, 2, (2, 4, 4, 3), generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = images.permute(0, 3, 1, 2).float() / (255 if dtype == torch.uint8 else 1)
    assert torch.equal(images_tensor(images), expected)


def test_images_that_only_may_be_read_are_taken():
    images = np.frombuffer(bytes(range(48)), np.uint8).reshape(1, 4, 4, 3)
    assert torch.equal(images_tensor(images), images_tensor(images.copy()))


def test_half_a_level_beyond_is_rounding_and_no_images_are_none():
    assert images_tensor(np.full((1, 2, 2, 1), 1 + 1e-6)).max() > 1
    assert images_tensor(np.zeros((0, 4, 4, 3))).shape == (0, 3, 4, 4)


NO_IMAGES = [
    (
        lambda pixels: pixels.astype(np.int64),
        r"int64 \(\d+, 8, 8, 1\) for \d+ images; expected uint8 \(\w+, H, W, C\), or ",
    ),
    (lambda pixels: torch.from_numpy(pixels).long(), r"int64 \(\d+, 8, 8, 1\) for"),
    (lambda pixels: pixels > 3, r"bool \(\d+, 8, 8, 1\) for"),
    (lambda pixels: pixels.astype(np.float32), "floats from 0 to 7; expected them in .0, 1., or uint8"),
    (lambda pixels: torch.from_numpy(pixels).float(), "floats from 0 to 7; "),
    (lambda pixels: pixels / 127.5 - 1, "floats from -1 to -0.945; "),
    (lambda pixels: np.where(pixels == 7, np.nan, pixels / 255), "floats from nan to nan; "),
    (lambda pixels: pixels.tolist(), r"a list for \d+ images; expected uint8"),
    (lambda pixels: pixels[..., 0], r"uint8 \(\d+, 8, 8\) for"),
    (lambda pixels: pixels[1:], r"uint8 \(\d+, 8, 8, 1\) for \d+ images"),
]


@pytest.mark.parametrize(("changed", "said"), NO_IMAGES)
def test_a_dataset_whose_images_are_none_is_told_so_by_every_metric(changed, said, make_data, representation):
    class Other(make_data):
        name = "other"

        def images(self, indices):
            return changed(super().images(indices))

    for metric in (factorvae, mig, betavae):  # all images by index, in draws, in sets
        with pytest.raises(MetricError, match=rf"^images\(\) of dataset 'other' returned {said}") as raised:
            metric(representation("identity"), Other())
        assert "\n" not in str(raised.value)


def test_random_observations_are_checked_as_well(noisy_data, noise_reading_encoder):
    class Bytes(type(noisy_data)):
        def observe(self, indices, random_state):
            return 255 * super().observe(indices, random_state)

    for metric in (mig, betavae):
        with pytest.raises(MetricError, match=r"^observe\(\) of dataset 'noisy' returned floats from 0 to 2\d\d; "):
            metric(noise_reading_encoder, Bytes())


def test_a_dataset_of_tensors_has_the_scores_of_one_of_arrays(make_data, representation):
    class Tensors(make_data):
        def images(self, indices):
            return torch.from_numpy(super().images(indices))

    settings = {"votes": 20, "samples_per_vote": 10}
    one, other = (factorvae(representation("rotated"), data, **settings) for data in (make_data(), Tensors()))
    assert one == other


@pytest.mark.parametrize(("changed", "said"), NO_IMAGES[:-1])
def test_what_is_no_image_is_no_tensor_of_images(changed, said):
    pixels = np.full((2, 8, 8, 1), 7, np.uint8)
    pixels[:, 0] = 0
    with pytest.raises(
        MetricError, match=f"^images_tensor got {said}".replace(r" for \d+ images", "").replace(" for", "")
    ):
        images_tensor(changed(pixels))


class Returns:
    def __init__(self, codes):
        self.codes = codes

    def encode(self, images):
        if isinstance(self.codes, Exception):
            raise self.codes
        return self.codes


PIXELS = np.zeros((2, 8, 8, 1), np.uint8)


@pytest.mark.parametrize(
    ("returned", "dtype"),
    [
        (torch.ones(2, 3), np.float32),
        (torch.ones(2, 3, requires_grad=True), np.float32),
        (torch.ones(2, 3, dtype=torch.bfloat16), np.float32),
        (torch.ones(2, 3, dtype=torch.float16), np.float32),
        (np.ones((2, 3), np.float16), np.float32),
        (np.ones((2, 3)), np.float64),
        (np.ones((2, 3), np.int32), np.float64),
        ([[1, 1, 1], [1, 1, 1]], np.float64),
    ],
)
def test_whatever_holds_numbers_is_taken(returned, dtype):
    codes = encode_images(Returns(returned), PIXELS)
    assert codes.dtype == dtype
    np.testing.assert_array_equal(codes, np.ones((2, 3)))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.ones((3, 3)), r"shape \(3, 3\) for 2 images; expected \(2, D\)"),
        (np.ones(2), r"shape \(2,\)"),
        (np.ones((2, 0)), r"shape \(2, 0\)"),
        (np.array([[1.0, np.nan], [1.0, 1.0]]), "NaN.*1 of 2 images"),
        (np.array([[1.0, np.inf], [1.0, 1.0]]), "infinite.*1 of 2 images"),
        (np.full((2, 2), 1e30, np.float32), "larger than 1e.16 for 2 of 2"),
        (np.array([["a"], ["b"]]), "expected an array of floats"),
        (np.ones((2, 2), complex), "expected an array of floats"),
        (
            RuntimeError("expected 3 channels\nin a long story"),
            r"failed on float32 images of shape \(2, 1, 8, 8\): exp",
        ),
        (KeyError(), "KeyError"),
    ],
)
def test_what_is_no_representation_is_refused_in_one_line(returned, message):
    with pytest.raises(MetricError, match=message) as raised:
        encode_images(Returns(returned), PIXELS)
    assert "\n" not in str(raised.value)


def test_a_model_without_encode_is_named():
    with pytest.raises(MetricError, match="int has no encode method"):
        encode_images(3, PIXELS)


def test_the_number_of_dimensions_must_not_change(data):
    class Growing:
        def encode(self, images):
            return np.ones((len(images), len(images)))

    with pytest.raises(MetricError, match="4 dimensions for one batch and 6 for another"):
        encode_indices(Growing(), data, np.arange(10), 6)


def test_encoding_is_batched_and_in_order(data, representation):
    encoder = representation("identity")
    indices = np.array([7, 300, 7, 11])
    np.testing.assert_array_equal(encode_indices(encoder, data, indices, 3), data.factors_of(indices))
    assert encoder.encoded == 4


def test_codes_are_looked_up_by_index(data, representation):
    for indices in (np.arange(len(data)), np.array([2, 40, 41, 359])):
        known = EncodedImages(representation("identity"), data, indices, 100)
        asked = indices[[-1, 0, 1, 1]]
        np.testing.assert_array_equal(known.at(asked), data.factors_of(asked))


def test_images_go_to_the_device_of_the_model():
    class OnMeta(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1, device="meta"))

        def encode(self, images):
            assert images.device.type == "meta"
            return np.ones((len(images), 2))

    assert encode_images(OnMeta(), PIXELS).shape == (2, 2)


class Trained(torch.nn.Module):
    """What a user has in the middle of training: BatchNorm and Dropout in training mode, one part frozen."""

    def __init__(self):
        super().__init__()
        self.norm, self.dropout, self.frozen = torch.nn.BatchNorm2d(1), torch.nn.Dropout(), torch.nn.BatchNorm2d(1)
        self.frozen.eval()

    def encode(self, images):
        return self.frozen(self.dropout(self.norm(images))).flatten(1)[:, :4]


def modes(module):
    return {name: part.training for name, part in module.named_modules()}


def test_a_module_encodes_in_evaluation_mode_and_is_left_as_it_was(data):
    model = Trained()
    before, averages = modes(model), {name: tensor.clone() for name, tensor in model.state_dict().items()}

    first, second = (mig(model, data, num_train=200) for _ in range(2))

    assert first == second
    assert modes(model) == before == {"": True, "norm": True, "dropout": True, "frozen": False}
    assert all(torch.equal(tensor, averages[name]) for name, tensor in model.state_dict().items())


def test_a_module_that_fails_has_its_mode_back():
    class Failing(Trained):
        def encode(self, images):
            assert not any(modes(self).values())
            raise RuntimeError("no")

    model = Failing()
    with pytest.raises(MetricError, match=r"failed on float32 images.*: no$"):
        encode_images(model, PIXELS)
    assert modes(model) == modes(Trained())


def test_a_module_that_was_frozen_in_one_mode_is_left_alone():
    class Frozen(torch.nn.Module):
        def encode(self, images):
            return images.flatten(1)[:, :4]

    model = Frozen()
    del model.training  # TorchScript's frozen modules have none
    assert encode_images(model, PIXELS).shape == (2, 4)
    assert not hasattr(model, "training")


def test_what_is_no_module_has_no_mode():
    with evaluation_mode(Returns(None)) as nothing:
        assert nothing is None
