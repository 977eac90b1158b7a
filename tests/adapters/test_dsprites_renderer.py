"""The drawn images against the published frames, and against a plain point-in-polygon test."""

from __future__ import annotations

import csv
import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ibgan_plugin.adapters.dsprites_renderer import SPACE, draw, draw_all

TABLE = Path(__file__).parent / "data" / "dsprites_published_frames.csv"
FRAMES = list(csv.DictReader(TABLE.read_text().splitlines()))
LATENTS = ("shape", "scale", "orientation", "pos_x", "pos_y")


def image(factors: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The fast drawing of one image: packed bits (512,)."""
    shape, scale, orientation, x, y = (int(value) for value in factors)
    return draw(shape, scale, orientation)[32 * x + y]


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: "-".join(frame[name] for name in LATENTS))
def test_published_frames_are_matched_bit_for_bit(frame: dict[str, str]) -> None:
    factors = np.array([int(frame[name]) for name in LATENTS])
    assert hashlib.sha256(image(factors).tobytes()).hexdigest() == frame["sha256_of_packed_bits"]


def test_all_eighty_published_frames_are_there() -> None:
    assert len(FRAMES) == 80


# --- a plain reference: every pixel centre, moved into the sprite's own frame, tested against the outline there ---


def outline(shape: int) -> list[tuple[float, float]]:
    if shape == 1:
        return [(12.775 * math.cos(2 * math.pi * k / 72), 7.22 * math.sin(2 * math.pi * k / 72)) for k in range(72)]
    right = []
    for k in range(78):
        t = math.pi * k / 77
        v = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        right.append((9.60002 * math.sin(t) ** 3, -0.66231 * v - 1.43896))
    return right + [(-u, v) for u, v in reversed(right)]


def inside(u: NDArray[np.float64], v: NDArray[np.float64], corners: list[tuple[float, float]]) -> NDArray[np.bool_]:
    """Even-odd rule: a ray to the right crosses the outline an odd number of times."""
    odd = np.zeros(u.shape, dtype=bool)
    for (u0, v0), (u1, v1) in zip(corners, corners[1:] + corners[:1], strict=True):
        if v0 != v1:
            odd ^= ((v0 > v) != (v1 > v)) & (u < u0 + (v - v0) * (u1 - u0) / (v1 - v0))
    return odd


def plain_mask(factors: NDArray[np.int64]) -> NDArray[np.bool_]:
    shape, scale_class, orientation, x, y = (int(value) for value in factors)
    scale, angle = 0.5 + 0.1 * scale_class, 2 * math.pi * orientation / 39
    dx = np.arange(64)[None, :] + 0.5 - (16 + 32 * x / 31)
    dy = np.arange(64)[:, None] + 0.5 - (16 + 32 * y / 31)
    u = (dx * math.cos(angle) - dy * math.sin(angle)) / scale
    v = (dx * math.sin(angle) + dy * math.cos(angle)) / scale
    return np.maximum(abs(u), abs(v)) <= 9.598 if shape == 0 else inside(u, v, outline(shape))


def assert_drawn_as_plainly(factors: NDArray[np.int64]) -> None:
    np.testing.assert_array_equal(
        np.unpackbits(image(factors)).reshape(64, 64), plain_mask(factors), err_msg=f"factors {factors}"
    )


def test_random_images_equal_the_plain_reference() -> None:
    for index in np.random.default_rng(0).integers(len(SPACE), size=150):
        assert_drawn_as_plainly(SPACE.factors_of([index])[0])


@pytest.mark.slow
def test_every_sprite_equals_the_plain_reference_at_random_positions() -> None:
    random = np.random.default_rng(1)
    for first in range(0, len(SPACE), 1024):
        for position in random.integers(1024, size=5):
            assert_drawn_as_plainly(SPACE.factors_of([first + position])[0])


def test_drawing_all_gives_all_in_order() -> None:
    count = 0
    wanted = dict.fromkeys(np.random.default_rng(2).integers(720, size=8).tolist())
    for number, block in enumerate(draw_all()):
        assert block.shape == (1024, 512)
        assert block.dtype == np.uint8
        if number in wanted:
            np.testing.assert_array_equal(block, draw(number // 240, number // 40 % 6, number % 40))
        count += len(block)
    assert count == 737_280


def test_the_last_orientation_repeats_the_first() -> None:
    # linspace(0, 2 pi, 40) has both ends; sin(2 pi) is not exactly 0, but no pixel centre is that close to an edge.
    for shape in range(3):
        np.testing.assert_array_equal(draw(shape, 5, 39), draw(shape, 5, 0))
