"""The recipe against torchvision's transforms, and against images made to be hard."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torchvision import transforms

from ibgan_plugin.adapters import recipe as module
from ibgan_plugin.adapters.recipe import BadImage, Recipe

PIXELS = np.random.default_rng(0).integers(256, size=(218, 178, 3), dtype=np.uint8)


def encoded(pixels: NDArray[Any] | Image.Image, kind: str = "PNG", **more: Any) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    stream = io.BytesIO()
    image.save(stream, kind, **more)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_crop_and_resize_are_torchvisions(kind: str) -> None:
    content = encoded(PIXELS, kind)
    theirs = transforms.Compose([transforms.CenterCrop(148), transforms.Resize((64, 64))])
    expected = np.asarray(theirs(Image.open(io.BytesIO(content))))
    np.testing.assert_array_equal(Recipe(64, 148).apply(content, (178, 218)), expected)


def test_gray_without_crop_is_torchvisions() -> None:
    theirs = transforms.Compose([transforms.Grayscale(), transforms.Resize((32, 32))])
    made = Recipe(32, None, grayscale=True).apply(encoded(PIXELS))
    assert made.shape == (32, 32, 1)
    np.testing.assert_array_equal(made[..., 0], np.asarray(theirs(Image.fromarray(PIXELS))))


def test_the_largest_square() -> None:
    striped = np.zeros((40, 100, 3), dtype=np.uint8)
    striped[:, 30:70] = 200
    np.testing.assert_array_equal(Recipe(16, "square").apply(encoded(striped)), np.full((16, 16, 3), 200))
    np.testing.assert_array_equal(
        Recipe(16, "square").apply(encoded(striped.swapaxes(0, 1))), np.full((16, 16, 3), 200)
    )


def in_mode(mode: str) -> tuple[Image.Image, NDArray[np.uint8]]:
    """An image of a mode, its alpha random where it has one, and its pixels in RGB."""
    gray, alpha, palette = PIXELS[..., 0], PIXELS[::-1, :, 1], PIXELS[:256, 0]
    if mode == "1":
        return Image.fromarray(gray > 99), np.where(gray > 99, 255, 0).astype(np.uint8)[..., None].repeat(3, axis=2)
    if mode == "L":
        return Image.fromarray(gray), gray[..., None].repeat(3, axis=2)
    if mode == "LA":
        return Image.fromarray(np.dstack([gray, alpha])), gray[..., None].repeat(3, axis=2)
    if mode == "P":
        image = Image.fromarray(gray // 2)
        image.putpalette(palette.tobytes())
        return image, palette[gray // 2]
    if mode == "RGBA":
        return Image.fromarray(np.dstack([PIXELS, alpha])), PIXELS
    return Image.fromarray(PIXELS).convert(mode), PIXELS  # without loss: the darkest ink is not used


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_other_modes_become_rgb(mode: str) -> None:
    """The same as if the file had been written in RGB; alpha is dropped, not blended with anything."""
    image, pixels = in_mode(mode)
    assert image.mode == mode
    made = Recipe(64, 148).apply(encoded(image, "TIFF" if mode == "CMYK" else "PNG"))
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(made, Recipe(64, 148).apply(encoded(pixels)))


def test_images_are_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    turned = Recipe(64, "square").apply(encoded(PIXELS, "PNG", exif=exif))
    np.testing.assert_array_equal(turned, Recipe(64, "square").apply(encoded(np.rot90(PIXELS, -1))))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"these are words", "is not an image"),
        (b"<svg></svg>", "is not an image"),
        (encoded(PIXELS)[:5000], "is damaged"),
        (encoded(PIXELS, "JPEG")[:5000], "is damaged"),
        (encoded(PIXELS)[:20], "is (damaged|not an image)"),
        (encoded(PIXELS[:100]), r"is 178x100; 178x218 was expected"),
        (encoded(np.zeros((218, 178), np.uint16)), "8 bits"),
    ],
)
def test_what_is_no_such_image_is_told(content: bytes, reason: str) -> None:
    with module.quiet_pillow(), pytest.raises(BadImage, match=reason):
        Recipe().apply(content, (178, 218))


def test_a_flipped_byte_is_told() -> None:
    content = bytearray(encoded(PIXELS))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(BadImage, match="is damaged"):
        Recipe().apply(bytes(content))


def test_too_small_for_the_crop() -> None:
    with pytest.raises(BadImage, match="178x218, too small for a crop of 200"):
        Recipe(64, 200).apply(encoded(PIXELS))


@pytest.mark.parametrize("side", [8_000, 14_000], ids=["more than is read here", "more than Pillow opens"])
def test_too_many_pixels_are_refused_before_they_are_decoded(side: int) -> None:
    bomb = encoded(Image.new("1", (side, side)))
    assert len(bomb) < 100_000
    with module.quiet_pillow(), pytest.raises(BadImage, match=r"too large|at most"):
        Recipe().apply(bomb)
