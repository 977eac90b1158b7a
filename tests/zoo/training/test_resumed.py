"""A resumed run goes on bit for bit from its newest whole checkpoint, and from nothing that is not its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zoo
from tests.processes import content
from tests.zoo.training.small_runs import IMAGES, log
from zoo.checkpoint import sha256_of
from zoo.errors import CheckpointError, UsageError, ZooError
from zoo.run import RunDirectory


def test_resuming_changes_nothing(train: Callable[..., RunDirectory], trained: Path, tmp_path: Path) -> None:
    for steps in (1, 3, 6):
        train(tmp_path / "run", resume=True, seed=3, steps=steps, log_every=1)
    assert RunDirectory(tmp_path / "run").steps() == [1, 3, 6]
    assert list(RunDirectory(tmp_path / "run").config.made_by) == ["from step 1", "from step 2", "from step 4"]
    assert content(tmp_path / "run", 6) == content(trained, 6)
    assert log(tmp_path / "run") == log(trained)


@pytest.mark.parametrize("file", ["model.safetensors", "trainer.safetensors", "state.json"])
def test_resuming_goes_on_from_the_newest_whole_checkpoint(
    train: Callable[..., RunDirectory], trained: Path, run_copy: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    damaged = run_copy / "checkpoints" / "step-00000006" / file
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:100] + bytes([whole[100] ^ 4]) + whole[101:])
    (run_copy / "checkpoints" / "step-00000004" / file).unlink()
    train(run_copy, resume=True, seed=3, steps=6, log_every=1)
    assert content(run_copy, 6) == content(trained, 6)
    assert log(run_copy) == log(trained)
    told = capsys.readouterr().err
    assert "steps 3 to 6" in told
    assert told.count("warning: ") == 2


def test_a_damaged_checkpoint_takes_no_whole_ones_place(
    train: Callable[..., RunDirectory], run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = run_copy / "checkpoints" / "step-00000006" / "model.safetensors"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:100] + bytes([whole[100] ^ 4]) + whole[101:])
    run = train(run_copy, resume=True, seed=3, steps=5, log_every=1, keep=1)
    assert run.steps() == [5]
    assert (run_copy / "checkpoints" / "damaged-step-00000006" / "model.safetensors").is_file()
    newest = run.newest()
    assert newest is not None
    assert newest.step == 5


def test_auto_is_the_precision_that_the_run_was_begun_with(train: Callable[..., RunDirectory], run_copy: Path) -> None:
    run = train(run_copy, resume=True, seed=3, steps=7, log_every=1, precision="auto")
    assert run.config.precision == "fp32"
    with pytest.raises(UsageError, match=r"^the run to resume has precision=fp32, not bf16; leave it out, or begin"):
        train(run_copy, resume=True, seed=3, steps=8, log_every=1, precision="bf16")


def test_a_run_is_resumed_without_naming_its_dataset(cli: Callable[..., Any], drawn: Path, run_copy: Path) -> None:
    """As the line says that a signal leaves behind: --resume --out RUN."""
    words = ["train", "ibgan", "--resume", "--out", run_copy, "--data-root", drawn]
    assert cli(*words, "--steps", "7").out == f"{run_copy}\n"
    assert RunDirectory(run_copy).steps()[-1] == 7
    document = json.loads((run_copy / "config.json").read_text())
    (run_copy / "config.json").write_text(json.dumps(document | {"dataset": "somebodys:code"}))
    told = "unknown dataset 'somebodys:code'; there are: "
    outcome = cli(*words, "--steps", "8")
    assert (outcome.code, outcome.error.startswith(told)) == (2, True)
    assert outcome.error.endswith("type the name yourself, a dataset's as --dataset)")


def test_a_run_is_resumed_without_naming_its_dataset_from_python_too(
    drawn: Path, run_copy: Path, tmp_path: Path
) -> None:
    run = zoo.train("ibgan", out=run_copy, steps=7, resume=True, data_root=drawn)
    assert run.steps()[-1] == 7
    with pytest.raises(UsageError, match=r"^zoo.train\('ibgan'\) needs a dataset, or resume=True and out= a run that"):
        zoo.train("ibgan", out=tmp_path / "none", resume=True)


def test_the_files_of_a_run_that_is_finished_can_be_named_anew(
    train: Callable[..., RunDirectory], misbehaving: Path, tmp_path: Path
) -> None:
    for name in ("here", "there"):
        (tmp_path / name).touch()
    run = train(tmp_path / "run", "misbehaving:from_a_file", steps=1, **{"dataset.file": str(tmp_path / "here")})
    (tmp_path / "here").unlink()
    before = content(run.path, 1)
    train(run.path, "misbehaving:from_a_file", resume=True, steps=1, **{"dataset.file": str(tmp_path / "there")})
    assert run.config.settings["dataset"] == {"file": str(tmp_path / "there")}
    assert (list(run.config.made_by), content(run.path, 1)) == (["from step 1"], before)


def test_resuming_a_run_that_was_not_begun_begins_it(train: Callable[..., RunDirectory], tmp_path: Path) -> None:
    assert train(tmp_path / "new", IMAGES, resume=True, steps=1).steps() == [1]


def test_other_images_than_before_are_told(
    train: Callable[..., RunDirectory], run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((run_copy / "config.json").read_text())
    made = config["made_by"]["from step 1"]
    assert (made["data"], made["images"].partition(" ")[0]) == ("737,280 images, drawn", "737,280")
    made["images"] = "737,280 with hash 0123"
    (run_copy / "config.json").write_text(json.dumps(config))
    train(run_copy, resume=True, seed=3, steps=7, log_every=1)
    assert "images '737,280 with hash 0123' before and '737,280 with hash " in capsys.readouterr().err


# Refusals.


def logs(run: Path) -> list[bytes]:
    return [(run / name).read_bytes() for name in ("metrics.jsonl", "evaluations.jsonl") if (run / name).exists()]


@pytest.mark.parametrize("scored", [True, False])
def test_checkpoints_that_are_gone_are_no_reason_to_begin_anew(
    train: Callable[..., RunDirectory], run_copy: Path, scored: bool
) -> None:
    """Whether the log says that there were some, or what `zoo eval` recorded."""
    if scored:
        (run_copy / "evaluations.jsonl").write_text('{"step": 2, "checkpoint": "it", "metrics": {}}\n')
        (run_copy / "metrics.jsonl").unlink()
    shutil.rmtree(run_copy / "checkpoints")
    before = logs(run_copy)
    with pytest.raises(CheckpointError, match=r"has no checkpoint any more; put its checkpoints/ back, or begin a new"):
        train(run_copy, resume=True, seed=3, steps=7)
    assert logs(run_copy) == before != []


def test_damaged_checkpoints_are_no_reason_to_begin_anew(train: Callable[..., RunDirectory], run_copy: Path) -> None:
    for weights in run_copy.glob("checkpoints/*/model.safetensors"):
        weights.write_bytes(b"?")
    before = logs(run_copy)
    with pytest.raises(CheckpointError, match=r"was at step 6 and has no whole checkpoint; put its checkpoints/ back"):
        train(run_copy, resume=True, seed=3, steps=7)
    assert logs(run_copy) == before != []


def test_what_was_asked_of_a_checkpoint_that_is_damaged_is_kept(
    train: Callable[..., RunDirectory], run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f'{{"step": {step}, "checkpoint": "it", "metrics": {{}}}}\n' for step in (4, 6)]
    own = '{"step": 6, "metrics": {}}\n'
    (run_copy / "evaluations.jsonl").write_text("".join([*lines, own]))
    (run_copy / "checkpoints" / "step-00000006" / "model.safetensors").unlink()
    train(run_copy, resume=True, seed=3, steps=6, log_every=1)
    assert (run_copy / "evaluations.jsonl").read_text() == lines[0]
    assert (run_copy / "damaged-evaluations.jsonl").read_text() == lines[1]
    assert "1 evaluations of steps after 4 are in" in capsys.readouterr().err


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(
    train: Callable[..., RunDirectory], run_copy: Path, trained: Path
) -> None:
    shutil.rmtree(run_copy / "checkpoints")
    first = (run_copy / "metrics.jsonl").read_bytes().splitlines(keepends=True)[0]
    (run_copy / "metrics.jsonl").write_bytes(first)
    train(run_copy, resume=True, seed=3, steps=6, log_every=1)
    assert content(run_copy, 6) == content(trained, 6)
    assert log(run_copy) == log(trained)


def test_a_checkpoint_of_another_version_is_not_taken_for_a_damaged_one(
    train: Callable[..., RunDirectory], run_copy: Path
) -> None:
    newest = run_copy / "checkpoints" / "step-00000006" / "state.json"
    state = json.loads(newest.read_text()) | {"format": 2}
    newest.write_text(json.dumps(state | {"sha256": sha256_of(state)}))
    before = logs(run_copy)
    with pytest.raises(CheckpointError, match=r"step-00000006 has checkpoint format 2, this version reads 1$"):
        train(run_copy, resume=True, seed=3, steps=7)
    assert (logs(run_copy), RunDirectory(run_copy).steps()) == (before, [2, 4, 6])


def test_a_checkpoint_is_no_run_to_go_on_with(
    train: Callable[..., RunDirectory], run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = run_copy / "checkpoints" / "step-00000002"
    before = sorted(path.name for path in step.iterdir())
    monkeypatch.chdir(step)
    for out in (step, Path()):
        with pytest.raises(UsageError, match=rf"is a checkpoint, not a run; go on with .* --out {run_copy}$"):
            train(out, resume=True, steps=9)
    assert sorted(path.name for path in step.iterdir()) == before


def test_a_run_is_not_begun_in_another(train: Callable[..., RunDirectory], run_copy: Path, trained: Path) -> None:
    with pytest.raises(UsageError, match="holds a run already; go on with --resume, or choose another --out"):
        train(run_copy, steps=1)
    assert content(run_copy, 6) == content(trained, 6)
    assert (run_copy / "config.json").read_bytes() == (trained / "config.json").read_bytes()


def test_weights_of_another_model_are_refused(train: Callable[..., RunDirectory], run_copy: Path) -> None:
    other = train(run_copy.parent / "other", seed=3, steps=1, **{"model.ngf": 8})
    shutil.copytree(other.path / "checkpoints" / "step-00000001", run_copy / "checkpoints" / "step-00000009")
    with pytest.raises(ZooError, match=r"step-00000009 holds another model's weights: .*expected .*\(and \d+ more\)"):
        train(run_copy, resume=True, seed=3, steps=10, log_every=1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(
    train: Callable[..., RunDirectory], run_copy: Path, value: float
) -> None:
    """A checkpoint that is whole, of whatever wrote it: its hashes are those of its files."""
    run = RunDirectory(run_copy)
    newest = run.newest()
    assert newest is not None
    weights = newest.weights()
    weights["generator.0.weight"][0, 0] = value
    run.save(6, weights, newest.tensors("trainer.safetensors"), newest.state["trainer"])
    told = r"step-00000006 holds weights that are not finite: generator\.0\.weight$"
    with pytest.raises(CheckpointError, match=told):
        train(run_copy, resume=True, seed=3, steps=7)
    with pytest.raises(CheckpointError, match=told):
        zoo.load("ibgan", run_copy, device="cpu")
