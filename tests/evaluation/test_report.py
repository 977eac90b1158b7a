"""The page of `zoo report`, taken apart again: what it shows, against the runs and the models it was made of."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from ibgan_plugin.evaluation import figures
from ibgan_plugin.evaluation.bases import encoded, one_per_value
from ibgan_plugin.evaluation.report import write_report
from zoo.errors import CheckpointError, UsageError, ZooError

SMALL = {"images": 4, "steps": 5, "device": "cpu"}
VOID = {"meta", "link", "img", "input", "br", "hr"}


class Element:
    """One element of a page: its name, its attributes, its children, and all the text in it."""

    def __init__(self, name: str, attributes: dict[str, str | None]) -> None:
        self.name, self.attributes, self.children = name, attributes, []
        self.texts: list[str] = []

    @property
    def text(self) -> str:
        return " ".join(" ".join(part if isinstance(part, str) else part.text for part in self.texts).split())

    def all(self, name: str, class_: str | None = None) -> list[Element]:
        found = []
        for child in self.children:
            if child.name == name and (class_ is None or class_ in (child.attributes.get("class") or "").split()):
                found.append(child)
            found += child.all(name, class_)
        return found

    def one(self, name: str, class_: str | None = None) -> Element:
        (found,) = self.all(name, class_)
        return found


class Page(HTMLParser):
    """A strict reader: what is opened is closed, in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]
        self.feed(path.read_text("utf-8"))
        assert self.open == [self.root], [element.name for element in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        assert len(element.attributes) == len(attrs), f"an attribute twice in {tag}"
        self.open[-1].children.append(element)
        self.open[-1].texts.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].name == tag, f"</{tag}> closes <{self.open[-1].name}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].texts.append(data)

    def section(self, id_: str) -> Element:
        (found,) = (section for section in self.root.all("section") if section.attributes.get("id") == id_)
        return found


