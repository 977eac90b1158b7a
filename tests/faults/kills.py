"""Kill training again and again, at random moments, and hold what comes out against a run that nobody touched.

    python -m tests.faults.kills [--kills 200] [--models gan,ibgan,...] [--jobs 2] [--seed 0] [--json]

Each life is a real `zoo train ... --resume` in a process of its own, ended by SIGKILL: one in five anywhere after the
start, imports included, the others up to half a second after the first step of that life. A checkpoint is written after
every step, so that about every second kill meets one being written. Every other life has `--keep 2`, so that removing
is met too; IB-GAN and its kin also evaluate themselves on the way.

After every kill each folder with a checkpoint's name has to be whole, every byte of it (else it was half-read), and the
newest has to be at least as new as before that life (else one was lost). At the end the weights, the optimiser's state
and the logs have to be the bytes of the run that nobody touched.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.processes import ZOO
from zoo import terminal
from zoo.checkpoint import Checkpoint
from zoo.errors import CheckpointError
from zoo.run import RunDirectory

STEPS = 60
SMALL = {
    "gan": ("model.ngf=4", "model.ndf=4"),
    "infogan": ("model.ngf=4", "model.ndf=4"),
    "ibgan": ("model.ngf=4", "model.ndf=4"),
    "vae": ("model.networks=ibgan", "model.ngf=4"),
    "beta_vae": ("model.networks=ibgan", "model.ngf=4"),
    "beta_tcvae": ("model.networks=ibgan", "model.ngf=4"),
    "factor_vae": ("model.networks=ibgan", "model.ngf=4"),  # its loss's discriminator makes it the largest of all
}
EVALUATING = ("--eval-every", "5", "--set", "eval_metrics=mi_bounds", "--set", "mi_bounds.num=200")


@dataclass
class Tally:
    """What the kills of one model met."""

    model: str
    kills: int = 0
    resumes: int = 0
    runs: int = 0
    lost: int = 0
    half_read: int = 0
    different: int = 0
    met: Counter[str] = field(default_factory=Counter)

    @property
    def faults(self) -> int:
        """Whatever should not have been."""
        return self.lost + self.half_read + self.different


def command(model: str, out: Path, keep: int) -> list[str]:
    """The command line of a life of a run."""
    settings = [*SMALL[model], "batch_size=4", "log_every=1"]
    words = ["train", model, "--dataset", "dsprites", "--steps", str(STEPS), "--save-every", "1", "--resume"]
    words += ["--keep", str(keep), "--out", str(out), "--device", "cpu"]
    words += EVALUATING if model in ("gan", "infogan", "ibgan") else ()
    return [*ZOO, *words, *(word for value in settings for word in ("--set", value))]


def start(words: list[str]) -> subprocess.Popen[bytes]:
    """Begin one life; one thread, so that several can run beside each other."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(words: list[str]) -> None:
    """Let one life run to its end."""
    process = start(words)
    _, told = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"training failed with exit code {process.returncode}: {told.decode(errors='replace')}")


def kill(words: list[str], run: RunDirectory, chance: random.Random) -> bool:
    """Live once, until a random moment; False if the run came to its end before."""
    before = logged(run)
    process = start(words)
    drain = threading.Thread(target=process.stderr.read, daemon=True)  # type: ignore[union-attr]
    drain.start()
    if chance.random() < 0.2:
        time.sleep(chance.uniform(0, 3))
    else:
        while logged(run) == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.5))
    process.send_signal(signal.SIGKILL)
    process.wait()
    drain.join()
    process.stderr.close()  # type: ignore[union-attr]
    if process.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"training ended by itself with exit code {process.returncode}")
    return process.returncode != 0


def logged(run: RunDirectory) -> int:
    """How far the log goes, in bytes."""
    path = run.path / "metrics.jsonl"
    return path.stat().st_size if path.exists() else 0


def examine(run: RunDirectory, newest: int, tally: Tally) -> int:
    """Look at what a kill left; return the step of the newest checkpoint."""
    whole = []
    for step in run.steps():
        try:
            Checkpoint.open(run.checkpoints_path / f"step-{step:08d}").verify()
            whole.append(step)
        except CheckpointError as error:
            tally.half_read += 1
            terminal.warn(f"{tally.model}: {error}")
    found = max(whole, default=0)
    if found < newest:
        tally.lost += 1
        terminal.warn(f"{tally.model}: {run.path} had a checkpoint of step {newest}, now of {found}")
    hidden = [entry.name for entry in run.checkpoints_path.glob(".step-*")] if run.checkpoints_path.exists() else []
    if hidden:
        tally.met["a checkpoint being written or removed"] += 1
    elif found > newest:
        tally.met["between steps"] += 1
    else:
        tally.met["before a first step"] += 1
    return found


def outcome(run: RunDirectory) -> dict[str, Any]:
    """All that has to be the same: the newest checkpoint's bytes, and the logs but for the times."""
    folder = run.checkpoints_path / f"step-{STEPS:08d}"
    logs = {name: run.records(name) for name in ("metrics.jsonl", "evaluations.jsonl")}
    for record in logs["metrics.jsonl"]:
        del record["steps_per_second"]
    for record in logs["evaluations.jsonl"]:
        del record["seconds"]
    return {**{file.name: file.read_bytes() for file in sorted(folder.iterdir())}, **logs}


def torment(model: str, kills: int, folder: Path, seed: int) -> Tally:
    """Kill runs of one model until there were that many kills, let the last one end, and compare."""
    chance = random.Random(f"{seed} {model}")
    untouched = RunDirectory(folder / f"{model}-untouched")
    finish(command(model, untouched.path, keep=0))
    expected = outcome(untouched)
    tally = Tally(model)
    while tally.kills < kills:
        run = RunDirectory(folder / f"{model}-{tally.runs}")
        newest = 0
        while tally.kills < kills and kill(command(model, run.path, keep=2 * (tally.kills % 2)), run, chance):
            tally.kills += 1
            tally.resumes += 1
            newest = examine(run, newest, tally)
        finish(command(model, run.path, keep=2))
        tally.runs += 1
        differing = [name for name, found in outcome(run).items() if found != expected[name]]
        if differing:
            tally.different += 1
            terminal.warn(f"{model}: {run.path} differs from {untouched.path} in {', '.join(differing)}")
        terminal.note(f"{model}: {tally.kills} kills, {tally.runs} runs ended, {tally.faults} faults")
    return tally


def torment_all(models: list[str], kills: int, jobs: int, seed: int, folder: Path) -> Iterator[Tally]:
    """Share the kills among the models, several at a time."""
    shares = [kills // len(models) + (index < kills % len(models)) for index in range(len(models))]
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(lambda work: torment(*work, folder, seed), zip(models, shares, strict=True))


def main() -> None:
    """Print a table of what was met, or JSON; exit 1 if anything was lost, half-read or different."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--models", type=lambda words: words.split(","), default=list(SMALL))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tallies = list(torment_all(options.models, options.kills, options.jobs, options.seed, Path(folder)))
    if options.json:
        terminal.out(json.dumps([tally.__dict__ | {"faults": tally.faults} for tally in tallies]))
    else:
        columns = ("model", "kills", "resumes", "runs", "lost", "half_read", "different")
        met = sorted({moment for tally in tallies for moment in tally.met})
        rows = [[str(getattr(t, c)) for c in columns] + [str(t.met[moment]) for moment in met] for t in tallies]
        terminal.table([*columns, *met], rows)
    sys.exit(1 if any(tally.faults for tally in tallies) else 0)


if __name__ == "__main__":
    main()
