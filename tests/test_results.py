"""What docs/results.md says is what the runs' evaluations say."""

from __future__ import annotations

import json
import re
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hidden_codes import correlations, hidden_codes, largest_spots

from ibgan_plugin.evaluation.plugin import zoo_metrics
from ibgan_plugin.pretrained import DSPRITES

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
ROW = re.compile(
    r"^\| \[(.+?)\]\((.+?)\) \|.*\| ([\d,]+) \| \*\*([\d.]+)\*\* \| ([\d.]+) \| (\d+) \| (\S+) \|$", re.MULTILINE
)
TEXT = PAGE.read_text(encoding="utf-8")
ROWS = ROW.findall(TEXT)
TABLE = "results/table1-2000-steps.jsonl"
PRETRAINED = "results/pretrained-dsprites.jsonl"
DEMO = "results/demo.jsonl"
HIDDEN = "results/hidden-codes.jsonl"
SECOND = "results/second-ibgan-dsprites.jsonl"
PARTS = ("whole", "sprite", "background")
DATASETS = ("dsprites", "color_dsprites")
PUBLISHED = next(spec.published for spec in zoo_metrics() if spec.name == "factorvae")  # the paper's Table 1
LOGGED = re.compile(r"\[I\^([UL]), nats\]\((results/log-.+?)\)")
CURVE = re.compile(r"\[\w+\]\((results/curve-.+?)\)")


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


TABLES = re.findall(r"(?:^\|.*\n)+", TEXT, re.MULTILINE)
ROWS_OF_TABLES = [(header, row) for header, _, *rows in (table.splitlines() for table in TABLES) for row in rows]
# (file, {step: value as shown}) of every row of a table whose columns are steps.
CURVES = [
    (found[1], dict(zip(cells(header), cells(row), strict=True)))
    for header, row in ROWS_OF_TABLES
    if (found := CURVE.search(row))
]
LOGS = [
    (found[2], {"U": "mi_upper", "L": "mi_lower"}[found[1]], dict(zip(cells(header), cells(row), strict=True)))
    for header, row in ROWS_OF_TABLES
    if (found := LOGGED.search(row))
]


def test_there_are_results() -> None:
    files = {path.relative_to(PAGE.parent).as_posix() for path in (PAGE.parent / "results").glob("*.jsonl")}
    assert {
        TABLE,
        PRETRAINED,
        DEMO,
        HIDDEN,
        SECOND,
        *(file for file, _ in CURVES),
        *(file for file, *_ in LOGS),
        *(file for _, file, *_ in ROWS),
    } == files


@pytest.mark.parametrize(("file", "shown"), CURVES)
def test_a_curve_is_what_its_file_says(file: str, shown: dict[str, str]) -> None:
    records = map(json.loads, (PAGE.parent / file).read_text(encoding="utf-8").splitlines())
    found = {f"{record['step']:,}": record["metrics"]["factorvae"] for record in records}
    scores = {step: cell for step, cell in shown.items() if step[0].isdecimal() and cell}
    assert scores
    for step, cell in scores.items():
        assert float(cell) == pytest.approx(found[step]["score"], abs=0.0006)
        assert found[step]["protocol"]["votes"] == 800
        assert found[step]["protocol"]["variance_images"] in (10_000, 737_280)


def test_what_is_said_of_seeds() -> None:
    def records(file: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (PAGE.parent / file).read_text(encoding="utf-8").splitlines()]

    def of_seed(seed: int) -> float:
        curve = "" if seed < 3 else "curve-"
        (at_5000,) = (r for r in records(f"results/{curve}ibgan-dsprites-seed{seed}.jsonl") if r["step"] == 5000)
        assert (at_5000["model"], at_5000["seed"] if curve else 0) == ("ibgan", seed if curve else 0)
        return float(at_5000["metrics"]["factorvae"]["score"])

    section = TEXT.partition("### How much a seed decides")[2].partition("\n### ")[0]
    _, _, ours, second = (cells(line)[1:] for line in re.findall(r"^\|.*", section, re.MULTILINE))
    scores = [of_seed(seed) for seed in range(10)]
    theirs = [record["score"] for record in records(SECOND) if record["step"] == 5000]
    assert len(theirs) == 6
    for shown, found in ((ours, scores), (second, theirs)):
        assert [float(cell) for cell in shown if cell] == pytest.approx(found, abs=0.0006)
        mean, deviation = statistics.mean(found), statistics.stdev(found)
        assert f"has {mean:.2f} ± {deviation:.2f} in {'ten' if found is scores else 'six'} seeds" in section


