"""The run directory: whole checkpoints or none, damage told apart, one writer, logs that fit the checkpoint."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from zoo.checkpoint import Checkpoint
from zoo.errors import CheckpointError, ZooError
from zoo.run import RunDirectory, find_checkpoint

Tensors = dict[str, torch.Tensor]


def some(step: int) -> tuple[Tensors, Tensors]:
    weights = {"w": torch.arange(12.0).reshape(3, 4) * step, "count": torch.tensor(step)}
    return weights, {"square": torch.full((5,), 0.5 * step)}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run with checkpoints at 1, 2 and 3."""
    made = RunDirectory(tmp_path / "run")
    for step in (1, 2, 3):
        made.save(step, *some(step), {"steps_done": step, "rate": 0.1})
    return made


def names_in(run: RunDirectory) -> list[str]:
    return sorted(entry.name for entry in run.checkpoints_path.iterdir())


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


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def longer(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")


def empty(file: Path) -> None:
    file.write_bytes(b"")


def flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x10
    file.write_bytes(bytes(content))


def flipped_at_the_end(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))


def removed(file: Path) -> None:
    file.unlink()


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("file", ["model.safetensors", "trainer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", [truncated, longer, empty, flipped, flipped_at_the_end, removed, a_folder])
def test_a_damaged_checkpoint_is_passed_over_and_told_of(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], file: str, damage: Callable[[Path], None]
) -> None:
    path = run.checkpoints_path / "step-00000003"
    before = (path / "state.json").read_text()
    damage(path / file)
    harmless = (path / "state.json").is_file() and same_json(before, (path / "state.json").read_bytes())
    if file == "state.json" and harmless:  # the last newline is gone, or another sign without a meaning
        assert damage in (truncated, flipped_at_the_end)
        return
    newest = run.newest()
    assert newest is not None
    assert newest.step == 2
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.removeprefix("warning: passed over: ").removeprefix("cannot read ").startswith(str(path))
    with pytest.raises(CheckpointError) as raised:
        Checkpoint.open(path).verify()
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def same_json(before: str, after: bytes) -> bool:
    try:
        return bool(json.loads(after) == json.loads(before))
    except ValueError:
        return False


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": 2}, "has checkpoint format 2, this version reads 1"),
        ({"format": None}, "has checkpoint format None"),
        ({"step": "three"}, "is not the state of a checkpoint"),
        ({"step": 4}, "is damaged: its SHA-256 is not the one it holds"),
        ({"trainer": {"steps_done": 2, "rate": 0.1}}, "is damaged: its SHA-256 is not the one it holds"),
        ({"trainer": None}, "is not the state of a checkpoint"),
        ({"files": {}}, "is not the state of a checkpoint"),
        ({"files": []}, "is not the state of a checkpoint"),
        ({"sha256": None}, "is damaged"),
        ({"more": 1}, "is damaged"),
    ],
    ids=str,
)
def test_a_state_that_was_changed(run: RunDirectory, change: dict[str, object], told: str) -> None:
    path = run.checkpoints_path / "step-00000003"
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(state | change))
    with pytest.raises(CheckpointError, match=told):
        Checkpoint.open(path)


