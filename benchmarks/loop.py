"""The whole training loop: what it costs beside its steps, and whether it slows down or grows.

    python -m benchmarks.loop [--model ibgan] [--dataset dsprites] [--steps N] [--json]

An ordinary run with its default settings, but for a trainer that looks at the clock around each of its steps, and at
the memory. All other time is the loop's own: batches, logs, checkpoints and the progress bar. At the end there is one
checkpoint; by default a run writes one every 5,000 steps, so a run of fewer steps pays more for it than others do.

A machine that is shared changes its speed by a fifth from minute to minute, so one and the same convolution is timed
now and then, between steps. A step that took longer while that did not would be the run's own doing.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

import zoo
from ibgan_plugin.trainer import AdversarialTrainer
from ibgan_plugin.vae.trainer import VAETrainer
from zoo import terminal
from zoo.memory import keep_freed

WINDOWS = 8
WARM_UP = 10  # steps left out of everything
CONTROL_EVERY = 10
FEWEST = WARM_UP + WINDOWS * CONTROL_EVERY


class Clock:
    """Notes when each step began and ended, the memory then, the seconds of the control before it, and its own."""

    began: ClassVar[list[float]] = []
    ended: ClassVar[list[float]] = []
    megabytes: ClassVar[list[float]] = []
    control: ClassVar[list[float]] = []
    own: ClassVar[list[float]] = []  # of looking at the memory

    def step(self, images: Tensor) -> dict[str, Tensor]:
        """Do the step of the trainer behind this class."""
        Clock.control.append(control() if len(Clock.began) % CONTROL_EVERY == 0 else 0.0)
        Clock.began.append(time.perf_counter())
        terms: dict[str, Tensor] = super().step(images)  # type: ignore[misc]
        Clock.ended.append(time.perf_counter())
        Clock.megabytes.append(memory())
        Clock.own.append(time.perf_counter() - Clock.ended[-1])
        return terms


class TimedAdversarialTrainer(Clock, AdversarialTrainer):
    """IB-GAN's, InfoGAN's and GAN's trainer, timed."""


class TimedVAETrainer(Clock, VAETrainer):
    """The VAEs' trainer, timed."""


CONTROL_MAPS = torch.ones(64, 64, 16, 16).to(memory_format=torch.channels_last)
CONTROL_KERNEL = torch.ones(64, 64, 3, 3).to(memory_format=torch.channels_last)
TRAINERS = {"ibgan": TimedAdversarialTrainer, "vae": TimedVAETrainer}


def control() -> float:
    """The seconds of a convolution that is the same every time."""
    started = time.perf_counter()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for _ in range(4):
            F.conv2d(CONTROL_MAPS, CONTROL_KERNEL, padding=1)
    return time.perf_counter() - started


def memory() -> float:
    """The memory of this process now, in MB (Linux), without the pages of the dataset's file that it has looked at."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("RssAnon"))
    return int(kilobytes) * 1024 / 1e6


def measure(model: str = "ibgan", dataset: str = "dsprites", steps: int = 2000) -> dict[str, Any]:
    """Train, and return the milliseconds a step and the memory over the run, and the share that is no step."""
    zoo.load_dataset(dataset)  # made ready, if it is not yet
    for notes in (Clock.began, Clock.ended, Clock.megabytes, Clock.control, Clock.own):
        notes.clear()
    trainer = f"{__name__}:{TRAINERS[model].__name__}"
    with tempfile.TemporaryDirectory() as folder:
        zoo.train(model, dataset, out=Path(folder) / "run", steps=steps, settings={"trainer": trainer})
        done = time.perf_counter()
    controls = Clock.control[WARM_UP:]
    whole = done - Clock.began[WARM_UP] - sum(controls[1:]) - sum(Clock.own[WARM_UP:])  # began after the first control
    spent = [end - begin for begin, end in zip(Clock.began[WARM_UP:], Clock.ended[WARM_UP:], strict=True)]
    size = len(spent) // WINDOWS
    windows = [slice(start, start + size) for start in range(0, size * WINDOWS, size)]
    return {
        "model": model,
        "dataset": dataset,
        "steps": steps,
        "milliseconds": [1000 * statistics.median(spent[window]) for window in windows],
        "control, milliseconds": [1000 * statistics.median(filter(None, controls[window])) for window in windows],
        "memory MB": [Clock.megabytes[WARM_UP:][window.stop - 1] for window in windows],
        "seconds": whole,
        "steps per second": len(spent) / whole,
        "share that is no step": 1 - sum(spent) / whole,
    }


def table(result: dict[str, Any]) -> None:
    """Print what was measured."""
    share, rate = result["share that is no step"], result["steps per second"]
    terminal.table(
        ["eighth of the run", *(str(number + 1) for number in range(WINDOWS))],
        [
            ["ms a step", *(f"{value:.1f}" for value in result["milliseconds"])],
            ["control, ms", *(f"{value:.2f}" for value in result["control, milliseconds"])],
            ["memory, MB", *(f"{value:.0f}" for value in result["memory MB"])],
        ],
        title=f"{result['model']} on {result['dataset']}, {result['steps']:,} steps, {rate:.1f}/s, "
        f"{share:.2%} of the time is no step",
    )


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(TRAINERS), default="ibgan")
    parser.add_argument("--dataset", default="dsprites")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.steps < FEWEST:
        parser.error(f"--steps {options.steps}: expected at least {FEWEST}")
    keep_freed()
    result = measure(options.model, options.dataset, options.steps)
    terminal.out_json(result) if options.json else table(result)


if __name__ == "__main__":
    # The trainer's class is imported by its name; the notes must be those of that module, not of this one.
    from benchmarks import loop

    loop.main()
