"""A process that is killed while it saves leaves whole checkpoints, and one process at a time writes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import ZooError
from zoo.run import RunDirectory

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