@pytest.mark.parametrize(("file", "quantity", "shown"), LOGS)
def test_what_was_logged_is_what_its_file_says(file: str, quantity: str, shown: dict[str, str]) -> None:
    records = map(json.loads, (PAGE.parent / file).read_text(encoding="utf-8").splitlines())
    found = {f"{record['step']:,}": f"{record[quantity]:.1f}" for record in records}
    assert found == {step: cell for step, cell in shown.items() if step[0].isdecimal() and cell}


def test_other_metrics_are_what_the_files_say() -> None:
    section = TEXT.partition("## Other metrics")[2].partition("\n## ")[0]
    header, _, *rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in re.findall(r"^\|.*", section, re.MULTILINE)
    ]
    assert len(rows) >= 2
    for name, steps, *cells in rows:
        file = PAGE.parent / re.search(r"\((.+)\)", name)[1]
        record = json.loads(file.read_text(encoding="utf-8").splitlines()[-1])
        assert record["step"] == int(steps.replace(",", ""))
        for metric, cell in zip(header[2:], cells, strict=True):
            if cell == "–":
                assert metric not in record["metrics"]
            else:
                assert float(cell) == pytest.approx(record["metrics"][metric]["score"], abs=0.0005), (name, metric)


def test_what_is_said_of_the_demo() -> None:
    records = map(json.loads, (PAGE.parent / DEMO).read_text(encoding="utf-8").splitlines())
    without, with_it = (record["metrics"]["factorvae"]["score"] for record in records)
    assert f"scores {without:.0f} without it and {with_it:.2f} with it" in " ".join(TEXT.split())


def test_what_is_said_of_the_weights_that_ship() -> None:
    (record,) = map(json.loads, (PAGE.parent / PRETRAINED).read_text(encoding="utf-8").splitlines())
    found = record["metrics"]["factorvae"]
    assert f"**{found['score']}** ({found['eval_accuracy']} on fresh votes" in " ".join(TEXT.split())
    assert (record["checkpoint"], found["num_active_dims"]) == ("pretrained:dsprites", 4)


@pytest.mark.parametrize(("name", "file", "steps", "score", "on_fresh_votes", "active", "paper"), ROWS)
def test_a_row_is_what_its_file_says(name, file, steps, score, on_fresh_votes, active, paper):
    records = map(json.loads, (PAGE.parent / file).read_text(encoding="utf-8").splitlines())
    (record,) = [r for r in records if r["step"] == int(steps.replace(",", ""))]
    found = record["metrics"]["factorvae"]
    is_the_papers = "turned" not in name  # that run's weights were changed on the way
    assert paper == (f"{PUBLISHED[record['model'], record['dataset']]:.2f}" if is_the_papers else "–")
    assert (float(score), float(on_fresh_votes)) == (found["score"], found["eval_accuracy"])
    assert int(active) == found["num_active_dims"]
    assert found["protocol"]["votes"] == 800 and found["protocol"]["variance_images"] == 737_280


def test_the_table_is_what_the_runs_say() -> None:
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    for record in map(json.loads, (PAGE.parent / TABLE).read_text(encoding="utf-8").splitlines()):
        found = record["metrics"]["factorvae"]
        assert (record["step"], found["protocol"]["votes"], found["protocol"]["variance_images"]) == (
            2000,
            800,
            737_280,
        )
        scores[record["model"], record["dataset"]].append(found["score"])
    cells = r" \| ([\d.]+ ± [\d.]+ \(2\)) \| ([\d.]+)"
    shown = re.findall(rf"^\| (\w+){cells}{cells} \|$", TEXT, re.MULTILINE)
    assert len(shown) == 7 and len(scores) == 14
    for model, *of_datasets in shown:
        for dataset, cell, paper in zip(DATASETS, of_datasets[::2], of_datasets[1::2], strict=True):
            of_seeds = scores[model, dataset]
            assert cell == f"{statistics.mean(of_seeds):.3f} ± {statistics.stdev(of_seeds):.3f} ({len(of_seeds)})"
            assert float(paper) == PUBLISHED[model, dataset], (model, dataset)


