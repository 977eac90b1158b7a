"""The page of what is missing, damaged, failing or too large says so, and shows the rest."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
import zoo.cli
from ibgan_plugin.evaluation import figures
from ibgan_plugin.evaluation.report import write_report
from ibgan_plugin.image_model import ImageModel
from tests.evaluation.report.pages import SMALL
from zoo.errors import CheckpointError, UsageError, ZooError


def test_without_the_dataset_the_page_says_so_and_starts_from_generated_images(report, gan_run, tmp_path):
    run, _ = gan_run

    page = report(run, data_root=tmp_path / "empty")

    remarks = [remark.text for remark in page.root.all("p", "remark")]
    assert len(remarks) == 1
    assert remarks[0].startswith("no real images: ")
    assert [label.text for label in page.root.one("fieldset").all("label")] == [f"generated {i}" for i in (1, 2, 3)]
    assert len(page.section("images").all("img")) == 1


def test_images_that_were_moved_are_shown_where_a_person_says_they_are(report, gan_run, vae_run, tmp_path):
    run, root = gan_run
    moved = Path(shutil.copytree(root / "image_folder", tmp_path / "moved"))

    page = report(run, data_root=tmp_path / "empty", places={"source": moved})

    assert not page.root.all("p", "remark")
    assert len(page.section("images").all("img")) == 3  # real ones, samples and reconstructions
    words = ["report", str(run), "--set", f"dataset.source={moved}", "--data-root", str(tmp_path / "empty")]
    assert zoo.cli.run([*words, "--out", str(tmp_path / "typed.html"), "--steps", "3"]) == 0
    with pytest.raises(UsageError, match=r"^dataset\.size is no path that may be said anew: dataset\.source$"):
        report(run, places={"size": "32"})
    with pytest.raises(UsageError, match="none of the runs has such a one"):
        report(vae_run, places={"source": moved})


def test_a_run_without_a_checkpoint_or_a_log_has_a_page_that_says_so(report, copied, ibgan_run):
    run = copied(ibgan_run)
    shutil.rmtree(run / "checkpoints")
    for file in ("metrics.jsonl", "evaluations.jsonl"):
        (run / file).unlink()

    page = report(run)

    assert "has no whole checkpoint yet" in page.section("traversals").text
    assert "Nothing yet: nothing is logged." in page.section("curves").text
    assert "Nothing yet: zoo eval adds scores." in page.section("scores").text
    assert "Nothing yet." in page.section("images").text
    assert "model.ngf" in page.section("settings").text


def test_damaged_lines_are_left_out_and_counted(report, copied, ibgan_run):
    run = copied(ibgan_run)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "mi_lo')
    with (run / "evaluations.jsonl").open("a") as file:
        file.write('[]\n{"step": 9, "metrics": [], "errors": {"dci": "too slow"}}\n{}\n')

    page = report(run)

    assert [remark.text for remark in page.root.all("p", "remark")] == [
        "1 line of metrics.jsonl could not be read, and left out",
        "2 lines of evaluations.jsonl could not be read, and left out",
    ]
    assert "failed: too slow" in page.section("scores").text


def test_a_part_that_fails_costs_that_part_only(report, ibgan_run, monkeypatch, capsys):
    monkeypatch.setattr(figures, "reconstructions", lambda *_: 1 / 0)

    page = report(ibgan_run)

    assert [remark.text for remark in page.root.all("p", "remark")] == [
        "no reconstructions: ZeroDivisionError: division by zero"
    ]
    assert "warning: ibgan run: no reconstructions: ZeroDivisionError" in capsys.readouterr().err
    assert len(page.root.all("figure", "dimension")) == 10


@pytest.mark.parametrize(
    ("method", "spoil", "missing"),
    [
        ("decode", lambda x: x * float("nan"), {"traversal", "reconstructions"}),
        ("decode", lambda x: x.expand(-1, 3, -1, -1), {"traversal", "reconstructions"}),
        ("generate", lambda x: x * 8 - 4, {"samples"}),
        ("generate", lambda x: x.expand(-1, 3, -1, -1), {"samples"}),
    ],
)
def test_what_is_no_image_is_missing_with_the_reason(report, ibgan_run, monkeypatch, method, spoil, missing):
    original = getattr(ImageModel, method)
    monkeypatch.setattr(ImageModel, method, lambda *args, **kwargs: spoil(original(*args, **kwargs)))

    page = report(ibgan_run)

    remarks = [remark.text for remark in page.root.all("p", "remark")]
    assert {remark.partition(":")[0] for remark in remarks} == {f"no {part}" for part in missing}
    assert all(f".{method} returned " in remark for remark in remarks)
    assert len(page.section("images").all("img")) == 3 - len(missing - {"traversal"})
    assert bool(page.root.all("figure", "dimension")) == ("traversal" not in missing)
    assert page.section("scores").all("table")


# No page.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "absent", "does not exist; name a run directory or a checkpoint"),
        (lambda folder: folder, "is neither a run directory"),
    ],
)
def test_what_is_no_run_is_refused_in_one_line(tmp_path, make, message):
    (tmp_path / "folder").mkdir()
    with pytest.raises(CheckpointError, match=message):
        write_report([make(tmp_path / "folder")], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_page_that_cannot_be_written_is_told(ibgan_run, drawn, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ZooError, match="cannot write"):
        write_report([ibgan_run], tmp_path / "file" / "page.html", data_root=drawn, **SMALL)


# Too much.


def test_a_log_of_very_many_names_makes_a_page_that_can_be_read(report, copied, ibgan_run):
    run = copied(ibgan_run)
    record = {"step": 5, "kl": [0.1] * 300} | {f"term {i}": 1.0 for i in range(300)}
    (run / "metrics.jsonl").write_text(json.dumps(record) + "\n")

    page = report(run)

    titles = [figure.one("figcaption").text for figure in page.root.all("figure", "chart")]
    assert "KL of each r, the largest 64 of 300 (nats)" in titles
    assert len([title for title in titles if title.startswith("term ")]) == 64


def test_frames_are_fewer_where_a_row_of_them_would_be_no_webp():
    from ibgan_plugin.evaluation.report import pictures

    class Wide:
        def decode(self, codes: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(codes), 1, 2, 4000)

    sliders = pictures.sliders(Wide(), torch.zeros(1, 1), ["a"], 21, None)

    assert sliders.values == (-3.0, -1.0, 1.0, 3.0)
    assert sliders.dimensions[0].sheet.width == 16_000


def test_pictures_of_many_colours_give_up_being_lossless_where_they_would_be_large(gan_run, monkeypatch):
    from ibgan_plugin.evaluation.report import pictures

    model = zoo.load("gan", gan_run[0], device="cpu")
    codes = model.encode(model.generate(3))
    exact = pictures.sliders(model, codes, ["a", "b", "c"], 5, None)
    monkeypatch.setattr(pictures, "_LOSSLESS_BYTES", 1000)

    smaller = pictures.sliders(model, codes, ["a", "b", "c"], 5, None)

    def sheets(sliders: pictures.Sliders) -> list[np.ndarray]:
        parts = [base64.b64decode(d.sheet.uri.split(",")[1]) for d in sliders.dimensions]
        return [np.asarray(Image.open(io.BytesIO(part)).convert("RGB")).astype(float) for part in parts]

    assert sum(len(d.sheet.uri) for d in smaller.dimensions) < sum(len(d.sheet.uri) for d in exact.dimensions)
    for a, b in zip(sheets(exact), sheets(smaller), strict=True):
        assert a.shape == b.shape
        assert np.abs(a - b).mean() < 8
