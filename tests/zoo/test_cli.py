"""The command line: data on stdout, one line for each failure, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ZOO
from zoo.run import RunDirectory
from zoo.specs import KINDS

TRAIN = ("train", "ibgan", "--dataset", "dsprites", "--steps", "1")
QUICK = ("--set", "factorvae.votes=20", "--set", "factorvae.variance_images=256")


MISBEHAVING = """
def fails(model, data, seed=0):
    raise ArithmeticError("two\\nlines")
def interrupted(model, data, seed=0):
    raise KeyboardInterrupt
"""


@pytest.fixture
def misbehaving(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("modules")
    (folder / "misbehaving_metrics.py").write_text(MISBEHAVING)
    monkeypatch.syspath_prepend(folder)


def test_no_arguments_is_a_request_for_help(cli: Callable[..., Any]) -> None:
    outcome = cli()
    assert (outcome.code, outcome.out) == (2, "")
    assert "Usage: zoo [OPTIONS] COMMAND" in outcome.err
    assert "error" not in outcome.err


def test_the_version(cli: Callable[..., Any]) -> None:
    from importlib.metadata import version

    assert cli("--version").out == f"zoo, version {version('ibgan-plugin')}\n"


def test_it_is_a_module_too() -> None:
    asked = [[sys.executable, "-m", "zoo", "--version"], [*ZOO, "--version"]]
    module, command = (subprocess.run(words, capture_output=True, text=True, check=True) for words in asked)
    assert module.stdout == command.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_listing_a_kind(cli: Callable[..., Any], kind: str) -> None:
    outcome = cli("list", kind, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    entries = json.loads(outcome.out)[kind]
    names = [entry["name"] for entry in entries]
    assert names == sorted(names)
    assert all({"name", "summary", "target", "plugin"} <= entry.keys() for entry in entries)
    table = cli("list", kind).out
    assert all(f" {name} " in table for name in names)


def test_listing_all(cli: Callable[..., Any]) -> None:
    listed = json.loads(cli("list", "--json").out)
    assert list(listed) == list(KINDS)
    names = {kind: {entry["name"] for entry in entries} for kind, entries in listed.items()}
    assert {"gan", "ibgan", "infogan"} <= names["models"]
    assert {"dsprites", "color_dsprites"} <= names["datasets"]
    assert {"factorvae", "mi_bounds", "mig"} <= names["metrics"]
    assert {"adversarial"} <= names["trainers"]


def test_what_a_dataset_needs(cli: Callable[..., Any], tmp_path: Path) -> None:
    outcome = cli("data", "info", "color_dsprites", "--json", "--data-root", tmp_path / "data")
    told = json.loads(outcome.out)
    assert (told["name"], told["ready"]) == ("color_dsprites", False)
    assert not (tmp_path / "data").exists()
    assert "color_dsprites" in cli("data", "info", "color_dsprites").out


def test_scores_as_json_and_as_a_table(cli: Callable[..., Any], run_copy: Path) -> None:
    words = ["eval", "ibgan", run_copy, "--metrics", "factorvae, mi_bounds", *QUICK, "--set", "mi_bounds.num=100"]
    outcome = cli(*words, "--seed", "5", "--json")
    assert outcome.code == 0
    document = json.loads(outcome.out)
    assert list(document) == ["model", "checkpoint", "step", "dataset", "seed", "metrics", "errors"]
    assert document["checkpoint"] == str(run_copy / "checkpoints" / "step-00000006")
    assert (document["model"], document["step"], document["dataset"]) == ("ibgan", 6, "dsprites")
    assert (document["seed"], document["errors"]) == (5, {})
    assert list(document["metrics"]) == ["factorvae", "mi_bounds"]
    for result in document["metrics"].values():
        assert {"score", "protocol"} <= result.keys()
    assert document["metrics"]["factorvae"]["protocol"]["votes"] == 20
    (record,) = map(json.loads, (run_copy / "evaluations.jsonl").read_text().splitlines())
    assert record.pop("settings") == {
        "factorvae": {"votes": 20, "variance_images": 256},
        "mi_bounds": {"num": 100},
    }
    assert record.pop("seconds") > 0
    assert record == document

    table = cli(*words, "--seed", "5")
    assert table.code == 0
    assert f"ibgan on dsprites, step 6 of {run_copy}; seed of the metrics 5\n" in table.out
    assert ", with votes=20, variance_images=256" in " ".join(table.out.split())
    assert f" {document['metrics']['mi_bounds']['score']:.4g} " in table.out
    row = next(line for line in table.out.splitlines() if line.strip().startswith("factorvae"))
    assert " 0.8 " in row  # what Table 1 of the paper reports
    assert len((run_copy / "evaluations.jsonl").read_text().splitlines()) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", [["list", "models"], ["list", "models", "--json"]])
def test_a_full_disk_under_stdout_is_told(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "zoo", *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "error: stdout cannot be written: No space left on device\n")


def test_one_failing_metric_costs_its_own_score_only(
    cli: Callable[..., Any], run_copy: Path, misbehaving: None
) -> None:
    metrics = ["--metrics", "misbehaving_metrics:fails,mi_bounds", "--set", "mi_bounds.num=100"]
    outcome = cli("eval", "ibgan", run_copy, *metrics, "--json")
    assert outcome.code == 1
    document = json.loads(outcome.out)
    assert list(document["metrics"]) == ["mi_bounds"]
    assert document["errors"] == {"misbehaving_metrics:fails": "ArithmeticError: two lines"}
    assert outcome.err.splitlines() == ["error: misbehaving_metrics:fails: ArithmeticError: two lines"]
    table = cli("eval", "ibgan", run_copy, *metrics)
    assert table.code == 1
    assert "mi_bounds" in table.out
    assert table.err == outcome.err


def test_an_interrupt_where_nothing_is_to_be_saved(cli: Callable[..., Any], run_copy: Path, misbehaving: None) -> None:
    outcome = cli("eval", "ibgan", run_copy, "--metrics", "misbehaving_metrics:interrupted")
    assert (outcome.code, outcome.out, outcome.err.strip()) == (130, "", "interrupted")
    assert not (run_copy / "evaluations.jsonl").exists()


def test_what_had_finished_before_an_interrupt_is_recorded(
    cli: Callable[..., Any], run_copy: Path, misbehaving: None
) -> None:
    metrics = "mi_bounds,misbehaving_metrics:interrupted,misbehaving_metrics:fails"
    outcome = cli("eval", "ibgan", run_copy, "--metrics", metrics, "--set", "mi_bounds.num=100")
    assert (outcome.code, outcome.out) == (130, "")
    record = json.loads((run_copy / "evaluations.jsonl").read_text())
    assert (list(record["metrics"]), record["errors"]) == (["mi_bounds"], {})
    assert f"finished before that: mi_bounds {record['metrics']['mi_bounds']['score']}" in outcome.err


def test_a_configuration_keeps_the_sources_of_its_values(
    cli: Callable[..., Any], run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # or the words are wrapped
    words = ("train", "ibgan", "--config", run_copy / "config.json")
    (row,) = [line for line in cli(*words, "--dry-run").out.splitlines() if line.split()[:1] == ["loss.beta"]]
    assert row.strip().endswith("--config (Table 7 (Figures 4 and 8: 0.212))")


def test_a_run_directory_is_chosen_where_none_is_named(
    cli: Callable[..., Any], small_words: tuple[str, ...], drawn: Path
) -> None:
    for number in (1, 2):
        outcome = cli(*TRAIN, *small_words)
        assert outcome.out == f"runs/ibgan-dsprites-00{number}\n"
        assert RunDirectory(Path(outcome.out.strip())).steps() == [1]
        assert outcome.err.startswith("training ibgan on dsprites: steps 1 to 1 in runs/ibgan-dsprites-00")


# In a process of its own.


def test_a_reader_that_went_away_is_no_failure_to_tell(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start("list", "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(60) in (0, 1)
    assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("words", "stream", "code"),
    [
        (("eval", "ibgan", "nowhere", "--metrics", "mig"), "stderr", 1),
        (("list", "modls"), "stderr", 2),
        (("list", "models"), "stdout", 1),
    ],
)
def test_a_closed_pipe_does_not_change_the_exit_code(words: tuple[str, ...], stream: str, code: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    streams: dict[str, int] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | {stream: writer}
    try:
        assert subprocess.run([*ZOO, *words], stdin=subprocess.DEVNULL, check=False, **streams).returncode == code
    finally:
        os.close(writer)
