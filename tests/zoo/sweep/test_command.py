"""`zoo sweep` on the command line: what it lists, prints, writes and refuses."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoo.run import RunDirectory
from zoo.sweep.cost import Cost, total
from zoo.sweep.plan import Plan

pytest.importorskip("submitit")

QUICK = {"factorvae": {"votes": 20, "variance_images": 256}}


def test_a_dry_run_lists_and_invents_nothing(
    cli: Callable[..., Any], tiny_spec: Callable[..., Path], tmp_path: Path
) -> None:
    spec = tiny_spec(models=["ibgan", "vae"], seeds=[0, 1], metrics=["mi_bounds"])
    outcome = cli("sweep", spec, "--dry-run", "--out", "sweep")
    assert outcome.code == 0
    rows = [line.split() for line in outcome.out.splitlines() if "-seed=" in line]
    assert rows == [
        ["ibgan-dsprites-seed=0", "3", "unknown", "unknown"],
        ["vae-dsprites-seed=0", "3", "unknown", "unknown"],
        ["ibgan-dsprites-seed=1", "3", "unknown", "unknown"],
        ["vae-dsprites-seed=1", "3", "unknown", "unknown"],
    ]
    assert "4 runs, 0 of them finished; 12 steps left\n" in outcome.out
    assert "--measure trains a few steps of each" in outcome.err
    assert "vae: no setting model.ndf, left out there" in outcome.err
    assert not (tmp_path / "sweep").exists()
    document = json.loads(cli("sweep", spec, "--dry-run", "--out", "sweep", "--json").out)
    assert document["seconds"] is None
    assert [(run["name"], run["training_seconds"]) for run in document["runs"]] == [(row[0], None) for row in rows]


def test_what_all_runs_cost(plan: Callable[..., Plan]) -> None:
    run = plan().runs[0]
    found = [Cost(run, 100, 50.0, 10.0, "x"), Cost(run, 0, 0.0, 0.0, "", done=True), Cost(run, 7, 20.0, None, "x")]
    assert total(found, 2) == "3 runs, 1 of them finished; 107 steps left, 1:10 of training"
    assert total(found[:2], 2).endswith("0:50 of training; 1:00 with 2 at a time, if they are then as fast as measured")
    assert total([*found, Cost(run, 5, None, None, "")], 1).endswith("1:10 of training for 2 runs, unknown for 1")
    assert total(found[1:2], 1) == "1 runs, 1 of them finished; 0 steps left"


def test_from_the_file_to_the_table(
    cli: Callable[..., Any], one_thread: None, drawn: Path, tiny_spec: Callable[..., Path], tmp_path: Path
) -> None:
    spec = tiny_spec(models=["ibgan", "gan"], seeds=[0, 1], metrics=["factorvae"], settings={"log_every": 1})
    words = ["--set", "factorvae.votes=20", "--set", "factorvae.variance_images=256", "--executor", "debug"]
    outcome = cli("sweep", spec, *words)
    assert outcome.code == 0, outcome.err
    folder = tmp_path / "runs" / "tiny"
    assert outcome.out.splitlines()[-1] == "runs/tiny"
    assert {entry.name for entry in folder.iterdir()} <= {
        "jobs", "runs", "results.json", "results.md", "sweep.json", "sweep.lock"
    }  # fmt: skip
    document = json.loads((folder / "results.json").read_text())
    for group in document["groups"]:
        scores = []
        for seed in (0, 1):
            run = RunDirectory(folder / "runs" / f"{group['model']}-dsprites-seed={seed}")
            (record,) = run.records("evaluations.jsonl")
            assert record["settings"] == QUICK
            scores.append(record["metrics"]["factorvae"]["score"])
        assert group["scores"] == {"0": scores[0], "1": scores[1]}
        assert group["mean"] == pytest.approx(sum(scores) / 2)
        assert group["paper"] == {"ibgan": 0.8, "gan": 0.4}[group["model"]]
        row = next(line for line in outcome.out.splitlines() if line.strip().startswith(group["model"]))
        assert f"{group['mean']:.3f} ± {group['deviation']:.3f} (2)" in row
        assert row in outcome.out
    page = (folder / "results.md").read_text()
    assert page.startswith("# tiny\n\n| model | dataset | metric |")
    note = document["notes"][0]
    assert note.startswith("in the place of the presets' settings and the metrics' own: steps=3, model.ngf=4, ")
    assert note.endswith("factorvae.votes=20, factorvae.variance_images=256; the paper's scores are of its own")
    assert f"\n\n- {note}\n" in page
    assert note in outcome.err
    # The runs are runs like all others.
    quick = ("--metrics", "mi_bounds", "--set", "mi_bounds.num=50")
    assert cli("eval", "ibgan", folder / "runs/ibgan-dsprites-seed=0", *quick).code == 0
    # The same again has nothing to do, and says the same.
    again = cli("sweep", spec, *words, "--json")
    assert (again.code, json.loads(again.out)) == (0, document)
    # Its rates are known now.
    grown = tiny_spec(models=["ibgan", "gan"], seeds=[0, 1, 7], steps=100, metrics=["factorvae"])
    listed = json.loads(cli("sweep", grown, *words[:4], "--dry-run", "--json").out)
    assert len(listed["runs"]) == 6
    assert all(run["training_seconds"] > 0 and run["evaluation_seconds"] > 0 for run in listed["runs"])
    assert [run["steps_left"] for run in listed["runs"]] == [97, 97, 97, 97, 100, 100]


@pytest.fixture
def finished(
    cli: Callable[..., Any],
    tiny_spec: Callable[..., Path],
    plan: Callable[..., Plan],
    hand_made: Callable[..., RunDirectory],
    evaluation: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., str]:
    """Ask for a sweep that others have finished, each run with a result of a metric; return all that is printed."""

    def make(metric: str, results: Sequence[dict[str, Any]], **document: Any) -> str:
        asked = {"metrics": [metric]} | document
        for run, result in zip(plan(**asked).runs, results, strict=True):
            record = evaluation(3, metric, None, metrics={metric: {"score": 1.0, "protocol": {}} | result})
            hand_made(tmp_path / "sweep" / "runs" / run.name, run.config, step=3, evaluations=[record])
        monkeypatch.setattr(sys, "stderr", sys.stdout)  # as on a terminal
        outcome = cli("sweep", tiny_spec(**asked), "--out", "sweep")
        assert outcome.code == 0, outcome.out
        return outcome.out

    return make


def test_what_a_file_sets_is_said_where_the_paper_has_no_value_too(
    finished: Callable[..., str], tmp_path: Path
) -> None:
    told = "in the place of the presets' settings and the metrics' own: steps=3, model.ngf=4, model.ndf=4, batch_size=4"
    out = finished("factorvae", [{}], grid={"loss.beta": [0.5]})
    assert out.index("1.000 (1)") < out.index(f"\n{told}\n")
    assert f"\n\n- {told}\n" in (tmp_path / "sweep" / "results.md").read_text()


def test_what_a_metric_says_against_its_scores_is_said_once_below_the_table(
    finished: Callable[..., str], tmp_path: Path
) -> None:
    few, dead = "64 images are fewer than the 2048 features", "no dimension\nis active"
    results = [{"caveats": [few]}, {"caveats": [few], "reason": dead}, {"caveats": [few, 3], "reason": None}]
    out = finished("mi_bounds", results, seeds=[0, 1, 2])
    page = (tmp_path / "sweep" / "results.md").read_text()
    for told in (f"mi_bounds: {few}", "mi_bounds: no dimension is active (ibgan-dsprites-seed=1)"):
        assert out.index("1.000 ± 0.000 (3)") < out.index(f"\n{told}\n")
        assert (out.count(told), page.count(f"\n- {told}\n")) == (1, 1)
    assert "mi_bounds: 3" not in page


def test_runs_of_other_images_are_told(
    cli: Callable[..., Any], one_thread: None, tiny_spec: Callable[..., Path], tmp_path: Path
) -> None:
    faces, page = tmp_path / "faces", tmp_path / "sweep" / "results.md"
    faces.mkdir()
    for number in range(3):
        Image.fromarray(np.full((64, 64, 3), 30 * number, np.uint8)).save(faces / f"{number}.png")

    def warnings(*words: str, data: str = "data", **document: Any) -> list[str]:
        spec = tiny_spec(datasets=["image_folder"], settings={"dataset.source": "faces"}, **document)
        outcome = cli("sweep", spec, "--out", "sweep", "--executor", "debug", "--data-root", data, *words)
        assert outcome.code == 0, outcome.err
        return [line for line in outcome.err.splitlines() if line.startswith("warning: ")]

    assert warnings(seeds=[0, 1]) == []
    assert warnings(seeds=[0, 1]) == []
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(faces / "1.png")
    assert "faces has changed since its 3 images were prepared" in warnings(seeds=[0, 1])[0]
    assert cli("data", "prepare", "image_folder", "--set", "source=faces", "--data-root", "data").code == 0
    told = warnings("--dry-run", seeds=[0, 1, 2])
    for seed, line in enumerate(told):
        name = f"ibgan-image_folder-seed={seed}"
        assert re.fullmatch(
            rf"warning: {name} was trained on other images of image_folder, '3 with hash (\w+)'; here are "
            rf"'3 with hash (?!\1)\w+' now; remove sweep/runs/{name} to have it trained on them",
            line,
        )
        assert line.removeprefix("warning: ") not in page.read_text()
    assert len(told) == 2
    assert warnings(seeds=[0, 1, 2]) == told  # the third is of these
    assert all(f"- {line.removeprefix('warning: ')}\n" in page.read_text() for line in told)
    # One is trained anew. The other goes on with these: it was trained on others all the same.
    shutil.rmtree(tmp_path / "sweep" / "runs" / "ibgan-image_folder-seed=0")
    assert warnings(seeds=[0, 1, 2], steps=4)[:1] == told[1:]
    assert warnings(seeds=[0, 1, 2], steps=4) == told[1:]
    # Nothing is prepared to compare it.
    assert warnings("--dry-run", seeds=[0, 1, 2], steps=4, data="empty") == []
    assert not (tmp_path / "empty").exists()


def test_a_sweep_refuses_another_ones_folder(
    cli: Callable[..., Any], one_thread: None, drawn: Path, tiny_spec: Callable[..., Path]
) -> None:
    assert cli("sweep", tiny_spec(), "--executor", "debug", "--out", "s").code == 0
    for words in ((), ("--dry-run",)):
        outcome = cli("sweep", tiny_spec(settings={"model.ngf": 8}), "--executor", "debug", "--out", "s", *words)
        assert outcome.code == 2
        assert "s holds another sweep: ibgan-dsprites-seed=0 has model.ngf 4 there and 8 here" in outcome.error


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["nowhere.toml"], 2, "there is no nowhere.toml; name a TOML file"),
        (["SPEC", "--measure"], 2, "--measure belongs to --dry-run"),
        (["SPEC", "--jobs", "0"], 2, "0 is not in the range"),
        (["SPEC", "--executor", "pbs"], 2, "'pbs' is not one of 'local', 'slurm', 'debug'"),
        (["SPEC", "--set", "x"], 2, "--set 'x': expected key=value"),
        (["SPEC", "--set", "loss.bta=1"], 2, "unknown setting 'loss.bta'; did you mean 'loss.beta'"),
        (["SPEC", "--set", "loss.beta=-1"], 2, "ibgan on dsprites: loss.beta=-1: input should be greater"),
        (["SPEC", "--set", "loss=no_such_module:Loss"], 1, "cannot import no_such_module:Loss"),
        (["SPEC", "--out", "SPEC/x"], 1, "cannot write "),
        ([], 2, "Missing argument 'SPEC'"),
    ],
)
def test_what_is_wrong_is_one_line(
    cli: Callable[..., Any], tiny_spec: Callable[..., Path], words: list[str], code: int, told: str
) -> None:
    spec = str(tiny_spec())
    outcome = cli("sweep", *(word.replace("SPEC", spec) for word in words))
    assert (outcome.code, told in outcome.error) == (code, True), outcome.err


def test_a_dry_run_needs_no_submitit(
    cli: Callable[..., Any], tiny_spec: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert cli("sweep", tiny_spec(), "--dry-run").code == 0
    outcome = cli("sweep", tiny_spec())
    assert outcome.code == 2
    assert outcome.error.endswith("not installed: pip install 'ibgan-plugin[cluster]'")