@pytest.fixture(scope="module")
def alone(ibgan_run: Path, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of the IB-GAN run."""
    out = tmp_path_factory.mktemp("page") / "page.html"
    return Page(write_report([ibgan_run], out, data_root=drawn, **SMALL))


@pytest.fixture(scope="module")
def together(ibgan_run: Path, vae_run: Path, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of the IB-GAN run and the VAE's, which has no score."""
    out = tmp_path_factory.mktemp("page") / "page.html"
    return Page(write_report([ibgan_run, vae_run], out, data_root=drawn, **SMALL))


@pytest.fixture
def report(tmp_path: Path, drawn: Path) -> Callable[..., Page]:
    """Make a page of runs and read it."""

    def make(*runs: Path, **options: Any) -> Page:
        path = write_report(runs, tmp_path / "page.html", **(SMALL | {"data_root": drawn} | options))
        assert path == tmp_path / "page.html"
        return Page(path)

    return make


def picture(image: Element) -> np.ndarray:
    """The pixels of an <img>."""
    start, content = image.attributes["src"].split(",", 1)
    assert start == "data:image/webp;base64"
    opened = Image.open(io.BytesIO(base64.b64decode(content)))
    assert (str(opened.width), str(opened.height)) == (image.attributes["width"], image.attributes["height"])
    return np.asarray(opened.convert("RGBA"))


def rows_of(table: Element) -> list[list[str]]:
    return [[cell.text for cell in row.children] for row in table.all("tr")]


def test_nothing_in_the_page_names_an_address(together):
    page = together

    def attributes(element: Element) -> list[tuple[str, str]]:
        own = [(name, value or "") for name, value in element.attributes.items()]
        return own + [pair for child in element.children for pair in attributes(child)]

    for name, value in attributes(page.root):
        if name in ("src", "href", "action", "data", "srcset", "poster", "xlink:href"):
            assert value.startswith(("data:", "#")), (name, value)
        assert not name.startswith("on")  # no script in an attribute
    for code in (page.root.one("style").text, page.root.all("script")[-1].text):
        assert not re.search(r"url\(|@import|https?:|fetch\(|XMLHttp|import\(|src\s*=", code)


def test_the_policy_allows_this_style_and_this_script_and_pictures_within(alone):
    page = alone

    policies = [m.attributes["content"] for m in page.root.all("meta") if "http-equiv" in m.attributes]
    allowed = dict(part.strip().split(" ", 1) for part in policies[0].split(";"))
    assert allowed["default-src"] == "'none'"
    assert allowed["img-src"] == "data:"
    for directive, element in (("style-src", page.root.one("style")), ("script-src", page.root.all("script")[-1])):
        content = "".join(part for part in element.texts if isinstance(part, str))
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert allowed[directive] == f"'sha256-{digest}'"


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


def test_without_the_dataset_the_page_says_so_and_starts_from_generated_images(report, gan_run, tmp_path):
    run, _ = gan_run

    page = report(run, data_root=tmp_path / "empty")

    remarks = [remark.text for remark in page.root.all("p", "remark")]
    assert len(remarks) == 1
    assert remarks[0].startswith("no real images: ")
    assert [label.text for label in page.root.one("fieldset").all("label")] == [f"generated {i}" for i in (1, 2, 3)]
    assert len(page.section("images").all("img")) == 1


def test_one_checkpoint_of_a_run_can_be_shown(report, ibgan_run):
    page = report(ibgan_run / "checkpoints" / "step-00000002")

    assert "4 of 4 steps; pictures of step 2" in page.root.text
    assert "ibgan run" in page.root.one("h1").text


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


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`{{ 7*7 }}"


def test_what_a_runs_files_hold_stays_text(report, copied, ibgan_run):
    run = copied(ibgan_run)
    config = json.loads((run / "config.json").read_text())
    config["made_by"] = {HOSTILE: {"versions": [HOSTILE], HOSTILE: HOSTILE}}
    config["sources"] |= {"steps": HOSTILE, "model.ngf": HOSTILE}
    config["settings"]["trainer"][HOSTILE] = HOSTILE
    config["preset"] = HOSTILE
    (run / "config.json").write_text(json.dumps(config))
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 5, HOSTILE: 1.0, "mi_lower": HOSTILE, "kl": [HOSTILE]}) + "\n")
    result = {"score": 0.9, "protocol": {HOSTILE: HOSTILE}, HOSTILE: 1, "reason": HOSTILE}
    record = {"step": 5, "seed": HOSTILE, "metrics": {HOSTILE: result}, "errors": {HOSTILE: HOSTILE}}
    with (run / "evaluations.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n" + json.dumps(record | {"step": 6}) + "\n")
    hostile_run = run.rename(run.parent / HOSTILE.replace("/", "∕"))

    page = report(hostile_run)

    assert len(page.root.all("script")) == 3  # the values of the sliders, the data of the charts, and the page's own
    assert all(image.attributes["src"].startswith("data:image/webp;base64,") for image in page.root.all("img"))
    assert page.root.text.count("alert(1)") > 10
    assert "{{ 7*7 }}" in page.root.text
    titles = [figure.one("figcaption").text for figure in page.root.all("figure", "chart")]
    assert any("alert(1)" in title for title in titles)


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


def test_a_name_in_a_file_is_never_imported(report, copied, ibgan_run, tmp_path, monkeypatch):
    (tmp_path / "dangerous.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    run = copied(ibgan_run)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"model": "dangerous:Model", "dataset": "dangerous:data"}))

    page = report(run)

    assert "unknown model 'dangerous:Model'" in page.section("traversals").text


def test_a_dataset_given_by_its_import_path_is_opened_where_a_person_types_it(
    report, copied, ibgan_run, vae_run, tmp_path, monkeypatch
):
    (tmp_path / "own_data.py").write_text("from ibgan_plugin.adapters.dsprites import dsprites as sprites\n")
    monkeypatch.syspath_prepend(tmp_path)
    run = copied(ibgan_run)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"dataset": "own_data:sprites"}))

    (unopened,) = report(run).root.all("p", "remark")
    assert "type the name yourself" in unopened.text

    page = report(run, vae_run, dataset="own_data:sprites")  # the other run's is a registered one
    assert not page.root.all("p", "remark")
    assert [h3.text for h3 in page.section("images").all("h3")][:2] == ["Real: own_data:sprites", "Real: dsprites"]
    assert len(page.section("images").all("img")) == 6

    with pytest.raises(UsageError, match="no run here was trained on 'chairs3d', but on 'own_data:sprites' or 'dspr"):
        report(run, vae_run, dataset="chairs3d")


def test_a_part_that_fails_costs_that_part_only(report, ibgan_run, monkeypatch, capsys):
    monkeypatch.setattr(figures, "reconstructions", lambda *_: 1 / 0)

    page = report(ibgan_run)

    assert [remark.text for remark in page.root.all("p", "remark")] == [
        "no reconstructions: ZeroDivisionError: division by zero"
    ]
    assert "warning: ibgan run: no reconstructions: ZeroDivisionError" in capsys.readouterr().err
    assert len(page.root.all("figure", "dimension")) == 10


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


def test_runs_of_one_name_are_told_apart_by_their_paths(report, copied, ibgan_run, monkeypatch):
    copy = copied(ibgan_run)

    page = report(ibgan_run, copy)

    names = [card.one("h2").text for card in page.root.one("section", "runs").all("article")]
    assert names == [f"A {ibgan_run}", f"B {copy}"]


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