def test_what_is_said_of_less_noise() -> None:
    """Five seeds, and the runs of the paper's preset that went as far."""
    steps = 10_000
    less = [score_at(f"curve-ibgan-dsprites-noise50{seed}.jsonl", steps) for seed in ("", 1, 2, 3, 4)]
    names = ("curve-ibgan-dsprites", "curve-ibgan-dsprites-long", "ibgan-dsprites-seed0-fp32", "ibgan-dsprites-seed1")
    preset = sorted(score_at(f"{name}.jsonl", steps) for name in names)
    spread = f"{statistics.mean(less):.2f} ± {statistics.stdev(less):.2f}"
    told = f"scores are {spread}, where four runs of the paper's preset have {preset[0]:.2f} to {preset[-1]:.2f}"
    assert told in " ".join(TEXT.split())
    assert spread in DSPRITES.with_suffix(".md").read_text(encoding="utf-8")


def test_what_is_said_of_the_long_run_after_its_end() -> None:
    told = re.search(r"resumed for 20,000 steps more, the run scored ([\d.]+), ([\d.]+), ([\d.]+) and ([\d.]+)", TEXT)
    for step, score in zip((155_000, 160_000, 165_000, 170_000), told.groups(), strict=True):
        assert float(score) == pytest.approx(score_at("curve-ibgan-dsprites-long.jsonl", step), abs=0.0006)


def score_at(file: str, step: int) -> float:
    records = map(json.loads, (PAGE.parent / "results" / file).read_text(encoding="utf-8").splitlines())
    (score,) = [record["metrics"]["factorvae"]["score"] for record in records if record["step"] == step]
    return score


def test_what_is_said_of_the_paper() -> None:
    text = " ".join(TEXT.split())
    gan, infogan, ibgan = (f"{PUBLISHED[model, 'dsprites']:.2f}" for model in ("gan", "infogan", "ibgan"))
    assert f"Of *gan* and *infogan* the paper reports {gan} and {infogan} at the end" in text
    assert f"the paper's is {ibgan})" in text


def test_where_the_codes_are() -> None:
    records = [json.loads(line) for line in (PAGE.parent / HIDDEN).read_text(encoding="utf-8").splitlines()]
    section = TEXT.partition("## Where the codes are")[2].partition("\n## ")[0]
    rows = [cells(line) for line in re.findall(r"^\| \w+ \| [\d,]+ \|.*", section, re.MULTILINE)]
    assert len(rows) == len(records) >= 4
    for (name, steps, shown), record in zip(rows, records, strict=True):
        assert (name, steps) == (record["run"].partition(":")[0], f"{record['step']:,}")
        read = enumerate(zip(*map(record.get, PARTS), strict=True))
        active = {i: parts for i, (whole, *parts) in read if whole is not None and abs(whole) > 0.1}
        told = re.findall(r"r(\d+) (-?[\d.]+|–) / (-?[\d.]+|–)", shown)
        assert {int(i): [None if part == "–" else float(part) for part in parts] for i, *parts in told} == active
        assert min(record["whole"][i] for i in active) >= 0.96


def test_the_codes_of_the_weights_that_ship_are_found_there_again() -> None:
    (shown,) = [
        record
        for record in map(json.loads, (PAGE.parent / HIDDEN).read_text(encoding="utf-8").splitlines())
        if record["run"] == "pretrained:dsprites"
    ]
    again = hidden_codes("pretrained:dsprites", shown["num"], shown["seed"])
    for part in PARTS:
        assert [r is None for r in again[part]] == [r is None for r in shown[part]]
        known = [(a, b) for a, b in zip(again[part], shown[part], strict=True) if a is not None]
        assert all(a == pytest.approx(b, abs=0.03) for a, b in known), part  # another processor rounds otherwise


def test_a_code_is_found_in_the_part_that_it_was_put_into() -> None:
    """A spot that moves, with dots far from it: the largest spot and two pixels around it are the sprite."""
    images = torch.zeros(2, 1, 64, 64)
    images[0, 0, 10:20, 30:35] = images[1, 0, 40:44, 5:9] = 1
    images[0, 0, 60, 60] = images[1, 0, 2:4, 2] = 1
    spots = largest_spots(images)
    assert spots[0].sum() == 14 * 9 - 12 and spots[0, 8, 32] and not spots[0, 7, 32]  # a margin without its corners
    assert spots[1, 42, 10] and not spots[1, 2, 2] and not spots[0, 60, 60]
    read = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    assert correlations(np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]), read) == [1.0, None]
