"""What the README shows is what the commands print."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

import zoo.cli
from refresh_readme import BLOCK, PICTURES, README, run

TEXT = README.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", re.findall(r"^\$ (zoo list .*|python .* --show .*)$", TEXT, re.MULTILINE))
def test_listings_and_tables_are_current(command):
    shown = next(block for block in BLOCK.findall(TEXT) if block.startswith(f"$ {command}\n"))

    assert shown == f"$ {command}\n{run(command)}"


def test_every_command_shown_has_its_output():
    for block in BLOCK.findall(TEXT):
        lines = block.splitlines()
        assert lines[0].startswith(("$ zoo ", "$ python -m benchmarks --show "))
        assert not lines[-1].startswith("$ "), f"no output under {lines[-1]}; run python docs/refresh_readme.py"


def test_every_file_it_links_to_is_there():
    for link in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (README.parent / link).is_file(), link


@pytest.mark.parametrize("picture", PICTURES)
def test_pictures_are_those_of_the_weights_that_ship(picture, tmp_path):
    assert zoo.cli.run([*PICTURES[picture].split()[1:], "--out", str(tmp_path / picture)]) == 0
    again, shown = (
        np.asarray(Image.open(folder / picture).convert("L"), dtype=np.float64)
        for folder in (tmp_path, README.parent / "docs" / "images")
    )
    assert again.shape == shown.shape
    assert np.abs(again - shown).mean() < 2  # of 255; another processor rounds otherwise
