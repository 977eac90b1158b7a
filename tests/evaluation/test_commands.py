"""The commands that draw: what they refuse, and what they start from."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image

import zoo
import zoo.cli
from ibgan_plugin.evaluation import figures
from ibgan_plugin.image_model import ImageModel


def error_of(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    code = zoo.cli.run([str(word) for word in words])
    out, err = capsys.readouterr()
    assert out == ""
    return code, err.strip()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("traverse", "ibgan", "RUN", "--out", "t.txt"), "a traversal is written as .gif, or as .png"),
        (("sample", "ibgan", "RUN", "--out", "s.txt"), "has an ending that is no picture's; use .png"),
        (("traverse", "ibgan", "RUN", "--out", "t.png", "--bases", 2, "--images", 0), "give one of them"),
        (("traverse", "ibgan", "RUN", "--out", "t.png", "--per-factor", "shape", "--bases", 1), "give one of them"),
        (("traverse", "ibgan", "RUN", "--out", "t.png", "--per-factor", "size"), "unknown factor 'size'"),
        (("traverse", "ibgan", "RUN", "--out", "t.png", "--images", "737280"), "has images 0 to 737,279"),
        (("report", "RUN", "--steps", 1), "1 is not in the range"),
        (("report",), "Missing argument 'RUN...'"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(ibgan_run, drawn, capsys, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)

    code, error = error_of(capsys, *(ibgan_run if word == "RUN" else word for word in words))

    assert code == 2
    assert error.startswith("error: ")
    assert message in error
    assert "\n" not in error
    assert list(tmp_path.iterdir()) == []


def test_samples_come_whole_and_in_chunks_and_nothing_is_written_over(ibgan_run, tmp_path, capsys):
    (tmp_path / "few.2").mkdir()  # a folder that is there is one, whatever its name ends in
    for folder, num in (("few", 3), ("many", 258), ("few.2", 3)):
        assert zoo.cli.run(["sample", "ibgan", str(ibgan_run), "--num", str(num), "--out", str(tmp_path / folder)]) == 0
    model, names = zoo.load("ibgan", ibgan_run), sorted(path.name for path in (tmp_path / "many").iterdir())
    assert names == [f"{index:06d}.png" for index in range(258)]

    def shown(folder, indices):
        return np.stack([np.asarray(Image.open(tmp_path / folder / f"{index:06d}.png")) for index in indices])

    assert (shown("few.2", range(3)) == shown("few", range(3))).all()
    assert (shown("few", range(3)) == figures.to_pixels(model.generate(3, seed=0)).squeeze()).all()
    assert (shown("many", range(256)) == figures.to_pixels(model.generate(256, seed=0)).squeeze()).all()
    assert (shown("many", [256]) != shown("many", [0])).any()  # each chunk has a seed of its own
    before = (tmp_path / "few" / "000000.png").read_bytes()
    capsys.readouterr()
    code, error = error_of(capsys, "sample", "ibgan", ibgan_run, "--num", 2, "--seed", 1, "--out", tmp_path / "few")
    assert (code, "is no empty folder; choose another --out" in error) == (2, True)
    assert (tmp_path / "few" / "000000.png").read_bytes() == before


@pytest.fixture
def spoiling(monkeypatch):
    """Change what a method of every model returns."""

    def change(method, spoil):
        original = getattr(ImageModel, method)
        monkeypatch.setattr(ImageModel, method, lambda *args, **kwargs: spoil(original(*args, **kwargs)))

    return change


NAN = r"returned NaN or infinity in (\d+) of \1 images; the model has probably diverged, choose an earlier checkpoint$"
SHAPE = "returned images of 64x64x3; expected 64x64x1, as those that the model was trained on"


@pytest.mark.parametrize(
    ("spoil", "said"), [(lambda x: x * float("nan"), NAN), (lambda x: x.expand(-1, 3, -1, -1), SHAPE)]
)
@pytest.mark.parametrize(
    ("words", "method"),
    [
        (("sample", "--out", "s.png"), "generate"),
        (("sample", "--out", "s.pdf"), "generate"),
        (("sample", "--out", "folder"), "generate"),
        (("traverse", "--images", "0", "--steps", "3", "--out", "t.png"), "decode"),
    ],
)
def test_what_is_no_image_is_refused_and_nothing_written(
    ibgan_run, drawn, spoiling, capsys, tmp_path, monkeypatch, words, method, spoil, said
):
    monkeypatch.chdir(tmp_path)
    spoiling(method, spoil)

    code, error = error_of(capsys, words[0], "ibgan", ibgan_run, *words[1:])

    assert code == 1
    assert re.match(rf"error: \w+\.{method} {said}", error.splitlines()[-1])
    assert list(tmp_path.iterdir()) == []


def test_a_vaes_rows_are_ordered_by_the_kl_it_logged(vae_run, drawn, tmp_path, monkeypatch, capsys):
    seen = []
    draw = figures.draw_traversal
    monkeypatch.setattr(figures, "draw_traversal", lambda traversal: seen.append(traversal) or draw(traversal))

    assert zoo.cli.run(["traverse", "vae", str(vae_run), "--out", str(tmp_path / "t.png"), "--steps", "3"]) == 0

    kl = json.loads((vae_run / "metrics.jsonl").read_text().splitlines()[-1])["kl"]
    assert seen[0].dimensions == tuple(sorted(range(3), key=lambda i: -kl[i]))
    assert seen[0].kl == tuple(sorted(kl, reverse=True))
    assert (tmp_path / "t.png").is_file()
