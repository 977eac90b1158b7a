"""What the page shows, against the runs and the models it was made of."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import torch

import zoo
from ibgan_plugin.evaluation import figures
from ibgan_plugin.evaluation.bases import encoded, one_per_value
from tests.evaluation.report.pages import picture, rows_of


def test_a_sliders_sheet_holds_what_the_model_decodes(alone, ibgan_run, drawn):
    page = alone

    model = zoo.load("ibgan", ibgan_run, device="cpu")
    data = zoo.load_dataset("dsprites", data_root=drawn)
    codes = encoded(model, data, one_per_value(data, "shape"))
    kl = model.mi_bounds(figures.KL_DRAWS, 0)["kl"]
    order = sorted(range(10), key=lambda i: -float(kl[i]))
    assert model.decode(codes).std(dim=0).mean() > 0.03  # the bases differ, so that their rows cannot be mixed up
    dimensions = page.root.all("figure", "dimension")
    assert [figure.one("b").text for figure in dimensions] == [f"r{i}" for i in order]
    values = json.loads(page.root.one("script", "values").text)
    assert values == [-3.0, -1.5, 0.0, 1.5, 3.0]
    for figure, i in zip(dimensions, order, strict=True):
        assert f"{float(kl[i]):.2f} nats" in figure.one("figcaption").text
        sheet = picture(figure.one("div", "strip").one("img"))
        assert sheet.shape == (3 * 64, 5 * 64, 4)
        for base in range(3):
            for frame, value in enumerate(values):
                moved = codes[base].clone()
                moved[i] = value
                expected = model.decode(moved[None])[0, 0].mul(255).round().numpy()
                found = sheet[base * 64 : base * 64 + 64, frame * 64 : frame * 64 + 64]
                # Convolutions of another batch size may round otherwise in the last bit.
                assert np.abs(found[..., 0].astype(int) - expected).max() <= 1
                assert (found[..., :3] == found[..., :1]).all()
        # Each base begins at the frame nearest to its own value.
        starts = [int(word) for word in figure.attributes["data-start"].split()]
        for base, start in enumerate(starts):
            distances = [abs(value - float(codes[base, i])) for value in values]
            assert distances[start] == min(distances)
        slider = figure.one("input")
        assert (slider.attributes["min"], slider.attributes["max"]) == ("0", "4")
        assert slider.attributes["value"] == str(starts[0])
        assert slider.attributes["aria-label"].startswith(f"r{i}, ")
    assert [label.text for label in page.root.one("fieldset").all("label")] == ["shape 0", "shape 1", "shape 2"]


def test_samples_real_images_and_reconstructions_are_the_models_and_the_datasets(report, ibgan_run, drawn):
    page = report(ibgan_run, seed=7)

    model = zoo.load("ibgan", ibgan_run, device="cpu")
    real, generated, again = (picture(figure.one("img")) for figure in page.section("images").all("figure"))
    expected = figures.image_grid(figures.to_pixels(model.generate(4, seed=7)), ground=None)
    assert np.array_equal(generated, np.asarray(expected))
    cells = [real[2 + 66 * r : 66 + 66 * r, 2 + 66 * c : 66 + 66 * c, 0] for r in range(2) for c in range(2)]
    assert all(set(np.unique(cell)) == {0, 255} for cell in cells)  # sprites are black and white
    assert again.shape == (2 * 66 + 2, 10 * 66 + 2, 4)
    for column in range(10):
        image, shown = (again[2 + 66 * r : 66 + 66 * r, 2 + 66 * column : 66 + 66 * column, 0] for r in range(2))
        tensor = torch.from_numpy(image.astype(np.float32) / 255)[None, None]
        expected = model.decode(model.encode(tensor))[0, 0].mul(255).round().numpy()
        assert np.abs(shown.astype(int) - expected).max() <= 1


def test_scores_stand_beside_the_papers_and_the_best_is_marked(alone):
    page = alone

    best, every = page.section("scores").all("table")
    assert rows_of(best)[1:] == [["factorvae", "0.5 at step 4 paper 0.8"], ["fid", "80 at step 4"]]
    header, *rows = rows_of(every)
    assert header == ["Metric", "Step", "Score", "Paper", "Protocol", "More"]
    assert [row[:4] for row in rows] == [
        ["factorvae", "2", "0.25", "0.8"],
        ["factorvae", "4", "0.5 ★ best", "0.8"],  # the first of equals
        ["factorvae", "4", "0.5", "0.8"],
        ["fid", "2", "90", "–"],
        ["fid", "4", "80 ★ best", "–"],  # lower is better
        ["fid", "4", "95", "–"],
    ]
    assert [row[5] for row in rows[:3]] == ["num_active_dims 3"] * 3
    assert "votes 300" in rows[0][4]
    assert [row.text.split()[0] for row in every.all("tr", "best")] == ["factorvae", "fid"]


def test_a_best_score_of_another_protocol_says_so(report, copied, ibgan_run):
    run = copied(ibgan_run)
    first, *_ = (run / "evaluations.jsonl").read_text().splitlines()
    asked = {"settings": {"factorvae": {"votes": 300, "samples_per_vote": 100}}}
    (run / "evaluations.jsonl").write_text(json.dumps(json.loads(first) | asked) + "\n")

    page = report(run)

    (tile, _) = page.root.one("dl", "tiles").all("div")
    assert tile.text == "factorvae 0.25 paper 0.8 with votes=300"  # 100 samples a vote are the usual ones
    best, _ = page.section("scores").all("table")
    assert rows_of(best)[1:] == [["factorvae", "0.25 at step 2 paper 0.8 with votes=300"], ["fid", "90 at step 2"]]


def test_settings_that_differ_come_first_each_value_with_its_source(together):
    page = together

    differing, lone = page.section("differences").all("table")
    rows = {row[0]: row[1:] for row in rows_of(differing)[1:]}
    assert rows["model"] == ["ibgan command line", "vae command line"]
    assert rows["seed"] == ["3 command line", "0 command line"]
    assert "batch_size" not in rows
    one_sided = {row[0]: row[1:] for row in rows_of(lone)[1:]}
    assert one_sided["loss.beta"][0].startswith("0.141 Table 7")
    assert one_sided["loss.beta"][1] == "–"
    (every,) = page.section("settings").all("table")
    keys = [row[0] for row in rows_of(every)[1:]]
    assert keys[: len(rows) + len(one_sided)] == [*rows, *one_sided]
    assert dict(zip(keys, rows_of(every)[1:], strict=True))["batch_size"][1].startswith("8 ")
    assert set(keys) > {"precision", "model.ngf", "trainer.lr_discriminator"}


def test_provenance_tells_what_made_the_run(alone, ibgan_run):
    text = alone.section("provenance").text

    made_by = json.loads((ibgan_run / "config.json").read_text())["made_by"]["from step 1"]
    assert f"versions · torch {made_by['versions']['torch']}" in text
    assert made_by["machine"] in text
    weights = ibgan_run / "checkpoints" / "step-00000004" / "model.safetensors"
    assert f"step 4, SHA-256 {hashlib.sha256(weights.read_bytes()).hexdigest()}" in text


def test_curves_hold_what_was_logged(together, ibgan_run):
    page = together

    data = json.loads(page.root.all("script")[-2].text)["charts"]
    titles = [figure.one("figcaption").text for figure in page.root.all("figure", "chart")]
    assert len(data) == len(titles)
    log = [json.loads(line) for line in (ibgan_run / "metrics.jsonl").read_text().splitlines()]
    bounds = data[titles.index("Bounds of the mutual information, A (nats)")]
    assert [line["label"] for line in bounds["lines"]] == ["I^U", "I^L"]
    assert bounds["lines"][0]["steps"] == [1, 2, 3, 4]
    np.testing.assert_allclose(bounds["lines"][0]["values"], [r["mi_upper"] for r in log], rtol=1e-3)
    each = data[titles.index("KL of each r, A (nats)")]["lines"]
    assert len(each) == 10
    assert len(data[titles.index("KL of each r, B (nats)")]["lines"]) == 3
    for line in each:
        np.testing.assert_allclose(line["values"], [r["kl"][int(line["label"][1:])] for r in log], rtol=1e-3)
    speed = data[titles.index("steps per second")]["lines"]
    assert [line["label"] for line in speed] == ["A", "B"]
    elbo = data[titles.index("elbo")]["lines"]
    assert [line["label"] for line in elbo] == ["B"]
    scored = page.root.all("figure", "chart")[titles.index("factorvae")]
    assert "paper 0.8" in scored.one("svg").attributes["aria-label"]


def test_a_vaes_dimensions_are_ordered_by_the_kl_it_logged(report, vae_run):
    page = report(vae_run)

    kl = json.loads((vae_run / "metrics.jsonl").read_text().splitlines()[-1])["kl"]
    order = sorted(range(3), key=lambda i: -kl[i])
    captions = [figure.one("figcaption").text for figure in page.root.all("figure", "dimension")]
    assert captions == [f"r{i} {kl[i]:.2f} nats" for i in order]
    assert "No score yet." in page.root.text
    assert "Nothing yet: zoo eval adds scores." in page.section("scores").text


def test_a_gan_on_photographs_has_no_kl_no_factors_and_a_page(report, gan_run):
    run, root = gan_run

    page = report(run, data_root=root)

    figures_ = page.root.all("figure", "dimension")
    assert [figure.one("figcaption").text for figure in figures_] == [f"r{i}" for i in range(32)]
    assert "The 32 of 40 dimensions that carry most." in page.section("traversals").text
    assert all(label.text.startswith("image ") for label in page.root.one("fieldset").all("label"))
    assert not page.root.all("p", "remark")
    real = picture(page.section("images").all("figure")[0].one("img"))
    assert len(np.unique(real[..., :3].reshape(-1, 3), axis=0)) > 100  # photographs in colour


def test_one_checkpoint_of_a_run_can_be_shown(report, ibgan_run):
    page = report(ibgan_run / "checkpoints" / "step-00000002")

    assert "4 of 4 steps; pictures of step 2" in page.root.text
    assert "ibgan run" in page.root.one("h1").text


def test_runs_of_one_name_are_told_apart_by_their_paths(report, copied, ibgan_run, monkeypatch):
    copy = copied(ibgan_run)

    page = report(ibgan_run, copy)

    names = [card.one("h2").text for card in page.root.one("section", "runs").all("article")]
    assert names == [f"A {ibgan_run}", f"B {copy}"]


def test_the_command_says_where_the_page_is_and_how_large(ibgan_run, drawn, tmp_path, monkeypatch, capsys):
    import zoo.cli

    monkeypatch.chdir(tmp_path)
    words = ["report", ibgan_run, ibgan_run, "--data-root", drawn, "--images", 4, "--steps", 3, "--device", "cpu"]
    words += ["--dataset", "dsprites"]

    assert zoo.cli.run([str(word) for word in words]) == 0

    out, err = capsys.readouterr()
    assert out == "report.html\n"
    assert re.search(r"^\d+\.\d MB; ", err, re.MULTILINE)
    assert Path("report.html").stat().st_size > 10_000
