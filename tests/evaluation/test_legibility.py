"""Label places, against a general optimiser; colours, against a simulation of colour blindness."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from scipy.optimize import minimize

from ibgan_plugin.evaluation import legibility
from ibgan_plugin.evaluation.legibility import COLOURS, DASHES, colour, dash, spread

PLACES = st.lists(st.floats(0, 100), min_size=1, max_size=8)


@given(PLACES)
def test_labels_are_apart_and_inside_and_in_order(wanted):
    moved = spread(wanted, 12.0, 0.0, 100.0)

    assert all(-1e-9 <= place <= 100 + 1e-9 for place in moved)
    assert all(b - a >= 12 - 1e-9 for a, b in itertools.pairwise(sorted(moved)))
    assert all((moved[i] < moved[j]) for i, j in itertools.permutations(range(len(wanted)), 2) if wanted[i] < wanted[j])


@settings(max_examples=25)
@given(st.lists(st.floats(0, 100), min_size=2, max_size=5))
def test_labels_move_as_little_as_it_takes(wanted):
    moved = np.array(spread(wanted, 12.0, 0.0, 100.0))

    order = np.argsort(wanted, kind="stable")
    target = np.array(wanted)[order]
    best = minimize(
        lambda places: ((places - target) ** 2).sum(),
        np.linspace(0, 100, len(wanted)),
        bounds=[(0, 100)] * len(wanted),
        constraints={"type": "ineq", "fun": lambda places: np.diff(places) - 12},
        method="SLSQP",
    )
    assert ((moved[order] - target) ** 2).sum() <= best.fun + 1e-3


def test_labels_without_room_begin_at_the_top():
    assert spread([5, 5, 5], 10.0, 0.0, 15.0) == [0, 10, 20]
    assert spread([], 10.0, 0.0, 15.0) == []


def test_many_lines_differ_in_colour_or_dashes_and_neighbours_in_both():
    looks = [(colour(i), dash(i)) for i in range(len(COLOURS) * len(DASHES))]

    assert len(set(looks)) == 28
    assert all(a[0] != b[0] and a[1] != b[1] for a, b in itertools.pairwise(looks))


STYLE = (Path(legibility.__file__).parent / "report" / "page.css").read_text("utf-8")
THEMES = [dict(re.findall(r"--(\w+): (#\w{6});", block)) for block in re.findall(r":root \{([^}]*)\}", STYLE)[:2]]

# Machado, Oliveira, Fernandes (2009), severity 1.0, for linear RGB.
BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


@pytest.mark.parametrize("kind", BLINDNESS)
@pytest.mark.parametrize("colours", [COLOURS, *([theme[f"c{i}"] for i in range(7)] for theme in THEMES)])
def test_the_first_colours_stay_apart_for_the_colour_blind(kind, colours):
    seen = np.clip(linear(colours[:5]) @ np.array(BLINDNESS[kind]).T, 0, 1)
    lab = to_lab(seen)

    for a, b in itertools.combinations(range(5), 2):
        assert np.linalg.norm(lab[a] - lab[b]) > 12, (colours[a], colours[b])  # CIE 1976; 2.3 is just noticeable


@pytest.mark.parametrize("theme", THEMES, ids=["light", "dark"])
def test_the_page_has_contrast(theme):
    assert len(theme) == 14
    for ground in ("ground", "raised"):
        for text in ("ink", "muted", "accent"):
            assert contrast(theme[text], theme[ground]) >= 4.5, (text, ground)  # WCAG 2.2, 1.4.3
        for line in (f"c{i}" for i in range(7)):
            assert contrast(theme[line], theme[ground]) >= 3, (line, ground)  # WCAG 2.2, 1.4.11


def contrast(a: str, b: str) -> float:
    """WCAG's contrast ratio."""
    dark, light = sorted(float(linear([value])[0] @ [0.2126, 0.7152, 0.0722]) for value in (a, b))
    return (light + 0.05) / (dark + 0.05)


def linear(colours: Sequence[str]) -> np.ndarray:
    """Hexadecimal sRGB -> linear RGB (n, 3)."""
    srgb = np.array([to_rgb(value) for value in colours])
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """Linear RGB (n, 3) -> CIE L*a*b* under D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    relative = rgb @ to_xyz.T / to_xyz.sum(axis=1)
    f = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)
