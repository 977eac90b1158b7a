"""From the bytes of an image file to the uint8 array of a store: crop, gray, resize."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from zoo.untrusted import said

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
MAX_PIXELS = 50_000_000  # of one image before it is resized
LARGE_PIXELS = 4_000_000  # larger ones are decoded one at a time: each takes hundreds of megabytes
MAX_SCANS = 100  # of a JPEG; a progressive one has about ten, and each takes as long as the whole image
ORIENTATION = 0x0112  # the EXIF tag

_one_at_a_time = threading.Lock()

Size = Annotated[int, Field(ge=8, le=1024)]
Crop = Annotated[int, Field(ge=1)] | Literal["square"] | None


class BadImage(Exception):
    """An image that cannot be prepared; the message says why, without its name."""


@dataclass(frozen=True)
class Recipe:
    """What is done to an image, in this order: turned upright as its EXIF says, cropped, made gray or RGB, resized.

    `crop` is the side of a centred square in the original's pixels, "square" for the largest such square, or None for
    the whole image, whose aspect is then lost. Resizing is Pillow's bilinear filter with antialiasing, which is what
    torchvision's `Resize` does to PIL images. An alpha channel is dropped.
    """

    size: int = 64
    crop: int | Literal["square"] | None = None
    grayscale: bool = False

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the result."""
        return self.size, self.size, 1 if self.grayscale else 3

    @property
    def label(self) -> str:
        """A folder name that tells recipes apart."""
        crop = "whole" if self.crop is None else str(self.crop)
        return f"{self.size}-{crop}-{'gray' if self.grayscale else 'rgb'}"

    def record(self) -> dict[str, Any]:
        """Return the recipe as JSON values."""
        return asdict(self) | {"resize": "bilinear, antialiased"}

    def apply(self, content: bytes, published_size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Return uint8 `image_shape`; BadImage for no image, a damaged one, or one not of `published_size` (W, H)."""
        with _decoding(content) as image:
            if published_size is not None and image.size != published_size:
                raise BadImage(f"is {image.width}x{image.height}; {published_size[0]}x{published_size[1]} was expected")
            if image.width * image.height > MAX_PIXELS:
                raise BadImage(f"is {image.width}x{image.height}; at most {MAX_PIXELS:,} pixels are read")
            if image.mode[0] in "IF":
                raise BadImage(f"has pixels of mode {image.mode}; 8 bits a channel were expected")
            if image.format == "JPEG" and content.count(b"\xff\xda") > MAX_SCANS:
                raise BadImage(f"is a JPEG of more than {MAX_SCANS} scans")
            try:
                with _one_at_a_time if image.width * image.height > LARGE_PIXELS else nullcontext():
                    return self._resized(image)
            except BadImage:
                raise
            except Exception as error:  # Pillow's readers raise what they stumble over
                raise BadImage(f"is damaged: {said(error)}") from error

    def _resized(self, image: Image.Image) -> NDArray[np.uint8]:
        """Do what the recipe says; no more than two copies of the pixels are held at a time."""
        from PIL import Image, ImageOps

        if image.getexif().get(ORIENTATION, 1) != 1:
            original, image = image, ImageOps.exif_transpose(image)
            original.close()
        box = self._box(image.size)
        image = image.crop(box) if box != (0, 0, *image.size) else image
        mode = "L" if self.grayscale else "RGB"
        image = image.convert(mode) if image.mode != mode else image
        resized = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        return np.asarray(resized, dtype=np.uint8).reshape(self.image_shape)

    def _box(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        width, height = size
        if self.crop is None:
            return 0, 0, width, height
        side = min(size) if self.crop == "square" else self.crop
        if side > min(size):
            raise BadImage(f"is {width}x{height}, too small for a crop of {side}")
        left, top = (width - side) // 2, (height - side) // 2
        return left, top, left + side, top + side


def _decoding(content: bytes) -> Image.Image:
    """Open an image without decoding its pixels yet; BadImage where it is none."""
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise BadImage("is empty")
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise BadImage("is not an image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage(f"is too large: {said(error)}") from error
    except Exception as error:  # Pillow's readers raise what they stumble over
        raise BadImage(f"is damaged: {said(error)}") from error


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keep Pillow's warnings away: too large images are refused by name here, and odd metadata matter to nobody."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        yield
