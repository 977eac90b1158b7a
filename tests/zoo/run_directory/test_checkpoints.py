"""What is saved comes back whole, the newest and the spared stay, and what cannot be written leaves nothing."""

from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path

import pytest
import torch

import zoo
from tests.zoo.run_directory.small_checkpoints import names_in, some
from zoo.errors import CheckpointError, ZooError
from zoo.run import RunDirectory, find_checkpoint


def test_what_was_saved_comes_back(run: RunDirectory) -> None:
    newest = run.newest()
    assert newest is not None
    assert (newest.step, newest.path) == (3, run.path / "checkpoints" / "step-00000003")
    assert newest.state["trainer"] == {"steps_done": 3, "rate": 0.1}
    for file, expected in zip(("model.safetensors", "trainer.safetensors"), some(3), strict=True):
        found = newest.tensors(file)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        assert all(found[name].dtype == expected[name].dtype for name in expected)


def test_a_checkpoint_is_three_files_and_no_pickle(run: RunDirectory) -> None:
    folder = run.checkpoints_path / "step-00000003"
    assert {file.name for file in folder.iterdir()} == {"model.safetensors", "trainer.safetensors", "state.json"}
    for file in folder.glob("*.safetensors"):
        header = int.from_bytes(file.read_bytes()[:8], "little")
        json.loads(file.read_bytes()[8 : 8 + header])  # a length, a JSON header, then numbers: nothing to execute
    assert names_in(run) == ["step-00000001", "step-00000002", "step-00000003"]


def test_views_and_columns_are_saved_as_they_look(tmp_path: Path) -> None:
    whole = torch.arange(24.0).reshape(2, 3, 2, 2)
    tensors = {"last": whole.to(memory_format=torch.channels_last), "view": torch.arange(6.0).reshape(2, 3).T}
    run = RunDirectory(tmp_path)
    run.save(1, tensors, {}, {})
    found = run.newest().tensors("model.safetensors")  # type: ignore[union-attr]  # it was just saved
    assert torch.equal(found["last"], whole)
    assert torch.equal(found["view"], tensors["view"])


def test_tied_weights_are_saved_under_both_names(tmp_path: Path) -> None:
    encoder, decoder = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    decoder.weight = encoder.weight
    model = torch.nn.ModuleDict({"encoder": encoder, "decoder": decoder})
    RunDirectory(tmp_path).save(1, model.state_dict(), {"two": encoder.weight, "views": encoder.weight[:1]}, {})
    found = RunDirectory(tmp_path).newest()
    assert found is not None
    assert found.tensors("model.safetensors").keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in found.weights().items())
    assert torch.equal(found.tensors("trainer.safetensors")["views"], encoder.weight[:1])


def test_only_checkpoints_count_as_such(run: RunDirectory) -> None:
    for name in (".step-00000009.abc", "step-9", "step-00000009.tmp", "step-0000000x", "best"):
        shutil.copytree(run.checkpoints_path / "step-00000003", run.checkpoints_path / name)
    run.save(123_456_789, *some(4), {})
    assert run.steps() == [1, 2, 3, 123_456_789]
    assert run.newest().step == 123_456_789  # type: ignore[union-attr]  # it is there
    assert RunDirectory(run.path / "nowhere").steps() == []


def test_saving_again_replaces(run: RunDirectory) -> None:
    run.save(3, *some(30), {"again": True})
    newest = run.newest()
    assert newest is not None
    assert newest.state["trainer"] == {"again": True}
    assert torch.equal(newest.tensors("model.safetensors")["w"], some(30)[0]["w"])
    assert names_in(run) == ["step-00000001", "step-00000002", "step-00000003"]


@pytest.mark.parametrize(
    ("keep", "also", "left"),
    [
        (1, (), [5]),
        (2, (), [4, 5]),
        (2, (2,), [2, 4, 5]),
        (2, (5, None, 7), [4, 5]),
        (5, (), [1, 2, 3, 4, 5]),
        (9, (), [1, 2, 3, 4, 5]),
    ],
)
def test_the_newest_and_the_spared_stay(
    run: RunDirectory, keep: int, also: tuple[int | None, ...], left: list[int]
) -> None:
    for step in (4, 5):
        run.save(step, *some(step), {})
    run.prune(keep, *also)
    assert run.steps() == left
    assert names_in(run) == [f"step-{step:08d}" for step in left]


def test_a_checkpoint_can_be_named_in_several_ways(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = trained / "checkpoints" / "step-00000004"
    assert find_checkpoint(trained).step == 6
    assert find_checkpoint(folder).step == 4
    monkeypatch.chdir(folder)
    found = find_checkpoint(Path())
    assert (found.step, RunDirectory.of(found).config.model) == (4, "ibgan")
    monkeypatch.chdir(trained.parent)
    assert find_checkpoint(Path("run")).path == Path("run/checkpoints/step-00000006")


def test_what_is_no_checkpoint(tmp_path: Path, run: RunDirectory) -> None:
    (tmp_path / "file").write_text("text")
    for path, told in (
        (tmp_path / "nowhere", "does not exist; name a run directory or a checkpoint in one"),
        (tmp_path, r"is neither a run directory \(config.json\) nor a checkpoint \(state.json\)"),
        (tmp_path / "file", "is neither a run directory"),
        (tmp_path / "file" / "below", "does not exist"),
        (run.path, "is neither a run directory"),  # checkpoints without a configuration
    ):
        with pytest.raises(CheckpointError, match=told):
            find_checkpoint(path)


def test_folders_around_a_checkpoint_say_which_one_to_name(trained: Path, tmp_path: Path) -> None:
    in_it = "is neither a run directory .*; name one of those in it: "
    for path, told in (
        (trained.parent, in_it + trained.name),
        (trained / "checkpoints", in_it + "step-00000002, step-00000004, step-00000006$"),
        (trained / "config.json", f"is a file of a run or checkpoint; name its folder, {trained}$"),
        (trained / "checkpoints" / "step-00000004" / "model.safetensors", "name its folder, .*step-00000004$"),
        (Path(shutil.copytree(trained / "checkpoints" / "step-00000004", tmp_path / "lone")), "without its run; put"),
    ):
        with pytest.raises(CheckpointError, match=told):
            zoo.load("ibgan", path)


# What cannot be written.


@pytest.mark.parametrize("values", [{"rate": float("nan")}, {"rate": object()}])
def test_a_state_that_cannot_be_written_leaves_nothing(run: RunDirectory, values: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        run.save(4, *some(4), values)
    assert names_in(run) == ["step-00000001", "step-00000002", "step-00000003"]


def test_a_full_disk_is_one_line_and_leaves_nothing(run: RunDirectory) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (5_000, limit[1])
    )  # the system refuses what is larger, as a full disk does
    try:
        with pytest.raises(ZooError) as raised:
            run.save(4, {"w": torch.zeros(10_000)}, {}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    path = run.checkpoints_path / "step-00000004"
    assert str(raised.value).startswith(f"cannot write {path}: File too large; choose a folder that can be written and")
    assert names_in(run) == ["step-00000001", "step-00000002", "step-00000003"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = RunDirectory(tmp_path / "file" / "run")
    assert not run.exists()
    with (
        pytest.raises(ZooError, match=r"cannot write .*file/run: .*; choose a folder that can be written"),
        run.locked(),
    ):
        pass
    with pytest.raises(ZooError, match="cannot write"):
        run.append("metrics.jsonl", {"step": 1})
    with pytest.raises(ZooError, match="cannot write"):
        run.save(1, *some(1), {})
