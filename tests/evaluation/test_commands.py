"""The commands that draw: what they refuse, and what they start from."""

from __future__ import annotations

import json

import pytest

import zoo.cli
from ibgan_plugin.evaluation import figures


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


def test_a_vaes_rows_are_ordered_by_the_kl_it_logged(vae_run, drawn, tmp_path, monkeypatch, capsys):
    seen = []
    draw = figures.draw_traversal
    monkeypatch.setattr(figures, "draw_traversal", lambda traversal: seen.append(traversal) or draw(traversal))

    assert zoo.cli.run(["traverse", "vae", str(vae_run), "--out", str(tmp_path / "t.png"), "--steps", "3"]) == 0

    kl = json.loads((vae_run / "metrics.jsonl").read_text().splitlines()[-1])["kl"]
    assert seen[0].dimensions == tuple(sorted(range(3), key=lambda i: -kl[i]))
    assert seen[0].kl == tuple(sorted(kl, reverse=True))
    assert (tmp_path / "t.png").is_file()
