"""The command line: data on stdout, one line for each failure, exit codes, and nothing heavy before it is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.processes import ZOO
from zoo.run import RunDirectory
from zoo.specs import KINDS

IMPORT = ["convert", "checkpoint", "FILE", "--from", "ibgan_authors", "--out", "x"]
TRAIN = ("train", "ibgan", "--dataset", "dsprites", "--steps", "1")
QUICK = ("--set", "factorvae.votes=20", "--set", "factorvae.variance_images=256")
HEAVY = {"torch", "torchvision", "numpy", "scipy", "sklearn", "pandas", "h5py", "PIL", "matplotlib", "safetensors"}
HEAVY |= {"submitit", "filelock"}

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


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        # names
        (["train", "ibgann", "--dataset", "dsprites"], 2, "unknown model 'ibgann'; did you mean 'ibgan'"),
        (["train", "ibgan", "--dataset", "dsprite"], 2, "unknown dataset 'dsprite'; did you mean 'dsprites'"),
        ([*TRAIN, "--preset", "paper"], 2, "unknown preset 'paper'; there are: celeba, chairs3d, color_dsprites, demo"),
        ([*TRAIN, "--set", "loss=ibgn"], 2, "unknown loss 'ibgn'; did you mean 'ibgan'"),
        ([*TRAIN, "--set", "trainer=x"], 2, "unknown trainer 'x'; there are: adversarial"),
        ([*TRAIN, "--set", "loss.bta=1"], 2, "unknown setting 'loss.bta'; did you mean 'loss.beta'"),
        (["eval", "ibgann", "RUN", "--metrics", "mig"], 2, "unknown model 'ibgann'; did you mean 'ibgan'"),
        (["eval", "ibgan", "RUN", "--metrics", "mgi"], 2, "unknown metric 'mgi'; did you mean 'mig'"),
        (["eval", "ibgan", "RUN", "--metrics", ","], 2, "no metric named; try --metrics factorvae"),
        (["eval", "ibgan", "pretrained:best", "--metrics", "mig"], 2, "unknown pretrained ibgan 'best'"),
        (["data", "info", "dsprite"], 2, "unknown dataset 'dsprite'; did you mean 'dsprites'"),
        (["data", "prepare", "dsprite"], 2, "unknown dataset 'dsprite'; did you mean 'dsprites'"),
        (["convert", "dataset", "dsprites", "--to", "npzz", "--out", "x"], 2, "unknown converter 'npzz'"),
        (["trian"], 2, "unknown command 'trian'; did you mean 'train'"),
        (["list", "model"], 2, "'model' is not one of 'models', "),
        ([*TRAIN, "--set", "loss=no_such_module:Loss"], 1, "cannot import no_such_module:Loss: No module named"),
        # values
        ([*TRAIN, "--set", "model.ngf=2"], 2, "model.ngf=2: input should be greater than or equal to 4"),
        ([*TRAIN, "--set", "loss.beta"], 2, "--set 'loss.beta': expected key=value"),
        ([*TRAIN, "--set", "loss.beta"], 2, "such as --set loss.beta=0.2"),
        ([*TRAIN, "--set", "zdim=3"], 2, "unknown setting 'zdim'; did you mean 'model.z_dim'?"),
        (["train", "vae", "--dataset", "dsprites", "--set", "loss.beta=3"], 2, "'loss.beta'; loss has no settings"),
        (["train", "ibgan", "--dataset", "dsprites", "--steps", "0"], 2, "0 is not in the range x>=1"),
        (["train", "ibgan", "--dataset", "dsprites", "--steps", "x"], 2, "'x' is not a valid integer"),
        ([*TRAIN, "--seed", "-1"], 2, "-1 is not in the range"),
        ([*TRAIN, "--precision", "fp8"], 2, "'fp8' is not one of 'auto', 'fp32', 'bf16'"),
        ([*TRAIN, "--device", "tpu"], 2, "unknown device 'tpu'; there are: auto, cpu, cuda, cuda:N, mps"),
        ([*TRAIN, "--device", "cpu:3"], 2, "unknown device 'cpu:3'; there are: auto, cpu, cuda, cuda:N, mps"),
        ([*TRAIN, "--set", "steps=4"], 2, "--steps and --set steps=... are both given; leave one out"),
        ([*TRAIN, "--save-every", "2", "--set", "save_every=2"], 2, "--save-every and --set save_every=... are both"),
        ([*TRAIN, "--device", "cuda:99"], 2, "device 'cuda:99' is not there: torch sees "),
        ([*TRAIN, "--epochs", "3"], 2, "No such option"),
        (["train", "ibgan"], 2, "Missing option '--dataset'; see zoo train --help"),
        (
            ["train", "ibgan", "--resume", "--out", "nowhere"],
            2,
            "nowhere is no run to go on with; see zoo train --help",
        ),
        (["train"], 2, "Missing argument 'MODEL'; see zoo train --help"),
        (["eval", "ibgan", "RUN"], 2, "Missing option '--metrics'"),
        (
            ["eval", "ibgan", "RUN", "--metrics", "mig", "--set", "mig.num_train=0"],
            2,
            "mig.num_train=0: input should be",
        ),
        (["eval", "ibgan", "RUN", "--metrics", "mig", "--set", "mig.x=0"], 2, "unknown setting 'mig.x'"),
        (["eval", "ibgan", "RUN", "--metrics", "mig", "--set", "num_train=9"], 2, "expected NAME.KEY=VALUE"),
        (
            ["eval", "ibgan", "RUN", "--metrics", "mig", "--set", "sap.num_train=9"],
            2,
            "settings for 'sap', which is not",
        ),
        (["sample", "ibgan", "RUN", "--num", "0", "--out", "x.png"], 2, "0 is not in the range"),
        (["convert", "checkpoint", "RUN", "--out", "x"], 2, "give either --to or --from"),
        ([*IMPORT, "--to", "disentanglement_lib"], 2, "give either --to or --from"),
        ([*IMPORT, "--set", "dataset"], 2, "--set 'dataset': expected key=value, such as --set dataset=celeba"),
        ([*IMPORT, "--set", "data=x"], 2, "unknown setting 'data'; did you mean 'dataset'"),
        # checkpoints
        (["eval", "ibgan", "nowhere", "--metrics", "mig"], 1, "nowhere does not exist; name a run directory or a"),
        (
            ["eval", "ibgan", "FOLDER", "--metrics", "mig"],
            1,
            "is neither a run directory (config.json) nor a checkpoint",
        ),
        (
            ["eval", "ibgan", "FILE", "--metrics", "mig"],
            1,
            "is no weights file: it does not begin as a safetensors file",
        ),
        (["eval", "gan", "RUN", "--metrics", "mig"], 2, "holds a model 'ibgan', not 'gan'; name it instead"),
        (["sample", "gan", "RUN", "--out", "x.png"], 2, "holds a model 'ibgan', not 'gan'; name it instead"),
        (["sample", "ibgan", "nowhere", "--out", "x.png"], 1, "nowhere does not exist"),
        (["traverse", "ibgan", "nowhere", "--out", "x.png"], 1, "nowhere does not exist"),
        ([*TRAIN, "--config", "nowhere.json"], 1, "nowhere.json is missing"),
        ([*TRAIN, "--config", "FILE"], 1, "is not JSON"),
        ([*TRAIN, "--out", "RUN"], 2, "holds a run already; go on with --resume, or choose another --out"),
        ([*TRAIN, "--resume"], 2, "--resume needs --out, the run to go on with"),
        ([*TRAIN, "--resume", "--out", "RUN", "--config", "x"], 2, "leave --config out"),
        ([*TRAIN, "--resume", "--out", "RUN", "--seed", "9"], 2, "the run to resume has seed=3, not 9; leave it out"),
        (["train", "gan", "--dataset", "dsprites", "--resume", "--out", "RUN"], 2, "has model 'ibgan', not 'gan'"),
        # folders that cannot be written
        ([*TRAIN, "--out", "FILE/run"], 1, "cannot write "),
        (
            [*TRAIN, "--data-root", "FILE/data", "--out", "new"],
            1,
            "name a folder that can be written and has room with",
        ),
        (["data", "prepare", "dsprites", "--data-root", "FILE/data"], 1, "cannot write "),
        (["sample", "ibgan", "RUN", "--num", "2", "--out", "FILE/x.png"], 1, "cannot write "),
    ],
    ids=lambda value: " ".join(value[-4:]) if isinstance(value, list) else None,
)
def test_bad_input_is_one_line(
    cli: Callable[..., Any], trained: Path, tmp_path: Path, words: list[str], code: int, told: str
) -> None:
    (tmp_path / "file").write_text("not a checkpoint")
    (tmp_path / "folder").mkdir()
    places = {"RUN": str(trained), "FILE": str(tmp_path / "file"), "FOLDER": str(tmp_path / "folder")}
    for name, place in places.items():
        words = [word.replace(name, place) for word in words]
    outcome = cli(*words)
    assert outcome.code == code, outcome.err
    assert told in outcome.error
    assert outcome.err.splitlines()[-1] == f"error: {outcome.error}"
    assert {entry.name for entry in tmp_path.iterdir()} <= {"file", "folder", "new", "runs"}
    assert not (tmp_path / "new" / "config.json").exists()


@pytest.mark.parametrize("file", ["model.safetensors", "state.json"])
def test_a_damaged_checkpoint_that_is_named_is_one_line(cli: Callable[..., Any], run_copy: Path, file: str) -> None:
    checkpoint = run_copy / "checkpoints" / "step-00000006"
    content = bytearray((checkpoint / file).read_bytes())
    content[-10] ^= 1
    (checkpoint / file).write_bytes(content)
    outcome = cli("eval", "ibgan", checkpoint, "--metrics", "mig")
    assert outcome.code == 1
    assert str(checkpoint / file) in outcome.error
    older = cli("eval", "ibgan", run_copy, "--metrics", "mi_bounds", "--set", "mi_bounds.num=50", "--json")
    assert json.loads(older.out)["step"] == 4
    assert older.err.startswith("warning: passed over: ")


def test_a_truncated_official_file_is_one_line(cli: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "data" / "dsprites"
    folder.mkdir(parents=True)
    file = folder / "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
    np.savez_compressed(file, imgs=np.zeros((8, 64, 64), np.uint8))
    file.write_bytes(file.read_bytes()[:-200])
    for words in (["data", "prepare", "dsprites"], [*TRAIN, "--out", "run"]):
        outcome = cli(*words, "--data-root", tmp_path / "data")
        assert outcome.code == 1
        assert str(file) in outcome.error
    assert not (tmp_path / "run" / "config.json").exists()


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


@pytest.mark.parametrize("option", ["--out", "--data-root"])
def test_an_empty_path_is_not_the_current_folder(cli: Callable[..., Any], tmp_path: Path, option: str) -> None:
    outcome = cli("train", "ibgan", "--dataset", "dsprites", "--steps", "1", option, "")
    assert (outcome.code, list(tmp_path.iterdir())) == (2, [])
    assert f"Invalid value for '{option}': the path is empty; write it out, or leave the option away" in outcome.err


@pytest.mark.parametrize("debug", ["", "0", "1"])
def test_the_traceback_is_shown_when_asked_for(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, debug: str
) -> None:
    monkeypatch.setenv("ZOO_DEBUG", debug)
    outcome = cli("eval", "ibgan", "nowhere", "--metrics", "mig")
    assert outcome.code == 1
    assert ("Traceback (most recent call last)" in outcome.err) == (debug == "1")
    assert outcome.err.splitlines()[-1].startswith("error: nowhere does not exist")


def test_a_bug_is_one_line_too(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, kind: str) -> list[str]:
        raise LookupError("a bug\nin two lines")

    monkeypatch.setattr("zoo.registry.Registry.names", broken)
    outcome = cli("plugins")
    assert (outcome.code, outcome.error) == (1, "LookupError: a bug in two lines (ZOO_DEBUG=1 shows where)")


# What it prints.


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


def imported_by(*words: str, code: int = 0) -> set[str]:
    program = (
        "import io, contextlib, sys\n"
        "from zoo.cli import run\n"
        "with contextlib.redirect_stdout(io.StringIO()): code = run(sys.argv[1:])\n"
        f"assert code == {code}\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    command = [sys.executable, "-c", program, *words]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    ("words", "light"),
    [
        (["--help"], ["pydantic", "rich"]),
        (["train", "--help"], ["pydantic", "rich"]),
        (["eval", "--help"], ["pydantic", "rich"]),
        (["sample", "--help"], ["pydantic", "rich"]),
        (["list"], ["pydantic"]),
        (["list", "--json"], ["pydantic", "rich"]),
        (["list", "metrics"], ["pydantic"]),
        (["plugins"], ["pydantic"]),
        (["plugins", "--json"], ["pydantic", "rich"]),
        (["--version"], ["pydantic", "rich"]),
        (["sweep", "--help"], ["pydantic", "rich"]),
        (["reproduce", "--help"], ["pydantic", "rich"]),
    ],
    ids=" ".join,
)
def test_what_lists_and_helps_imports_nothing_heavy(words: list[str], light: list[str]) -> None:
    assert imported_by(*words) & (HEAVY | set(light)) == set()


@pytest.mark.parametrize(
    "words",
    [
        ("train", "ibgn", "--dataset", "dsprites"),
        ("train", "ibgan", "--dataset", "dsprits"),
        ("eval", "ibgn", "run", "--metrics", "mig"),
        ("eval", "ibgan", "run", "--metrics", "mgi"),
    ],
    ids=" ".join,
)
def test_a_misspelt_name_is_told_before_anything_heavy_is_imported(words: tuple[str, ...]) -> None:
    assert "torch" not in imported_by(*words, code=2)


def test_help_is_there_at_once() -> None:
    """In time of the processor, of which a busy machine takes as much."""
    script = Path(sysconfig.get_path("scripts")) / "zoo"
    nowhere = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    times = []
    for _ in range(7):
        pid = os.posix_spawn(script, [script, "--help"], os.environ, file_actions=nowhere)
        _, status, used = os.wait4(pid, 0)
        assert status == 0
        times.append(used.ru_utime + used.ru_stime)
        if min(times) < 0.4:
            break
    assert min(times) < 0.4


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
