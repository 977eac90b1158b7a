"""Pictures, held against a model whose decoder paints its code: every pixel of a traversal can be worked out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ibgan_plugin.evaluation import figures
from zoo.errors import MetricError, UsageError


class PaintsItsCode:
    """decode: an 8x8 gray image whose four quarters have the brightness 0.5 + code / 10."""

    def generate(self, num: int, seed: int = 0) -> torch.Tensor:
        return self.decode(torch.randn((num, 4), generator=torch.Generator().manual_seed(seed)))

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return (images[:, 0, ::4, ::4].flatten(1) - 0.5) * 10

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        quarters = (0.5 + codes / 10).reshape(-1, 1, 2, 2)
        return quarters.repeat_interleave(4, 2).repeat_interleave(4, 3)


def test_pixels_are_rounded_and_gray_is_repeated():
    images = torch.tensor([0.0, 0.5 / 255, 1.49 / 255, 1.0]).reshape(1, 1, 2, 2)

    pixels = figures.to_pixels(images)

    assert pixels.shape == (1, 2, 2, 3)
    assert pixels[0, :, :, 0].ravel().tolist() == [0, 1, 1, 255]  # half a level goes up, as in fid and in torchvision
    assert (pixels == pixels[..., :1]).all()


class Spoiled(PaintsItsCode):
    """Generates and decodes what `spoil` makes of the images; a `None` leaves them."""

    def __init__(self, *, generate=None, decode=None):
        self.spoil = {"generate": generate, "decode": decode}

    def generate(self, num, seed=0):
        images = PaintsItsCode().generate(num, seed)
        return self.spoil["generate"](images) if self.spoil["generate"] else images

    def decode(self, codes):
        images = super().decode(codes)
        return self.spoil["decode"](images) if self.spoil["decode"] else images


SPOILS = [
    (lambda images: images * float("nan"), r"NaN or infinity in (\d+) of \1 images; the model has probably diverged"),
    (lambda images: images * 8 - 4, r"values from -\d\.\d+ to \d\.?\d*; expected images in .0, 1.$"),
    (lambda images: images.expand(-1, 2, -1, -1), r"shape \(\d+, 2, 8, 8\) for \d+ images; expected"),
    (lambda images: images[1:], "shape .* for"),
    (lambda images: images.mul(255).byte(), "torch.uint8; expected a float32 tensor"),
]


@pytest.mark.parametrize(("spoil", "said"), SPOILS)
def test_what_is_no_image_is_refused_and_not_drawn(spoil, said):
    generating, decoding = Spoiled(generate=spoil), Spoiled(decode=spoil)
    images = PaintsItsCode().generate(3)
    for draw in (lambda: figures.plot_samples(generating, num=5), lambda: figures.base_codes(generating, 3)):
        with pytest.raises(MetricError, match=rf"^Spoiled\.generate returned {said}"):
            draw()
    for draw in (
        lambda: figures.traverse(decoding, torch.zeros(2, 4), steps=3),
        lambda: figures.plot_reconstructions(decoding, images),
    ):
        with pytest.raises(MetricError, match=rf"^Spoiled\.decode returned {said}"):
            draw()


def test_images_of_another_shape_than_the_dataset_has_are_refused():
    gray, colours = PaintsItsCode(), (8, 8, 3)
    said = r"returned images of 8x8x1; expected 8x8x3, as those that the model was trained on"
    with pytest.raises(MetricError, match=rf"^PaintsItsCode\.generate {said}"):
        figures.plot_samples(gray, num=5, image_shape=colours)
    with pytest.raises(MetricError, match=rf"^PaintsItsCode\.decode {said}"):
        figures.traverse(gray, torch.zeros(1, 4), image_shape=colours)
    with pytest.raises(MetricError, match=rf"^PaintsItsCode\.decode {said}"):
        figures.reconstructions(gray, gray.generate(3).expand(-1, 3, -1, -1))


def test_images_are_named_in_a_notebook_too():
    with pytest.raises(MetricError, match=r"^to_pixels got values from 0 to 255; expected images in .0, 1.$"):
        figures.to_pixels(torch.tensor([0.0, 255.0]).reshape(1, 1, 1, 2))


def test_a_grid_holds_every_image_once_in_reading_order():
    pixels = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((5, 4, 6, 3), np.uint8)

    sheet = np.asarray(figures.image_grid(pixels, columns=3))

    gap = figures.GAP
    assert sheet.shape == (2 * (4 + gap) + gap, 3 * (6 + gap) + gap, 3)
    for index in range(5):
        row, column = divmod(index, 3)
        top, left = gap + row * (4 + gap), gap + column * (6 + gap)
        assert (sheet[top : top + 4, left : left + 6] == index).all()
    assert (sheet[gap + 4 + gap :, gap + 2 * (6 + gap) :] == 255).all()  # the empty place is ground


def test_a_traversal_moves_one_dimension_a_row_and_leaves_the_others():
    codes = torch.tensor([[1.0, -1.0, 0.5, 2.0], [0.0, 0.0, 0.0, 0.0]])

    traversal = figures.traverse(PaintsItsCode(), codes, span=2.0, steps=5, kl=[0.1, 0.4, 0.3, 0.2])

    assert traversal.dimensions == (1, 2, 3, 0)  # by KL, largest first
    assert traversal.values == (-2.0, -1.0, 0.0, 1.0, 2.0)
    for base in range(2):
        for row, dimension in enumerate(traversal.dimensions):
            for step, value in enumerate(traversal.values):
                expected = codes[base].clone()
                expected[dimension] = value
                quarters = traversal.images[base, row, step, ::4, ::4, 0].ravel()
                assert quarters.tolist() == (255 * (0.5 + expected / 10) + 0.5).floor().tolist()


def test_rows_keep_their_order_without_a_kl():
    traversal = figures.traverse(PaintsItsCode(), torch.zeros(1, 4))

    assert traversal.dimensions == (0, 1, 2, 3)
    assert figures.labels_of(traversal) == ["r0", "r1", "r2", "r3"]
    assert figures.kl_of_each_code(PaintsItsCode()) is None


def test_base_codes_are_the_codes_of_generated_images():
    model = PaintsItsCode()

    codes = figures.base_codes(model, 3, seed=5)

    again = model.encode(model.generate(3, seed=5))
    assert torch.equal(codes, again)


@pytest.mark.parametrize(
    ("span", "steps"), [(0.0, 5), (-1.0, 5), (float("nan"), 5), (float("inf"), 5), (1e39, 5), (1.0, 1)]
)
def test_a_range_that_is_none_is_refused(span, steps):
    with pytest.raises(UsageError, match="span above 0"):
        figures.traverse(PaintsItsCode(), torch.zeros(1, 4), span=span, steps=steps)


def where(part, pixels):
    """Columns of a picture at which another of its height stands in it."""
    found = np.lib.stride_tricks.sliding_window_view(pixels, (part.height, part.width), axis=(0, 1))
    assert len(found) == 1
    wanted = np.asarray(part).transpose(2, 0, 1)
    return [x for x in range(found.shape[1]) if np.array_equal(found[0, x], wanted)]


def test_the_picture_and_the_animation_hold_the_whole_traversal(tmp_path):
    codes = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, -1.0, 0.5, 2.0]])
    traversal = figures.traverse(PaintsItsCode(), codes, steps=4, kl=[4.0, 3.0, 2.0, 1.0])

    figures.save_picture(figures.draw_traversal(traversal), tmp_path / "t.png")
    figures.animate_traversal(traversal, tmp_path / "t.gif")

    with Image.open(tmp_path / "t.png") as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB"))[20:]  # below the values
        blocks = [figures.image_grid(base.reshape(-1, 8, 8, 3), columns=4) for base in traversal.images]
        (first,), (second,) = (where(block, pixels) for block in blocks)
        assert first + blocks[0].width <= second
    with Image.open(tmp_path / "t.gif") as animation:
        assert animation.format == "GIF"
        assert animation.n_frames == 6  # there and back, the ends once
        assert animation.info["loop"] == 0
        for frame, step in enumerate((0, 1, 2, 3, 2, 1)):
            animation.seek(frame)
            moment = traversal.images[:, :, step].swapaxes(0, 1)  # a row per dimension, a column per base
            grid = figures.image_grid(moment.reshape(-1, 8, 8, 3), columns=2)
            assert len(where(grid, np.asarray(animation.convert("RGB")))) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.gif", "t.png"]  # nothing half-written is left


def test_only_the_first_rows_are_made_where_so_many_are_wanted():
    traversal = figures.traverse(PaintsItsCode(), torch.zeros(2, 4), steps=3, kl=[0.1, 0.4, 0.3, 0.2], most=2)

    assert traversal.dimensions == (1, 2)
    assert traversal.kl == (0.4, 0.3)
    assert traversal.images.shape == (2, 2, 3, 8, 8, 3)


def test_a_grid_without_a_ground_is_transparent_between_the_images():
    sheet = figures.image_grid(np.zeros((4, 8, 8, 3), np.uint8), ground=None)

    alpha = np.asarray(sheet)[..., 3]
    assert (alpha == 255).sum() == 4 * 64
    assert alpha[0, 0] == 0


def shown(axes):
    """The picture in a panel of a figure."""
    (image,) = axes.get_images()
    assert image.get_interpolation() == "nearest"
    return np.asarray(image.get_array())


def test_the_figure_of_samples_holds_the_samples():
    (axes,) = figures.plot_samples(PaintsItsCode(), num=5, seed=3).axes

    pixels = figures.to_pixels(PaintsItsCode().generate(5, seed=3))
    assert np.array_equal(shown(axes), np.asarray(figures.image_grid(pixels, columns=3)))


def test_the_figure_of_a_traversal_has_a_panel_a_base_and_a_labelled_row_a_dimension(tmp_path):
    traversal = figures.traverse(PaintsItsCode(), torch.eye(4)[:2], span=2.0, steps=5, kl=[0.1, 0.4, 0.3, 0.2])

    figure = figures.plot_traversal(traversal, ["one", "a$_{"])

    assert [axes.get_title() for axes in figure.axes] == ["one", "a$_{"]
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == [
        "r1  0.40 nats",
        "r2  0.30 nats",
        "r3  0.20 nats",
        "r0  0.10 nats",
    ]
    assert [label.get_text() for label in left.get_xticklabels()] == ["-2.0", "+0.0", "+2.0"]
    for axes, images in zip((left, right), traversal.images, strict=True):
        assert np.array_equal(shown(axes), np.asarray(figures.image_grid(images.reshape(-1, 8, 8, 3), columns=5)))
    # Each label stands beside its row, each value under its column.
    for ticks, starts in ((left.get_yticks(), range(4)), (left.get_xticks(), (0, 2, 4))):
        places = [figures.GAP + start * (8 + figures.GAP) for start in starts]
        assert all(place <= tick <= place + 8 for tick, place in zip(ticks, places, strict=True))
    figure.savefig(tmp_path / "t.pdf")
    assert (tmp_path / "t.pdf").read_bytes().startswith(b"%PDF")


def test_the_figure_of_reconstructions_has_the_images_above_what_is_made_of_them():
    images = PaintsItsCode().generate(3, seed=1)

    (axes,) = figures.plot_reconstructions(PaintsItsCode(), images).axes

    pixels = figures.to_pixels(images)  # this model decodes exactly what it encoded
    assert np.array_equal(shown(axes), np.asarray(figures.image_grid(np.concatenate([pixels, pixels]), columns=3)))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["real", "again"]
