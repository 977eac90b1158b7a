"""Small sweeps, run directories made by hand, and what a sweep's command line needs to run in other processes."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from zoo.config import RunConfig
from zoo.registry import default_registry
from zoo.run import RunDirectory
from zoo.sweep.plan import Plan
from zoo.sweep.spec import SweepSpec

TINY: dict[str, Any] = {"model.ngf": 4, "model.ndf": 4, "batch_size": 4, "device": "cpu"}


@pytest.fixture
def plan() -> Callable[..., Plan]:
    """Plan a sweep of tiny models on dSprites; keywords are the keys of a specification."""

    def make(**document: Any) -> Plan:
        full = {"models": ["ibgan"], "datasets": ["dsprites"], "steps": 3, "settings": TINY} | document
        return Plan.of(default_registry(), SweepSpec.checked(full, "spec"))

    return make


@pytest.fixture
def hand_made() -> Callable[..., RunDirectory]:
    """Make a run directory of nothing but logs and one checkpoint."""

    def make(
        path: Path,
        config: RunConfig,
        *,
        step: int = 0,
        log: Sequence[tuple[int, float]] = (),
        evaluations: Sequence[Mapping[str, Any]] = (),
        made_by: Mapping[str, Any] = {},
    ) -> RunDirectory:
        run = RunDirectory(path)
        run.begin(config.model_copy(update={"made_by": dict(made_by)}))
        for at, rate in log:
            run.append("metrics.jsonl", {"step": at, "mi_lower": 0.5, "steps_per_second": rate})
        for record in evaluations:
            run.append("evaluations.jsonl", record)
        if step:
            run.save(step, {"weight": torch.zeros(2)}, {"momentum": torch.zeros(2)}, {"steps_done": step})
        return run

    return make


@pytest.fixture
def evaluation() -> Callable[..., dict[str, Any]]:
    """A record of evaluations.jsonl as `zoo eval` writes it."""

    def make(step: int, metric: str, score: float | None, seed: int = 0, **more: Any) -> dict[str, Any]:
        result = {"score": score, "protocol": {}}
        record = {"checkpoint": "there", "step": step, "seed": seed, "metrics": {metric: result}, "errors": {}}
        return record | {"settings": {}, "seconds": 1.5} | more

    return make


@pytest.fixture
def tiny_spec(tmp_path: Path) -> Callable[..., Path]:
    """Write the TOML file of a sweep of tiny models, and return its path."""

    def write(**document: Any) -> Path:
        full = {"models": ["ibgan"], "datasets": ["dsprites"], "steps": 3} | document
        tables = {key: full.pop(key) for key in list(full) if isinstance(full[key], dict)}
        tables["settings"] = TINY | tables.get("settings", {})
        lines = [f"{key} = {json.dumps(value)}" for key, value in full.items()]
        for name, table in tables.items():
            lines += [f"[{name}]", *(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in table.items())]
        path = tmp_path / "tiny.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


# The few commands of Slurm that submitit calls, for a machine without: they run a submission's script, really. `sbatch`
# keeps the script and starts a daemon that runs it for every task of the array, and again where it was requeued; `srun`
# runs what it is given with Slurm's variables and its output in files; `sacct` tells the states, `scancel` sends
# SIGTERM, `scontrol requeue` does what it says. All state is files in the folder of `$FAKE_SLURM`.
_PREAMBLE = """#!{python}
import os, re, signal, subprocess, sys, time
from pathlib import Path
state = Path(os.environ["FAKE_SLURM"])
"""

_COMMANDS = {
    "sbatch": """
script = Path(sys.argv[-1]).read_text()
job = str(100 + len(list(state.glob("*.sh"))))
(state / f"{job}.sh").write_text(script)
array = re.search(r"#SBATCH --array=0-([0-9]+)", script)
tasks = [f"{job}_{n}" for n in range(int(array[1]) + 1)] if array else [job]
for task in tasks:
    (state / f"{task}.state").write_text("PENDING")
if not (state / "idle").exists():
    subprocess.Popen([str(Path(sys.argv[0]).with_name("slurmd")), job, *tasks], start_new_session=True,
                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(f"Submitted batch job {job}")
""",
    "slurmd": """
job, tasks = sys.argv[1], sys.argv[2:]
for task in tasks:
    while True:
        if (state / f"{task}.state").read_text() == "CANCELLED":
            break
        variables = {"SLURM_JOB_ID": task.replace("_", "0"), "FAKE_TASK": task}
        if "_" in task:
            variables |= {"SLURM_ARRAY_JOB_ID": job, "SLURM_ARRAY_TASK_ID": task.partition("_")[2]}
        (state / f"{task}.state").write_text("RUNNING")
        code = subprocess.run(["bash", str(state / f"{job}.sh")], env=os.environ | variables).returncode
        requeue = state / f"{task}.requeue"
        if not requeue.exists():
            if (state / f"{task}.state").read_text() != "CANCELLED":
                (state / f"{task}.state").write_text("FAILED" if code else "COMPLETED")
            break
        requeue.unlink()
        with (state / f"{task}.requeued").open("a") as file:
            file.write("again\\n")
""",
    "srun": """
words = sys.argv[1:]
files = {}
while words and words[0].startswith("--"):
    word = words.pop(0)
    if word in ("--output", "--error"):
        files[word] = words.pop(0)
task = os.environ["FAKE_TASK"]
array, _, number = task.partition("_")
for flag, descriptor in (("--output", 1), ("--error", 2)):
    name = files[flag].replace("%A", array).replace("%a", number).replace("%j", task).replace("%t", "0")
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), descriptor)
os.environ.update(SLURM_PROCID="0", SLURM_LOCALID="0", SLURM_NODEID="0", SLURM_NTASKS="1", SLURM_JOB_NUM_NODES="1")
os.setsid()
(state / f"{task}.pid").write_text(str(os.getpid()))
os.execvp(words[0], words)
""",
    "sacct": """
print("JobID|State|NodeList")
for file in sorted(state.glob("*.state")):
    print(f"{file.stem}|{file.read_text()}|node1")
""",
    "scancel": """
(state / f"{sys.argv[1]}.state").write_text("CANCELLED")
pid = state / f"{sys.argv[1]}.pid"
if pid.exists():
    try:
        os.kill(int(pid.read_text()), signal.SIGTERM)
    except ProcessLookupError:
        pass
""",
    "scontrol": """
assert sys.argv[1] == "requeue"
(state / f"{sys.argv[2]}.requeue").touch()
""",
}


def install(folder: Path) -> dict[str, str]:
    """Write the commands into `folder/bin`; return the variables under which they work (PATH is to be put in front)."""
    commands, state = folder / "bin", folder / "state"
    commands.mkdir(parents=True)
    state.mkdir()
    for name, text in _COMMANDS.items():
        (commands / name).write_text(_PREAMBLE.format(python=sys.executable) + text)
        (commands / name).chmod(0o755)
    return {"PATH": str(commands), "FAKE_SLURM": str(state)}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Slurm's commands on the PATH; returns the folder of their state."""
    variables = install(tmp_path / "slurm")
    monkeypatch.setenv("PATH", variables["PATH"] + os.pathsep + os.environ["PATH"])
    monkeypatch.setenv("FAKE_SLURM", variables["FAKE_SLURM"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield Path(variables["FAKE_SLURM"])
    for pid in Path(variables["FAKE_SLURM"]).glob("*.pid"):
        with suppress(ProcessLookupError):
            os.kill(int(pid.read_text()), signal.SIGKILL)
