"""`zoo reproduce`: small versions of the tables and figures, from the command to the files."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoo.run import RunDirectory

pytest.importorskip("submitit")

Reproduce = Callable[..., tuple[int, str, str]]

TINY = [
    "--set",
    "model.ngf=4",
    "--set",
    "model.ndf=4",
    "--set",
    "batch_size=4",
    "--device",
    "cpu",
    "--executor",
    "debug",
]
QUICK = ["--set", "factorvae.votes=20", "--set", "factorvae.variance_images=256"]


def scores(folder: Path, metric: str, key: str = "score") -> list[Any]:
    """The scores in the evaluations of all runs in a folder, by their names."""
    records = [RunDirectory(run).records("evaluations.jsonl")[-1] for run in sorted(folder.glob("runs/*"))]
    return [record["metrics"][metric][key] for record in records if metric in record["metrics"]]


def test_table_1(reproduce: Reproduce, one_thread: None, drawn: Path, tmp_path: Path) -> None:
    words = ["--steps", 3, "--seeds", 2, "--models", "vae,ibgan", "--datasets", "dsprites"]
    code, out, err = reproduce("table1", *words, *TINY, *QUICK)
    assert code == 0, err
    document = json.loads((tmp_path / "runs" / "table1" / "results.json").read_text())
    assert [(entry["model"], entry["dataset"], entry["paper"]) for entry in document["entries"]] == [
        ("ibgan", "dsprites", 0.8),
        ("vae", "dsprites", 0.61),
    ]
    found = scores(tmp_path / "runs" / "table1", "factorvae")  # ibgan 0 and 1, vae 0 and 1
    for entry, (first, second) in zip(document["entries"], (found[:2], found[2:]), strict=True):
        assert entry["mean"] == pytest.approx((first + second) / 2)
        assert entry["deviation"] == pytest.approx(abs(first - second) / 2**0.5)
        assert (entry["num_seeds"], entry["steps"]) == (2, [3])
    assert "trained for 3 steps each, not for those of the presets" in document["notes"]
    assert any("factorvae.votes=20" in note for note in document["notes"])
    assert err.splitlines()[-len(document["notes"]) :] == document["notes"]
    rows = [line.split() for line in out.splitlines() if line.strip().startswith(("ibgan", "vae"))]
    assert [(row[0], row[-1]) for row in rows] == [("ibgan", "0.8"), ("vae", "0.61")]
    page = (tmp_path / "runs" / "table1" / "results.md").read_text()
    assert page.startswith("# Table 1: FactorVAE score\n\n| model | dsprites | paper |\n")
    assert "- trained for 3 steps each" in page


def test_table_2_where_nothing_of_it_is_here(reproduce: Reproduce, tmp_path: Path) -> None:
    code, out, err = reproduce("table2", "--data-root", tmp_path / "data")
    assert code == 1
    row = next(line.split() for line in out.splitlines() if line.strip().startswith("ibgan"))
    assert row == ["ibgan", "missing", "7.4", "missing", "25.5"]
    assert err.splitlines() == [
        f"error: missing: {name}: it is not on this machine; zoo data info {name} says what to fetch"
        for name in ("celeba", "chairs3d")
    ]
    assert not (tmp_path / "runs").exists()
    document = json.loads(reproduce("table2", "--data-root", tmp_path / "data", "--json")[1])
    assert set(document["missing"]) == {"celeba", "chairs3d"}
    assert all(entry["missing"] and entry["paper"] for entry in document["entries"])


@pytest.fixture
def chairs_in_place_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """3D Chairs is there: a few images of noise that need no file."""
    from zoo.testing import tiny_images

    monkeypatch.setattr("ibgan_plugin.adapters.chairs3d.info", lambda data_root: {"missing": []})
    monkeypatch.setattr("ibgan_plugin.adapters.chairs3d.chairs3d", tiny_images)


def test_table_2_without_the_network_of_fid(
    reproduce: Reproduce,
    one_thread: None,
    chairs_in_place_of_files: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is missing costs its own columns: the runs that can be trained are."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    words = ["--steps", 2, "--seeds", 1, "--models", "gan", "--data-root", tmp_path / "data"]
    code, out, err = reproduce("table2", *words, *TINY, "--set", "fid.num_images=64")
    assert code == 0, err
    assert next(line.split() for line in out.splitlines() if line.strip().startswith("gan")) == [
        "gan", "missing", "8.4", "missing", "27.9"
    ]  # fmt: skip
    assert "missing: celeba: it is not on this machine" in err
    assert "missing: fid: the Inception weights are not on this machine" in err
    assert err.count("missing: fid: ") == 1  # before the runs, not below the table again
    assert "trained for 2 steps each" in err
    (run,) = (tmp_path / "runs" / "table2" / "runs").iterdir()
    assert RunDirectory(run).steps() == [2]
    page = (tmp_path / "runs" / "table2" / "results.md").read_text()
    assert "- missing: celeba: " in page
    assert "- missing: fid: " in page


@pytest.mark.slow
def test_figure_3(reproduce: Reproduce, one_thread: None, drawn: Path, tmp_path: Path) -> None:
    words = ["--steps", 2, "--seeds", 2, "--set", "mi_bounds.num=50"]
    code, out, err = reproduce("fig3", *words, *TINY, *QUICK)
    assert code == 0, err
    folder = tmp_path / "runs" / "fig3"
    entries = json.loads((folder / "results.json").read_text())["entries"]
    assert [entry["beta"] for entry in entries] == [0, 0.1, 0.141, 0.2, 0.212, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
    for entry in entries:
        assert entry["seeds"] == [0, 1]
        for kl, upper in zip(entry["kl"], entry["mi_upper"], strict=True):
            assert kl == sorted(kl, reverse=True)
            assert sum(kl) == pytest.approx(upper, rel=1e-4)
    row = next(line.split() for line in out.splitlines() if line.strip().startswith("0.141"))
    assert row[2] == f"{statistics.fmean(entries[2]['mi_lower']):.3f}"
    for ending, magic in (("png", b"\x89PNG"), ("pdf", b"%PDF")):
        assert (folder / f"fig3.{ending}").read_bytes().startswith(magic)


def test_figure_4(
    reproduce: Reproduce, one_thread: None, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", sys.stdout)  # as on a terminal
    code, out, _ = reproduce("fig4", "--steps", 4, *TINY, *QUICK)
    assert code == 0, out
    below = out.partition("Figure 4: ")[2].partition("ibgan-dsprites-seed=0")[2]
    assert "\ntrained for 4 steps each, not for those of the presets\n" in below
    assert "\nwith other settings than the presets and the paper's protocol: model.ngf=4, " in below
    folder = tmp_path / "runs" / "fig4"
    (entry,) = json.loads((folder / "results.json").read_text())["entries"]
    records = RunDirectory(folder / "runs" / "ibgan-dsprites-seed=0").records("evaluations.jsonl")
    curve = [record["metrics"]["factorvae"]["score"] for record in records]
    assert [record["step"] for record in records] == [1, 2, 3, 4]
    assert (entry["last"], entry["last_step"], entry["best"]) == (curve[-1], 4, max(curve))
    assert entry["best_step"] == 1 + curve.index(max(curve))
    assert (folder / "fig4-ibgan-dsprites-seed=0.png").read_bytes().startswith(b"\x89PNG")
    assert "fig4-ibgan-dsprites-seed=0.pdf" in out


def test_a_dry_run(reproduce: Reproduce, tmp_path: Path) -> None:
    code, out, _ = reproduce("table1", "--dry-run", "--seeds", 1)
    assert code == 0
    assert "14 runs, 0 of them finished; 4,050,000 steps left" in out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["table3"], "'table3' is not one of 'table1', 'table2', 'fig3', 'fig4'"),
        (["table1", "--models", "vea"], "unknown model of table1 'vea'; did you mean 'vae'"),
        (["table1", "--seeds", "0"], "0 is not in the range"),
    ],
)
def test_what_is_wrong_is_one_line(reproduce: Reproduce, words: list[str], told: str) -> None:
    code, out, err = reproduce(*words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert told in err
    assert len(err.splitlines()) == 1
