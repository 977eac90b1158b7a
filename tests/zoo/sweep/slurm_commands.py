"""The few commands of Slurm that submitit calls, for a machine without: they run a submission's script, really.

`sbatch` keeps the script and starts a daemon that runs it for every task of the array, and again where it was requeued;
`srun` runs what it is given with Slurm's variables and its output in files; `sacct` tells the states, `scancel` sends
SIGTERM, `scontrol requeue` does what it says. All state is files in the folder of `$FAKE_SLURM`.
"""

from __future__ import annotations

import sys
from pathlib import Path

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