@pytest.mark.parametrize("content", [b"[]", b"3", b"null", b"{}", b"\xff", b"[" * 100_000, b"1" * 10_000, b" " * 2**25])
def test_a_state_that_is_none(run: RunDirectory, content: bytes) -> None:
    (run.checkpoints_path / "step-00000003" / "state.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"state\.json"):
        Checkpoint.open(run.checkpoints_path / "step-00000003")
    assert run.newest().step == 2  # type: ignore[union-attr]  # it is there


def test_a_flipped_bit_in_each_byte_of_a_state_is_noticed_or_means_nothing(run: RunDirectory) -> None:
    file = run.checkpoints_path / "step-00000003" / "state.json"
    content = file.read_bytes()
    state, noticed = json.loads(content), 0
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 7
        file.write_bytes(changed)
        try:
            assert Checkpoint.open(file.parent).state == state
        except CheckpointError:
            noticed += 1
    meaningful = sum(not chr(byte).isspace() for byte in content)
    assert noticed >= meaningful


def test_none_is_whole(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    for step in (1, 2, 3):
        removed(run.checkpoints_path / f"step-{step:08d}" / "model.safetensors")
    assert run.newest() is None
    assert len(capsys.readouterr().err.splitlines()) == 3
    (run.path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="has no whole checkpoint yet; train on with --resume"):
        find_checkpoint(run.path)


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


def test_the_best_step_is_of_the_runs_own_evaluations(run: RunDirectory) -> None:
    assert run.best_step("sap") is None
    scores = [(1, 0.3), (2, 0.5), (3, None), (4, 0.5), (5, 0.1)]
    for step, score in scores:
        run.append("evaluations.jsonl", {"step": step, "metrics": {"sap": {"score": score, "protocol": {}}}})
    run.append("evaluations.jsonl", {"step": 6, "metrics": {}, "errors": {"sap": "failed"}})
    run.append("evaluations.jsonl", {"step": 1, "checkpoint": "by hand", "metrics": {"sap": {"score": 0.9}}})
    assert run.best_step("sap") == 2
    assert run.best_step("sap", lower_is_better=True) == 5
    assert run.best_step("mig") is None
    assert [step for step in range(8) if run.evaluated(step)] == [1, 2, 3, 4, 5, 6]


def test_scores_of_another_protocol_are_not_compared(run: RunDirectory) -> None:
    """Few votes may score high by luck, and a resumed run may ask for more of them."""
    for step, score, votes, seed in ((1, 0.9, 10, 0), (2, 0.3, 800, 0), (3, 0.4, 800, 1), (4, 0.2, 800, 2)):
        result = {"score": score, "protocol": {"votes": votes, "seed": seed}}
        run.append("evaluations.jsonl", {"step": step, "metrics": {"factorvae": result}})
    assert run.best_step("factorvae") == 3


def test_nothing_is_appended_by_way_of_a_link(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (run.path / "evaluations.jsonl").symlink_to(tmp_path / "mine")
    with pytest.raises(CheckpointError, match="is a link, which is not followed there"):
        run.append("evaluations.jsonl", {"step": 1})
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_line_after_one_that_was_cut_short_is_a_line_of_its_own(run: RunDirectory) -> None:
    (run.path / "evaluations.jsonl").write_text('{"step": 1}\n{"step": 2, "met')
    run.append("evaluations.jsonl", {"step": 3})
    run.append("evaluations.jsonl", {"step": 4})
    assert run.records("evaluations.jsonl") == [{"step": 1}, {"step": 3}, {"step": 4}]


@pytest.mark.parametrize("values", [{"rate": float("nan")}, {"rate": object()}])
def test_a_state_that_cannot_be_written_leaves_nothing(run: RunDirectory, values: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        run.save(4, *some(4), values)
    assert names_in(run) == ["step-00000001", "step-00000002", "step-00000003"]


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


# Killed while saving, in processes forked from one that has torch already.

SAVING = """
import json, os, random, signal, sys, time
from pathlib import Path
import torch
from zoo.checkpoint import Checkpoint
from zoo.run import RunDirectory

torch.set_num_threads(1)
EVENTS = {"open", "os.mkdir", "os.rename", "os.chmod", "os.remove", "os.rmdir", "tempfile.mkdtemp", "shutil.rmtree"}

def tensors(step, size):
    return {f"w{i}": torch.full((size,), float(step)) for i in range(4)}

def begun(name):
    run = RunDirectory(Path(sys.argv[1]) / name)
    run.save(1, tensors(1, 10), tensors(1, 10), {"steps_done": 1})
    return run

def looked_at(run):
    # What a new process would find: every folder with a checkpoint's name is whole, and this is the newest.
    for step in run.steps():
        found = Checkpoint.open(run.checkpoints_path / f"step-{step:08d}")
        found.verify()
        assert all((t == step).all() for t in found.tensors("model.safetensors").values())
    return run.newest().step, len(list(run.checkpoints_path.glob(".step-*")))

def forked(work):
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return child

# Killed at each moment of saving: each time it asks the system for something about a file.

def save_and_die_at(run, moment):
    passed = 0
    def count(event, arguments=None):
        nonlocal passed
        if event in EVENTS or event == "sync":
            passed += 1
            if passed == moment:
                os.kill(os.getpid(), signal.SIGKILL)
    sync = os.fsync
    os.fsync = lambda handle: (sync(handle), count("sync"))
    sys.addaudithook(count)
    run.save(2, tensors(2, 1000), tensors(2, 1000), {"steps_done": 2})

at_each_moment, killed, moment = [], True, 0
while killed:
    moment += 1
    run = begun(f"moment-{moment}")
    _, status = os.waitpid(forked(lambda: save_and_die_at(run, moment)), 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or status == 0, status
    newest, left = looked_at(run)
    run.forget_after(newest)
    at_each_moment.append([newest, left, sorted(entry.name for entry in run.checkpoints_path.iterdir())])

# Killed at any time, while it saves one checkpoint after the other.

def save_on(run):
    step = 1
    while True:
        step += 1
        run.save(step, tensors(step, 50000), tensors(step, 50000), {"steps_done": step})

delays, at_any_time = random.Random(0), []
for number in range(15):
    run = begun(f"time-{number}")
    child = forked(lambda: save_on(run))
    time.sleep(delays.uniform(0.005, 0.15))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    at_any_time.append(looked_at(run))

print(json.dumps([at_each_moment, at_any_time]))
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], list[Any]]:
    """What is found of runs whose process was killed at each moment of saving, and at any time."""
    command = [sys.executable, "-c", SAVING, str(tmp_path_factory.mktemp("killed"))]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert ended.returncode == 0, ended.stderr
    at_each_moment, at_any_time = json.loads(ended.stdout)
    return at_each_moment, at_any_time


def test_killed_at_each_moment_of_saving_it_is_whole_or_absent(killed: tuple[list[Any], list[Any]]) -> None:
    moments = killed[0]
    assert len(moments) > 15
    newest = [step for step, *_ in moments]
    assert newest == sorted(newest)  # from some moment on it is there, and stays
    assert newest.count(1) > 10
    assert newest.count(2) > 2  # the last is the one that was not killed; the folder is synced after it has its name
    assert any(left for _, left, _ in moments)  # something half written was there, under a name of its own,
    for step, _, names in moments:  # and resuming clears it away
        assert names == [f"step-{n:08d}" for n in range(1, step + 1)]
    assert moments[-1][:2] == [2, 0]


def test_killed_at_any_time_all_that_has_a_checkpoints_name_is_whole(killed: tuple[list[Any], list[Any]]) -> None:
    assert len(killed[1]) == 15
    assert any(newest > 1 for newest, _ in killed[1])
    assert any(left for _, left in killed[1])


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


# The lock.

# A shell starts what it puts in the background with SIGINT ignored, and that is inherited: take it as a terminal would.
HOLDING = """
import signal, sys, time
from pathlib import Path
from zoo.run import RunDirectory
signal.signal(signal.SIGINT, signal.default_int_handler)
with RunDirectory(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the run."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_told_who_has_the_run(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(ZooError) as raised, RunDirectory(tmp_path / "run").locked():
        pass
    expected = f"{tmp_path / 'run'} is being written by process {holder.pid} on {socket.gethostname()}; wait for it"
    assert str(raised.value).startswith(expected)
    assert holder.poll() is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_lock_goes_with_its_process(tmp_path: Path, holder: subprocess.Popen[str], number: int) -> None:
    holder.send_signal(number)
    holder.wait(10)
    with RunDirectory(tmp_path / "run").locked():
        owner = json.loads((tmp_path / "run" / "owner.json").read_text())
        assert owner == {"host": socket.gethostname(), "pid": os.getpid()}
    assert not (tmp_path / "run" / "owner.json").exists()
    with RunDirectory(tmp_path / "run").locked():
        pass


@pytest.mark.parametrize("owner", [None, "", "[]", "{}", "garbage"])
def test_the_owner_that_did_not_say_who_it_is(tmp_path: Path, holder: subprocess.Popen[str], owner: str | None) -> None:
    (tmp_path / "run" / "owner.json").unlink()
    if owner is not None:
        (tmp_path / "run" / "owner.json").write_text(owner)
    with pytest.raises(ZooError, match="is being written by another process"), RunDirectory(tmp_path / "run").locked():
        pass


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


# The logs.


def test_what_was_logged_after_a_step_is_forgotten(run: RunDirectory) -> None:
    for step in range(1, 6):
        run.append("metrics.jsonl", {"step": step, "loss": 1 / step})
        run.append("evaluations.jsonl", {"step": step, "metrics": {}})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "los')  # what a killed process leaves
    (run.checkpoints_path / ".step-00000004.xyz").mkdir()
    run.forget_after(3)
    for file in ("metrics.jsonl", "evaluations.jsonl"):
        lines = (run.path / file).read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
    assert names_in(run) == ["step-00000001", "step-00000002", "step-00000003"]
    run.append("metrics.jsonl", {"step": 4})
    assert (run.path / "metrics.jsonl").read_text().endswith('\n{"step": 4}\n')


def test_logs_are_read_back_without_what_is_not_whole(run: RunDirectory) -> None:
    assert run.records("evaluations.jsonl") == []
    written = [{"step": 3, "metrics": {"mig": {"score": 0.1}}}, {"step": 1, "metrics": {}}]
    for record in written:
        run.append("evaluations.jsonl", record)
    with (run.path / "evaluations.jsonl").open("ab") as file:
        file.write(b'[]\n{"metrics": {}}\n\xff\n{"step": 4, "met')
    assert run.records("evaluations.jsonl") == written


def test_a_log_that_fits_is_not_touched(run: RunDirectory) -> None:
    run.append("metrics.jsonl", {"step": 1})
    before = (run.path / "metrics.jsonl").stat()
    run.forget_after(1)
    assert (run.path / "metrics.jsonl").stat() == before
    run.forget_after(0)
    assert (run.path / "metrics.jsonl").read_text() == ""


def test_a_record_that_is_not_json_is_refused(run: RunDirectory) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.append("metrics.jsonl", {"step": 1, "loss": float("nan")})
    assert not (run.path / "metrics.jsonl").exists()
